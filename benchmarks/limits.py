"""What the machine can do at most, measured: vector arithmetic, exponentials, memory. The rooflines stand on these."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch

import isotherm
from benchmarks.cases import Case, work
from isotherm.kernels import compiled

SOURCE = Path(__file__).with_name("limits.cpp")
HEADERS = Path(isotherm.__file__).parent / "kernels" / "csrc"
FLAGS = {
    "avx512": ["-mavx512f", "-mavx512dq", "-mavx512vl", "-mavx512bw", "-mfma"],
    "avx2": ["-mavx2", "-mfma"],
    "baseline": [],
}
DTYPES = {"float32": "f32", "float64": "f64"}
MEMORY_BYTES = 1 << 30  # read and copied; beyond any cache


@cache
def library() -> tuple[ctypes.CDLL | None, str]:
    """The loops of limits.cpp and how they came about, or None and why there are none."""
    if compiled.why_missing():
        return None, "torch (sgemm and exp), because " + compiled.why_missing()[0]
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        return None, "torch (sgemm and exp), because no C++ compiler was found"
    name = compiled.extension.instruction_set()
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "limits.so"
        flags = ["-O3", "-std=c++17", "-shared", "-fPIC", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"]
        command = [compiler, *flags, *FLAGS[name], f"-DISA={name}", f"-I{HEADERS}", str(SOURCE), "-o", str(target)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return None, f"torch (sgemm and exp), because limits.cpp did not compile: {done.stderr.strip()[:200]}"
        return ctypes.CDLL(str(target)), f"loops over {name} registers, benchmarks/limits.cpp"


def measure(threads: int, *, seconds: float = 0.03, with_memory: bool = True) -> dict[str, float | str]:
    """Measure every limit once; the caller takes the best of several.

    Args:
        threads: How many threads work at once.
        seconds: About how long each loop runs.
        with_memory: Whether to read and copy memory too (takes 2 GiB).

    Returns:
        Rates of all threads together, in 1e9 per second: "fma_f32", "exp_f32", the same in float64, and
        "read_bytes", "copy_bytes" (bytes read plus bytes written). "source" says how they were measured.
    """
    loops, source = library()
    rates: dict[str, float | str] = {"source": source}
    for dtype, short in DTYPES.items():
        for name, key in (("multiply_adds", f"fma_{short}"), ("exponentials", f"exp_{short}")):
            if loops is None:
                rates[key] = torch_rate(name, getattr(torch, dtype))
            else:
                rates[key] = loop_rate(loops, f"{name}_{short}", threads, seconds)
    if with_memory:
        rates |= memory_rates()
    return rates


def loop_rate(loops: ctypes.CDLL, name: str, threads: int, seconds: float) -> float:
    """Rate of one loop of limits.cpp on all threads together; ctypes lets go of the interpreter lock."""
    run, amount = getattr(loops, name), getattr(loops, name + "_work")
    run.argtypes, run.restype, amount.restype = [ctypes.c_int64], None, ctypes.c_int64
    rounds = 1000
    while (took := timed(lambda: run(rounds))) < 0.2 * seconds:
        rounds *= 4
    rounds = max(1, int(rounds * seconds / took))
    ready = threading.Barrier(threads + 1)
    ends = [0.0] * threads

    def body(k: int) -> None:
        ready.wait()
        run(rounds)
        ends[k] = time.perf_counter()

    workers = [threading.Thread(target=body, args=(k,)) for k in range(threads)]
    for worker in workers:
        worker.start()
    ready.wait()
    start = time.perf_counter()
    for worker in workers:
        worker.join()
    return threads * rounds * amount() / (max(ends) - start) / 1e9


def torch_rate(name: str, dtype: torch.dtype) -> float:
    """The same from torch, on its threads: a matrix product, and exponentials of numbers in second-level cache."""
    if name == "multiply_adds":
        a = torch.rand(1024, 1024, dtype=dtype)
        return 1024**3 / best_of(lambda: a @ a) / 1e9
    t = -torch.rand(1 << 17, dtype=dtype)
    return t.numel() / best_of(lambda: torch.exp(t)) / 1e9


def memory_rates() -> dict[str, float]:
    """Bytes of main memory read, and read plus written, by torch on its threads."""
    a = torch.ones(MEMORY_BYTES // 4)
    b = torch.empty_like(a)
    read = MEMORY_BYTES / best_of(a.sum, 3) / 1e9
    return {"read_bytes": read, "copy_bytes": 2 * MEMORY_BYTES / best_of(lambda: b.copy_(a), 3) / 1e9}


def best_of(call: Callable[[], object], repeats: int = 10) -> float:
    """Shortest of some timings, in seconds."""
    return min(timed(call) for _ in range(repeats))


def timed(call: Callable[[], object]) -> float:
    """Seconds that one call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def least_seconds(case: Case, rates: dict[str, float]) -> float:
    """The roofline: no implementation of this reduction can take less on this machine.

    Arithmetic and exponentials share the vector units, so their times add up; memory is read meanwhile.

    Args:
        case: The reduction.
        rates: Limits, as `measure` returns them.

    Returns:
        Seconds.
    """
    least, short = work(case), DTYPES[case.dtype]
    arithmetic = least.operations / rates[f"fma_{short}"] + least.exponentials / rates[f"exp_{short}"]
    memory = least.bytes / max(rates["read_bytes"], rates["copy_bytes"]) if least.bytes else 0.0
    return case.pairs * max(arithmetic, memory) / 1e9
