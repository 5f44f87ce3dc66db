"""One library on one task, in a process of its own; see `benchmarks.workloads.worker`.

python -m benchmarks.losses.worker isotherm "64 x 512, 64-D, in one batch" 1e-3
"""

from __future__ import annotations

from benchmarks.losses.judge import worst
from benchmarks.losses.libraries import NAMES
from benchmarks.losses.tasks import TASKS
from benchmarks.workloads.suite import Suite
from benchmarks.workloads.worker import main

LOSSES = Suite(package="benchmarks.losses", tasks=TASKS, libraries=NAMES, result="losses.json", worst=worst)

if __name__ == "__main__":
    main(LOSSES)
