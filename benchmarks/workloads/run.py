"""Every task by every library; writes benchmarks/results/workloads.json.

    python -m benchmarks.workloads.run --peers-python .venv-peers/bin/python
    python -m benchmarks.workloads.run --only "1 blobs" --libraries isotherm,pot

isotherm goes first. The others get so many times as long as it took, within limits, for each of their settings, except
those that follow one of the same method which was ended, and the quickest setting whose true error meets the tolerance stands for a library. What none meets is shown as a failure,
with the best that came out.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import platform
import resource
import select
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.run import RESULTS, ROOT, busy_seconds, commit, processor_name
from benchmarks.workloads.worker import WORKLOADS

if TYPE_CHECKING:
    from benchmarks.workloads.suite import Suite

SLACK = 1.05  # of the tolerance that an independent recomputation may find: rules look at float32 sums
START_SECONDS = 90.0  # for imports and generating the task
JUDGE_SECONDS = 600.0  # for repeats and for judging
END_SECONDS = 20.0  # for what a library does last
OWN = "isotherm"


def main(suite: Suite = WORKLOADS) -> None:
    """Run, write after every task, so that an interrupt loses one task at most."""
    options = parse(suite)
    path = options.output or RESULTS / suite.result
    result = heading(suite, options)
    if options.resume and path.exists():
        result = continued(json.loads(path.read_text(encoding="utf-8")), result)
    done = {(row["task"], row["tolerance"]) for row in result["rows"]}
    began, busy, own = time.time(), busy_seconds(), children_seconds()
    earlier, load = result.get("wall_s", 0.0), result.get("foreign_load", 0.0)
    for name in chosen(suite, options):
        for tolerance in suite.tasks[name][1]:
            if (name, tolerance) in done:
                continue
            rows = compare(suite, name, tolerance, options)
            result["rows"] += rows
            now = time.time() - began
            result["wall_s"] = earlier + now
            if busy is not None:
                others = (busy_seconds() or busy) - busy - (children_seconds() - own)
                result["foreign_load"] = max(load, others / (now * (os.cpu_count() or 1)))
            path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
            print("; ".join(told(row) for row in rows), f"({name}, {tolerance:g})", file=sys.stderr)


def continued(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """The result so far, if it was begun with the same code, settings and versions; a ValueError if not."""
    for key in ("commit", "machine", "versions", "settings"):
        if before[key] != now[key]:
            msg = f"--resume needs the same {key}: the file has {before[key]}, this is {now[key]}. Begin anew."
            raise ValueError(msg)
    return before


def children_seconds() -> float:
    """Processor time of all workers that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def chosen(suite: Suite, options: argparse.Namespace) -> list[str]:
    """Names of the tasks; very small and very long ones only where they are asked for."""
    if options.only:
        return [name for name in suite.tasks if any(name.startswith(word) for word in options.only.split(","))]
    return [name for name in suite.tasks if not name.startswith(("smoke", "long"))]


