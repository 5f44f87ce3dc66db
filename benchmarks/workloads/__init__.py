"""How long until the right answer: eleven kinds of problems, every library at its best setting, errors judged from outside.

Read in this order: `tasks` (what is solved), `judge` (how far a pair of potentials is from the answer), `libraries` (who
solves it, and how), `worker` (one run in a process of its own), `run` (all of them), `report` (tables and the plot).
"""
