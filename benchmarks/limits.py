"""What the machine can do at most, measured: vector arithmetic, exponentials, memory. The rooflines stand on these."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial

import torch

from benchmarks.cases import Case, work
from isotherm.kernels import compiled

DTYPES = {"float32": "f32", "float64": "f64"}
PROBES = 10  # of each kind in one measurement; the best counts
MEMORY_BYTES = 1 << 30  # read and copied; beyond any cache


def measure(threads: int, *, seconds: float = 0.004, with_memory: bool = True) -> dict[str, float | str]:
    """Measure every limit once; the caller takes the best of several.

    Args:
        threads: How many threads work at once.
        seconds: About how long each probe runs; short ones find a quiet moment.
        with_memory: Whether to read and copy memory too (takes 2 GiB).

    Returns:
        Rates of all threads together, in 1e9 per second: "fma_f32", "exp_f32", the same in float64, and
        "read_bytes", "copy_bytes" (bytes read plus bytes written). "source" says how they were measured.
    """
    missing = compiled.why_missing()
    source = f"torch (sgemm and exp), because {missing[0]}" if missing else "the extension's probes, in registers"
    rates: dict[str, float | str] = {"source": source}
    for dtype, short in DTYPES.items():
        for name in ("fma", "exp"):
            if missing:
                rates[f"{name}_{short}"] = torch_rate(name, getattr(torch, dtype))
            else:
                probe = partial(getattr(compiled.extension, f"probe_{name}"), is_double=dtype == "float64")
                rates[f"{name}_{short}"] = max(probe_rate(probe, threads, seconds) for _ in range(PROBES))
    if with_memory:
        rates |= memory_rates()
    return rates


def probe_rate(probe: Callable[[int], float], threads: int, seconds: float) -> float:
    """Rate of a probe on all threads together; it lets go of the interpreter lock.

    Args:
        probe: Takes repeats, returns how many operations it did.
        threads: How many run at once.
        seconds: About how long.

    Returns:
        1e9 operations per second.
    """
    repeats = 1000
    while (took := timed(partial(probe, repeats))) < 0.2 * seconds:
        repeats *= 4
    repeats = max(1, int(repeats * seconds / took))
    ready = threading.Barrier(threads + 1)
    done, ends = [0.0] * threads, [0.0] * threads

    def body(k: int) -> None:
        ready.wait()
        done[k] = probe(repeats)
        ends[k] = time.perf_counter()

    workers = [threading.Thread(target=body, args=(k,)) for k in range(threads)]
    for worker in workers:
        worker.start()
    ready.wait()
    start = time.perf_counter()
    for worker in workers:
        worker.join()
    return sum(done) / (max(ends) - start) / 1e9


def torch_rate(name: str, dtype: torch.dtype) -> float:
    """The same from torch, on its threads: a matrix product, and exponentials of numbers in second-level cache."""
    if name == "fma":
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
