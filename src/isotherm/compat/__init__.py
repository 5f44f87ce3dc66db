"""The names other packages use, with their conventions and our answers: `pot`, `geomloss`, `torchcfm`.

A facade translates; nothing is computed here that `isotherm` does not compute. None of them imports the package it
stands for. `python -m isotherm.compat.pot TESTS` runs that package's own tests on ours, and so for the others.
"""