def compare(suite: Suite, name: str, tolerance: float, options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row for each library: its best setting."""
    rows, patience = [], options.patience
    for library in options.libraries.split(","):
        row = best_setting(suite, library, name, tolerance, patience, options)
        rows.append({"task": name, "tolerance": tolerance, "library": library, **row})
        if library == OWN and row["is_met"]:
            patience = min(options.patience, max(options.least_patience, options.times * row["best_s"]))
    return rows


def best_setting(
    suite: Suite, library: str, name: str, tolerance: float, patience: float, options: argparse.Namespace
) -> dict[str, Any]:
    """The quickest setting that meets the tolerance, else the least wrong, with all that was tried."""
    tried, limit, count = list[dict[str, Any]](), patience, 1
    while len(tried) < count:
        words = library, name, str(tolerance), str(len(tried))
        process = start(suite, words, options)
        settings = read(process, START_SECONDS).get("settings", ["-"])
        count = len(settings)
        while len(tried) < count:
            found: dict[str, Any] = read(process, limit + 1.0)
            if set(found) == {"first_s"}:
                found = read(process, JUDGE_SECONDS)
            if not found:
                told = f"no answer within {limit:.0f} s" if process.poll() is None else f"exit status {process.poll()}"
                found = {"failure": told}
            elif found.get("best_s", 0.0) > limit:
                found["failure"] = f"took {found['best_s']:.0f} s, more than {limit:.0f} s"
            found |= {"setting": settings[len(tried)], "limit_s": limit}
            found["is_met"] = "failure" not in found and found["error"] <= SLACK * tolerance
            tried.append(found)
            if found["is_met"]:
                limit = min(limit, 1.2 * found["first_s"] + 1.0)  # what takes longer is not the best
            if "no answer" in found.get("failure", "") or ("best_s" not in found and process.poll() is not None):
                break
        end(process, is_done=len(tried) == count)
        tried += not_tried(tried, settings)
    best = min(tried, key=lambda row: (not row["is_met"], row["best_s"] if row["is_met"] else row.get("error", 9e9)))
    short = [{key: row.get(key) for key in ("setting", "best_s", "error", "failure")} for row in tried]
    return {**best, "tried": short}


def not_tried(tried: list[dict[str, Any]], settings: list[str]) -> list[dict[str, Any]]:
    """Rows for the settings of the method, the first word, that was ended last: they come after it because they take longer."""
    last = tried[-1]
    if "no answer" not in last.get("failure", ""):
        return []
    method = last["setting"].split()[0]
    failure = f"not tried, as {last['setting']} gave no answer"
    rest = itertools.takewhile(lambda setting: setting.split()[0] == method, settings[len(tried) :])
    return [{"setting": setting, "failure": failure, "limit_s": last["limit_s"], "is_met": False} for setting in rest]


def start(suite: Suite, words: tuple[str, ...], options: argparse.Namespace) -> subprocess.Popen[str]:
    """A worker for a library, a task, a tolerance and settings to skip; peers run on their own Python."""
    python = sys.executable if words[0] in {OWN, "torch"} else options.peers_python
    command = [python, "-m", f"{suite.package}.worker", *words]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=quiet, text=True, env=environment(options, words[0])
    )


def end(process: subprocess.Popen[str], *, is_done: bool) -> None:
    """End a worker; one that has told everything may write its caches first, which a kill would leave cut short."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(END_SECONDS if is_done else 0.0)
    process.kill()
    process.wait()


def read(process: subprocess.Popen[str], seconds: float) -> dict[str, Any]:
    """The worker's next line; empty where none comes in time."""
    assert process.stdout, "this is our bug: opened without a pipe"
    if not select.select([process.stdout], [], [], seconds)[0]:
        return {}
    line = process.stdout.readline()
    return json.loads(line) if line else {}


def environment(options: argparse.Namespace, library: str) -> dict[str, str]:
    """As many threads for everybody; those of others wait passively, beside threads of their own that spinning ones would disturb."""
    threads = str(options.threads)
    waiting = {} if library in {OWN, "torch"} else {"OMP_WAIT_POLICY": "PASSIVE"}
    return (
        os.environ
        | waiting
        | {
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": threads,
        }
    )


def told(row: dict[str, Any]) -> str:
    """A row in a few words."""
    if row["is_met"]:
        return f"{row['library']} {row['best_s']:.3g} s"
    return f"{row['library']} {row.get('failure') or format(row['error'], '.1e') + ' is its error'}"


def heading(suite: Suite, options: argparse.Namespace) -> dict[str, Any]:
    """Machine, versions, date."""
    versions = {"python": platform.python_version()}
    for library in options.libraries.split(","):
        code = (
            "import json, sys; from importlib import import_module;"
            f"print(json.dumps(import_module('{suite.package}.libraries.' + sys.argv[1]).versions()))"
        )
        python = sys.executable if library in {OWN, "torch"} else options.peers_python
        command = [python, "-c", code, library]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        versions |= json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {library: "not installed"}
    return {
        "schema": 1,
        "kind": suite.package.rpartition(".")[2],
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": {"processor": processor_name(), "cores": os.cpu_count()},
        "versions": versions,
        "settings": {
            "threads": options.threads,
            "patience_s": options.patience,
            "least_patience_s": options.least_patience,
            "times": options.times,
        },
        "rows": [],
    }


def parse(suite: Suite, arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog=f"python -m {suite.package}.run", description="Time tasks, judge answers.")
    parser.add_argument("--only", default="", help="beginnings of task names, separated by commas")
    parser.add_argument("--libraries", default=",".join(suite.libraries), help=f"some of {','.join(suite.libraries)}")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads for everybody")
    parser.add_argument("--patience", type=float, default=60.0, help="seconds that a run may take at most")
    parser.add_argument("--times", type=float, default=21.0, help="times as long as isotherm that a run may take")
    parser.add_argument("--least-patience", type=float, default=4.0, help="seconds that a run may take in any case")
    parser.add_argument("--resume", action="store_true", help="go on with the tasks that the file of results lacks")
    parser.add_argument("--peers-python", default=sys.executable, help="Python that has benchmarks/peers.txt")
    parser.add_argument("--output", type=Path, help=f"JSON file, by default benchmarks/results/{suite.result}")
    options = parser.parse_args(arguments)
    if unknown := set(options.libraries.split(",")) - set(suite.libraries):
        parser.error(f"--libraries must be among {', '.join(suite.libraries)}: got {', '.join(sorted(unknown))}")
    return options


if __name__ == "__main__":
    main()
