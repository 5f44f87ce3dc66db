"""Times a suite: every implementation in its own process, turn by turn, so that noise falls on all of them alike.

    python -m benchmarks.run --suite short

Rounds are outermost: each goes through the machine's limits and all cases, and the best over the rounds is kept. A row
that has had `ENOUGH_SECONDS` is not run again.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import select
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.cases import FIRST, Case, suite
from benchmarks.implementations import NAMES, PEERS
from benchmarks.limits import least_seconds

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
SCHEMA = 1
ENOUGH_SECONDS = 3.0
PEAK_OPERATIONS = ("softmin_cold", "softmin", "step", "plan_grad")


class Process:
    """A worker and the line to it."""

    def __init__(self, name: str, threads: int, python: str, patience: float) -> None:
        self.patience = patience
        environment = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
        command = [python, "-m", "benchmarks.worker", name, str(threads)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT, env=environment)

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Send a request, wait for the answer; a failure if none comes. A silent process is ended for good."""
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin, "this is our bug: opened without pipes"
        assert stdout, "this is our bug: opened without pipes"
        try:
            stdin.write(json.dumps({"do": do} | request) + "\n")
            stdin.flush()
        except (BrokenPipeError, ValueError):
            return {"failure": f"the process is gone, exit status {self.process.poll()}"}
        if not select.select([stdout], [], [], self.patience)[0]:
            self.process.kill()
            return {"failure": f"no answer within {self.patience:g} s"}
        line = stdout.readline()
        return json.loads(line) if line else {"failure": f"the process ended, exit status {self.process.wait()}"}

    def cpu_seconds(self) -> float:
        """Processor time so far; 0 where the system does not say."""
        try:
            numbers = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """End it."""
        assert self.process.stdin, "this is our bug: opened without pipes"
        self.process.stdin.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()


@dataclass
class Row:
    """One implementation on one case."""

    implementation: str
    case: Case
    threads: int
    times: list[float] = field(default_factory=list)
    error: float | None = None
    failure: str | None = None

    def record(self, limits: dict[str, Any]) -> dict[str, Any]:
        """For JSON; a number that is not there is null."""
        best = min(self.times) if self.times else None
        least = least_seconds(self.case, limits) if limits else None
        return {
            "implementation": self.implementation,
            **self.case.as_dict(),
            "threads": self.threads,
            "repeats": len(self.times),
            "best_s": best,
            "median_s": statistics.median(self.times) if self.times else None,
            "gpairs_per_s": self.case.pairs / best / 1e9 if best else None,
            "roofline_s": least,
            "of_roofline": least / best if best and least else None,
            "error": None if self.error is None or math.isnan(self.error) else self.error,
            "failure": self.failure,
        }


