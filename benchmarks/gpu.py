"""Softmin on an NVIDIA GPU: ours, FlashSinkhorn, KeOps (GeomLoss's formula) and plain torch, time beside true error.

    python benchmarks/gpu.py                     # accuracy tests, then the table; writes benchmarks/results/gpu-*.json
    python benchmarks/gpu.py --tune              # also times other tile sizes of ours
    python benchmarks/gpu.py --sizes 10000 --dimensions 3 64 --skip-tests

One pass is f_i = -epsilon log sum_j exp((h_j - |x_i - y_j|^2) / epsilon). Every implementation gets the same float32
inputs on the device and what it may prepare once (norms, biases, the stored cost) outside the clock. Times are medians
over CUDA events after warm-up; the error is the largest |f - exact| / epsilon over 1,000 rows, exact in float64.
A package that is not installed is named and left out: pip install flash-sinkhorn pykeops geomloss.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import importlib.util
import itertools
import json
import math
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("isotherm", "torch", "triton", "flash-sinkhorn", "pykeops", "geomloss")
CHECKED_ROWS = 1000
BLOCK_ENTRIES = 1 << 28  # pairs of plain torch's temporaries: 1 GiB in float32


@dataclass(frozen=True)
class Inputs:
    """One problem, float32 on the device.

    Attributes:
        x: Sources, (N, D), mean zero; |x|^2 is about 1 in every dimension.
        y: Targets, (M, D).
        h: Weighted potential of the targets, (M,).
        epsilon: Temperature, units of cost.
        guess: The exact softmin, rounded: what a converged iteration passes on, (N,).
        exact: The softmin of the first rows, float64.
    """

    x: Tensor
    y: Tensor
    h: Tensor
    epsilon: float
    guess: Tensor
    exact: Tensor


class Unavailable(Exception):
    """An implementation that cannot run here, and why."""


def make_inputs(size: int, dimension: int, epsilon: float) -> Inputs:
    """Two Gaussian clouds and a potential near that of a solved problem."""
    generator = torch.Generator().manual_seed(size + dimension)
    x, y = (torch.randn(size, dimension, generator=generator).cuda() / math.sqrt(dimension) for _ in range(2))
    h = 0.1 * torch.randn(size, generator=generator).cuda() - epsilon * math.log(size)
    guess = torch.cat([exact_softmin(rows, y, h, epsilon) for rows in x.split(max(1, (1 << 26) // size))])
    return Inputs(x, y, h, epsilon, guess.float(), guess[:CHECKED_ROWS])


def exact_softmin(x: Tensor, y: Tensor, h: Tensor, epsilon: float) -> Tensor:
    """The definition in float64; the norms do not cancel at this precision."""
    x, y, h = x.double(), y.double(), h.double()
    costs = (x.square().sum(1)[:, None] + y.square().sum(1) - 2.0 * x @ y.T).clamp(min=0.0)
    return -epsilon * torch.logsumexp((h - costs) / epsilon, 1)


# ---------------------------------------------------------------------------------------- implementations


def ours(inputs: Inputs, *, is_guessed: bool, precision: str = "float32", tiles: Any = None) -> Callable[[], Tensor]:
    """One launch, the result written into the same tensor."""
    softmin, formula = _kernels(), _formula(inputs)
    out = torch.empty_like(inputs.guess)
    settings = {"guess": inputs.guess if is_guessed else None, "precision": precision, "tiles": tiles, "out": out}
    return lambda: softmin.launch_softmin(formula, inputs.h, epsilon=inputs.epsilon, **settings)


def flash_sinkhorn(inputs: Inputs, *, allow_tf32: bool) -> Callable[[], Tensor]:
    """Its forward kernel, autotuned; the bias is made once, the norms of the sources are added once at the end."""
    if importlib.util.find_spec("flash_sinkhorn") is None:
        msg = "flash-sinkhorn is not installed"
        raise Unavailable(msg)
    kernel = importlib.import_module("flash_sinkhorn.kernels.sinkhorn_flashstyle_sqeuclid").flashsinkhorn_lse
    bias = (inputs.h - inputs.y.square().sum(1)) / inputs.epsilon
    norms = inputs.x.square().sum(1)
    shifted = kernel(inputs.x, inputs.y, bias, inputs.epsilon, allow_tf32=allow_tf32)
    run = lambda: kernel(inputs.x, inputs.y, bias, inputs.epsilon, allow_tf32=allow_tf32)  # noqa: E731
    run.result = shifted + norms  # type: ignore[attr-defined]
    return run


def keops(inputs: Inputs) -> Callable[[], Tensor]:
    """The reduction of GeomLoss's online backend."""
    if importlib.util.find_spec("pykeops") is None:
        msg = "pykeops is not installed"
        raise Unavailable(msg)
    reduction = importlib.import_module("pykeops.torch").generic_logsumexp
    dimension = inputs.x.shape[1]
    formula = "( B - (P * SqDist(X,Y) ) )"
    sums = reduction(formula, "A = Vi(1)", f"X = Vi({dimension})", f"Y = Vj({dimension})", "B = Vj(1)", "P = Pm(1)")
    h, inverse = inputs.h[:, None] / inputs.epsilon, inputs.h.new_tensor([1.0 / inputs.epsilon])
    return lambda: -inputs.epsilon * sums(inputs.x, inputs.y, h, inverse)[:, 0]


