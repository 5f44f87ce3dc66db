"""How fast are the reductions over pairs, against the machine's own limits and against other libraries?

Read in this order: `cases` (what is timed), `inputs` (on which numbers), `exact` (how true the answer was), `limits`
(what the machine can do), `implementations/` (who competes), `worker` (one process of one of them), `run` (turns
between them, writes JSON), `compare` (prints it). README.md says how to run and read them.
"""
