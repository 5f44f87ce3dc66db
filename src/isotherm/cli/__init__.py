"""The `isotherm` command: parse, call, write. No mathematics.

Read in this order: `main` (exit codes, base install), `app` (the commands together), `options` (what commands share),
`read` with `tables` and `pictures` (files to clouds), `pose` (clouds and options to a problem), `progress`, `outputs`
and `show` (solutions to files and to the screen), then one file per command: `couple`, `sweep`, `recolor`, `demo`,
`train` (with `configuration`: words and YAML to settings) and `sample`.
"""

from .main import main as main