def dense_torch(inputs: Inputs) -> Callable[[], Tensor]:
    """logsumexp over a cost matrix stored beforehand, a block of rows at a time; float32 throughout."""
    size = inputs.x.shape[0]
    free = torch.cuda.mem_get_info()[0]
    if 4 * (size * size + 3 * BLOCK_ENTRIES) > free:
        msg = f"the cost matrix takes {4 * size * size / 2**30:.0f} GiB, {free / 2**30:.0f} are free"
        raise Unavailable(msg)
    norms = inputs.x.square().sum(1)[:, None] + inputs.y.square().sum(1)
    costs = norms.addmm_(inputs.x, inputs.y.T, alpha=-2.0)  # (N, M)
    step = max(1, BLOCK_ENTRIES // size)

    def run() -> Tensor:
        parts = [torch.logsumexp((inputs.h - rows) / inputs.epsilon, 1) for rows in costs.split(step)]
        return -inputs.epsilon * torch.cat(parts)

    return run


IMPLEMENTATIONS: dict[str, Callable[[Inputs], Callable[[], Tensor]]] = {
    "isotherm": lambda inputs: ours(inputs, is_guessed=True),
    "isotherm, first pass": lambda inputs: ours(inputs, is_guessed=False),
    "isotherm, tf32 by name": lambda inputs: ours(inputs, is_guessed=True, precision="tf32"),
    "flash-sinkhorn, tf32": lambda inputs: flash_sinkhorn(inputs, allow_tf32=True),
    "flash-sinkhorn, float32": lambda inputs: flash_sinkhorn(inputs, allow_tf32=False),
    "keops": keops,
    "torch, stored cost": dense_torch,
}


def _kernels() -> ModuleType:
    """Our kernels; imported here, since Triton is optional."""
    return importlib.import_module("isotherm.kernels.softmin.triton")


def _formula(inputs: Inputs) -> Any:
    """The costs as our kernels take them."""
    return importlib.import_module("isotherm.kernels.source").Formula("sqeuclidean", inputs.x, inputs.y)


# ------------------------------------------------------------------------------------------- measurement


def median_seconds(run: Callable[[], Tensor], *, budget: float = 2.0) -> float:
    """Median over CUDA events of as many runs as fit the budget, 10 to 200, after warm-up."""
    for _ in range(3):
        run()
    torch.cuda.synchronize()
    times: list[float] = []
    while len(times) < 10 or (len(times) < 200 and sum(times) < budget):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / 1e3)
    return float(torch.tensor(times).median())


def measure(name: str, size: int, dimension: int, prepare: Callable[[], Callable[[], Tensor]], inputs: Inputs) -> dict:
    """One line of the table: time, pairs per second, true error; or the reason why there is none."""
    row: dict[str, object] = {"implementation": name, "n": size, "dimension": dimension, "epsilon": inputs.epsilon}
    try:
        run = prepare()
        result = getattr(run, "result", None)
        result = run() if result is None else result
        error = (result[:CHECKED_ROWS].double() - inputs.exact).abs().max() / inputs.epsilon
        seconds = median_seconds(run)
    except Unavailable as reason:
        return row | {"missing": str(reason)}
    except Exception as failure:
        return row | {"missing": f"{type(failure).__name__}: {str(failure).splitlines()[0] if str(failure) else ''}"}
    finally:
        torch.cuda.empty_cache()
    return row | {"seconds": seconds, "pairs_per_second": size * size / seconds, "error_by_epsilon": float(error)}


