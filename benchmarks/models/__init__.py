"""Evidence for the models: digits, iris, variances. Each file is one command; results are JSON, pages are written by `report`."""
