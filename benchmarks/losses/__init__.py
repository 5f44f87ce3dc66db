"""How long a training step takes: a Sinkhorn divergence and its gradient, errors judged from outside.

Read in this order: `tasks` (what is computed), `libraries` (by whom, and how), `judge` (how far all three transports and the
gradient are from the answer), then `worker`, `run` and `report`, which are those of `benchmarks.workloads`.
"""
