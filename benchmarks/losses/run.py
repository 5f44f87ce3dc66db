"""Every task by every library; writes benchmarks/results/losses.json. Options: those of `benchmarks.workloads.run`.

python -m benchmarks.losses.run --peers-python .venv-peers/bin/python
"""

from __future__ import annotations

from benchmarks.losses.worker import LOSSES
from benchmarks.workloads.run import main

if __name__ == "__main__":
    main(LOSSES)
