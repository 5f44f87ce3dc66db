"""The table of a result; options: those of `benchmarks.workloads.report`.

python -m benchmarks.losses.report
python -m benchmarks.losses.report --markdown --into docs/losses.md
"""

from __future__ import annotations

from benchmarks.losses.worker import LOSSES
from benchmarks.workloads.report import main

BEGIN = "<!-- losses table -->"

if __name__ == "__main__":
    main(LOSSES.result, BEGIN, "gradient_error")