@dataclass
class Run:
    """A suite under way."""

    options: argparse.Namespace
    processes: dict[tuple[str, int], Process] = field(default_factory=dict)
    limits: dict[int, dict[str, Any]] = field(default_factory=dict)

    def process(self, name: str, threads: int) -> Process:
        """The worker, started when first asked for."""
        key = (name, threads)
        if key not in self.processes:
            self.processes[key] = self.start(name, threads)
        return self.processes[key]

    def start(self, name: str, threads: int) -> Process:
        """A fresh worker; peers run on their own Python."""
        python = self.options.peers_python if name in PEERS else sys.executable
        return Process(name, threads, python, self.options.patience)

    def rows(self) -> list[Row]:
        """All rows of the suite, cheapest first, so that rounds begin soon."""
        alone, duel = ([c for c in cases if c.n <= self.options.largest] for cases in suite(self.options.suite))
        names = {FIRST: alone + duel} | {name: duel for name in self.options.implementations if name != FIRST}
        rows = [Row(name, c, t) for name, cases in names.items() for t in self.options.threads for c in cases]
        return sorted(rows, key=lambda row: (row.case.n, row.threads, row.case.d, row.case.dtype, row.case.operation))

    def round(self, rows: list[Row]) -> None:
        """One turn for every row that has not had enough."""
        for threads in self.options.threads:
            found = self.process(FIRST, threads).ask("limits", with_memory=self.options.suite != "smoke")
            kept = self.limits.setdefault(threads, found)
            for key, rate in found.items():
                kept[key] = max(kept[key], rate)
        for row in rows:
            if row.failure or sum(row.times) > ENOUGH_SECONDS:
                continue
            process = self.process(row.implementation, row.threads)
            reply = process.ask("time", case=row.case.as_dict(), seconds=self.options.seconds)
            row.failure = reply.get("failure")
            row.times += reply.get("times", [])
            if row.error is None and not row.failure:
                reply = process.ask("check", case=row.case.as_dict())
                row.error, row.failure = reply.get("error"), reply.get("failure")

    def peaks(self) -> list[dict[str, Any]]:
        """Peak memory of single runs at N = M = 50,000, each in a fresh process."""
        if self.options.suite == "smoke":
            wanted = [(FIRST, Case("step", 3, 300))]
        else:
            wanted = [(FIRST, Case(o, d, 50_000)) for d in (3, 30) for o in PEAK_OPERATIONS]
        if self.options.suite in {"peers", "full"}:
            others = [name for name in self.options.implementations if name != FIRST]
            wanted += [(name, Case("softmin_cold", 3, 50_000)) for name in others]
        wanted = [(name, case) for name, case in wanted if case.n <= self.options.largest]
        records = []
        for name, case in wanted:
            process = self.start(name, max(self.options.threads))
            reply = process.ask("peak", case=case.as_dict())
            process.close()
            blank = {"baseline_mb": None, "peak_mb": None, "failure": None}
            records.append({"implementation": name, **case.as_dict(), **blank, **reply})
        return records

    def loops(self) -> list[dict[str, Any]]:
        """A training loop around a reduction: what it takes above the sum of its parts."""
        case = Case("softmin_cold", 3, 300 if self.options.suite == "smoke" else 10_000)
        records = []
        for threads in self.options.threads:
            reply = self.process(FIRST, threads).ask("loop", case=case.as_dict())
            record = {"implementation": FIRST, **case.as_dict(), "threads": threads, "failure": None, **reply}
            parts = None if record["failure"] else 2.0 * record["product_s"] + record["reduction_s"]
            records.append(record | {"over_parts": record["step_s"] / parts if parts else None})
        return records


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Time a suite and return what goes into the JSON."""
    job, began, busy, measured = Run(options), time.time(), busy_seconds(), commit()
    rows = job.rows()
    for number in range(options.rounds):
        job.round(rows)
        print(f"round {number + 1} of {options.rounds}: {time.time() - began:.0f} s", file=sys.stderr)
    loops = job.loops()
    wall, everything = time.time() - began, busy_seconds()
    own = sum(process.cpu_seconds() for process in job.processes.values())
    foreign = None
    if busy is not None and everything is not None:
        foreign = max(0.0, (everything - busy - own) / (wall * (os.cpu_count() or 1)))
    versions = {"python": platform.python_version()}
    for name in options.implementations:
        reply = job.process(name, options.threads[0]).ask("versions")
        versions |= {} if "failure" in reply else reply
    machine = {"processor": processor_name(), "cores": os.cpu_count()}
    machine |= job.process(FIRST, options.threads[0]).ask("processor")
    for process in job.processes.values():
        process.close()
    return {
        "schema": SCHEMA,
        "kind": "cpu",
        "suite": options.suite,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": measured,
        "machine": machine,
        "versions": versions,
        "settings": {"rounds": options.rounds, "seconds": options.seconds, "patience_s": options.patience}
        | {key: os.environ[key] for key in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT") if key in os.environ},
        "foreign_load": foreign,
        "limits": {str(threads): rates for threads, rates in job.limits.items()},
        "rows": [row.record(job.limits[row.threads]) for row in rows],
        "peaks": job.peaks(),
        "loops": loops,
        "wall_s": time.time() - began,
    }


def busy_seconds() -> float | None:
    """Processor time that all processes of the machine have used; None where the system does not say."""
    try:
        fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
    except OSError:
        return None
    idle = int(fields[3]) + int(fields[4])
    return (sum(map(int, fields[:8])) - idle) / os.sysconf("SC_CLK_TCK")


def processor_name() -> str:
    """What the processor calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def commit() -> str | None:
    """The commit that is measured, with a plus where files differ from it."""
    try:
        name = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        changes = ["git", "status", "--porcelain", "--", "src", "benchmarks", ":!benchmarks/results"]
        dirty = subprocess.run(changes, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return name.stdout.strip() + ("+" if dirty.stdout.strip() else "")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description="Time a suite and write JSON.")
    parser.add_argument("--suite", choices=["smoke", "short", "peers", "full"], default="short")
    parser.add_argument("--implementations", default="isotherm,reference,torch", help=f"some of {','.join(NAMES)}")
    parser.add_argument("--threads", default="1,2", help="numbers of threads, e.g. 1,2")
    parser.add_argument("--rounds", type=int, default=3, help="turns that every row gets")
    parser.add_argument("--seconds", type=float, default=0.05, help="length of a turn; one run if that is longer")
    parser.add_argument("--largest", type=int, default=50_000, help="leave out what has more points on a side")
    parser.add_argument("--patience", type=float, default=300.0, help="seconds after which a run counts as failed")
    parser.add_argument("--peers-python", default=sys.executable, help="Python that has benchmarks/peers.txt")
    parser.add_argument("--output", type=Path, help="JSON file, by default benchmarks/results/cpu-SUITE.json")
    options = parser.parse_args(arguments)
    options.threads = [int(word) for word in options.threads.split(",")]
    options.implementations = options.implementations.split(",")
    if unknown := set(options.implementations) - set(NAMES):
        parser.error(f"--implementations must be among {', '.join(NAMES)}: got {', '.join(sorted(unknown))}")
    return options


def main() -> None:
    """Run the suite, write the JSON."""
    options = parse()
    result = run(options)
    path = options.output or RESULTS / f"cpu-{options.suite}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"{path}: {len(result['rows'])} rows in {result['wall_s']:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
