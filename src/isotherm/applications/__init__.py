"""Where is it used?  One folder per field; each reads its own data and speaks its own words."""