def tilings() -> Iterator[Any]:
    """Tile sizes worth a try."""
    tiles = importlib.import_module("isotherm.kernels.triton_launch").Tiles
    for rows, columns, features, warps in itertools.product([16, 32, 64, 128], [32, 64, 128], [32, 64], [4, 8]):
        if rows * columns <= 8192:
            yield tiles(rows, columns, features, warps)


def run_tests() -> dict[str, object]:
    """The accuracy tests of the Triton kernels, on this device."""
    tests = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests" / "kernels").glob("test_triton_*.py"))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = done.stdout.strip().splitlines()
    if done.returncode:
        print("\n".join(line for line in lines if line.startswith(("FAILED", "ERROR"))))
    return {"command": " ".join(command[1:]), "passed": done.returncode == 0, "summary": lines[-1] if lines else ""}


def environment() -> dict[str, object]:
    """Device, versions and commit."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    git = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    device = torch.cuda.get_device_properties(0)
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "device": device.name,
        "capability": [device.major, device.minor],
        "memory_bytes": device.total_memory,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "versions": versions,
        "commit": git.stdout.strip() or None,
    }


def show(rows: list[dict]) -> None:
    """Print the table, one block a problem, ratios against our steady pass."""
    for (size, dimension), group in itertools.groupby(rows, key=lambda row: (row["n"], row["dimension"])):
        lines = list(group)
        base = next((row["seconds"] for row in lines if row["implementation"] == "isotherm" and "seconds" in row), None)
        print(f"\nN = M = {size:,}, D = {dimension}, epsilon = {lines[0]['epsilon']}")
        print(f"  {'':28}{'ms':>10}{'Gpair/s':>10}{'x ours':>9}{'error/epsilon':>15}")
        for row in lines:
            if "missing" in row:
                print(f"  {row['implementation']:28}{row['missing']}")
                continue
            ratio = f"{row['seconds'] / base:9.2f}" if base else " " * 9
            rate, error = row["pairs_per_second"] / 1e9, row["error_by_epsilon"]
            print(f"  {row['implementation']:28}{row['seconds'] * 1e3:10.3f}{rate:10.1f}{ratio}{error:15.2e}")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 50_000], help="N = M")
    parser.add_argument("--dimensions", type=int, nargs="+", default=[3, 64, 512])
    parser.add_argument("--epsilon", type=float, default=0.05, help="temperature; the mean cost is about 2")
    parser.add_argument("--tune", action="store_true", help="also time other tile sizes of ours")
    parser.add_argument("--skip-tests", action="store_true", help="only time")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    return parser.parse_args()


def main() -> int:
    """Check, time, print, write."""
    arguments = parse()
    if not torch.cuda.is_available():
        print("benchmarks/gpu.py needs an NVIDIA GPU: torch.cuda.is_available() is False on this machine.")
        return 1
    if importlib.util.find_spec("triton") is None:
        print("benchmarks/gpu.py needs triton: pip install 'isotherm[triton]'")
        return 1
    torch.backends.cuda.matmul.allow_tf32 = False  # plain torch in full float32
    record = environment()
    record["tests"] = {"skipped": True} if arguments.skip_tests else run_tests()
    print(f"{record['device']}, {record['versions']}\ntests: {record['tests']}")
    rows, tuned = [], []
    for size, dimension in itertools.product(arguments.sizes, arguments.dimensions):
        inputs = make_inputs(size, dimension, arguments.epsilon)
        for name, prepare in IMPLEMENTATIONS.items():
            rows.append(measure(name, size, dimension, lambda p=prepare, i=inputs: p(i), inputs))
        if arguments.tune:
            for tiles in tilings():
                prepare = lambda t=tiles, i=inputs: ours(i, is_guessed=True, tiles=t)  # noqa: E731
                tuned.append(measure(f"isotherm {tuple(tiles)}", size, dimension, prepare, inputs))
    show(rows)
    if tuned:
        print("\nTile sizes (rows, columns, features, warps), fastest first")
        show(sorted(tuned, key=lambda row: (row["n"], row["dimension"], row.get("seconds", math.inf))))
    arguments.output.mkdir(parents=True, exist_ok=True)
    stamp = str(record["date"])[:19].replace(":", "")
    path = arguments.output / f"gpu-{str(record['device']).replace(' ', '-')}-{stamp}.json"
    path.write_text(json.dumps(record | {"rows": rows, "tiles": tuned}, indent=2) + "\n")
    print(f"\nwrote {path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
