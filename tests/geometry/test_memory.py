"""Passes over all pairs of 7,000 x 7,000 points never hold the matrix of 190 MiB."""

import json
import subprocess
import sys

# Peak memory only ever grows: the passes come in turn, and half of the matrix at the end.
SCRIPT = """
import json, torch
from pathlib import Path
from isotherm import PointCloud, Relative

N = 7_000
x, y = torch.randn(N, 2), torch.randn(N, 2)
a, zeros = torch.full((N,), 1 / N), torch.zeros(N)
geometry = PointCloud(x, y)
geometry.extend(x[:100]).softmin(zeros, epsilon=1.0)  # loads what any pass needs

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024

Path("/proc/self/clear_refs").write_text("5")  # the peak so far may be the parent's, from before exec
growth, start = {}, peak()
for name, work in {
    "softmin": lambda: geometry.softmin(zeros, epsilon=1.0),
    "plan_apply": lambda: geometry.plan_apply(zeros, zeros, torch.ones(N, 1), epsilon=1.0),
    "relative mean": lambda: Relative(0.05).resolve(geometry, a, a),
    "relative deviation": lambda: Relative(0.05, of="std").resolve(geometry, a, a),
    "half of the matrix": lambda: geometry.block(slice(0, N // 2)),
}.items():
    work()
    growth[name] = peak() - start
print(json.dumps(growth))
"""
MATRIX_MIB = 7_000**2 * 4 / 2**20


def test_passes_over_all_pairs_take_memory_for_points_only():
    run = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    growth_mib = json.loads(run.stdout)  # of a fresh process's peak, up to the end of each piece of work
    assert growth_mib.pop("half of the matrix") > 0.4 * MATRIX_MIB, "the matrix itself would not be seen"
    assert len(growth_mib) == 4
    for name, growth in growth_mib.items():
        assert growth < 0.2 * MATRIX_MIB, f"{name} took {growth:.0f} MiB"
