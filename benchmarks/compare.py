"""Prints a result as tables, compares two, and writes the README's table. Numbers come from JSON, never from memory.

python -m benchmarks.compare                        # the newest result
python -m benchmarks.compare old.json new.json      # what became faster, slower, less true
python -m benchmarks.compare --markdown --into README.md
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.cases import FIRST, OPERATIONS
from benchmarks.implementations import DESCRIPTIONS
from benchmarks.run import RESULTS

Result = dict[str, Any]
Key = tuple[str | int, ...]

BEGIN, END = "<!-- benchmark table -->", "<!-- end -->"
NOISY = 0.05  # share of the machine used by others, from which times are not to be trusted
GPU_COMMAND = "python benchmarks/gpu.py"
GPU_SIZES = [(n, d) for n in (10_000, 50_000) for d in (3, 64, 512)]


def key(row: Result) -> Key:
    """What identifies a row between two results."""
    return row["implementation"], row["operation"], row["d"], row["n"], row["dtype"], row["threads"]


def geometry(row: Result) -> str:
    """The column a row stands in."""
    return "stored" if row["d"] == 0 else f"D={row['d']}"


def seconds(value: float | None) -> str:
    """A time with a fitting unit."""
    if value is None:
        return "-"
    return f"{value:.3g} s" if value >= 1.0 else f"{value * 1e3:.3g} ms"


def lines_of(rows: list[list[str]]) -> list[str]:
    """Cells in columns; the first column is flushed left."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(w) if k == 0 else cell.rjust(w) for k, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def heading(result: Result) -> list[str]:
    """Machine, versions, date, and how noisy it was."""
    machine, versions = result["machine"], ", ".join(f"{k} {v}" for k, v in result["versions"].items())
    out = [
        f"{machine['processor']}, {machine['cores']} cores, {machine['instruction_set']}, threads of {machine['threads_of']}",
        f"{versions}; commit {result['commit']}, {result['date']}, suite {result['suite']}, {result['wall_s']:.0f} s",
    ]
    load = result["foreign_load"]
    if load is not None and load > NOISY:
        out.append(f"NOISY: other processes used {load:.0%} of the machine meanwhile. Do not trust these times.")
    return out


def limits_table(result: Result) -> list[str]:
    """The machine's own limits."""
    names = {
        "fma_f32": "multiply-adds f32, G/s",
        "exp_f32": "exponentials f32, G/s",
        "fma_f64": "multiply-adds f64, G/s",
        "exp_f64": "exponentials f64, G/s",
        "read_bytes": "memory read, GB/s",
        "copy_bytes": "memory copied, GB/s (read + written)",
    }
    limits = result["limits"]
    rows = [["threads", *limits]]
    rows += [[text, *(f"{rates.get(k, float('nan')):.1f}" for rates in limits.values())] for k, text in names.items()]
    source = next(iter(limits.values()))["source"]
    return [f"Limits of the machine: {source}; memory by torch", *lines_of(rows)]


def rooflines_table(result: Result, *, dtype: str, threads: int, n: int) -> list[str]:
    """Pairs per second of isotherm and the share of the roofline, reductions by geometries."""
    chosen = {
        (row["operation"], geometry(row)): row
        for row in result["rows"]
        if (row["implementation"], row["dtype"], row["threads"], row["n"]) == (FIRST, dtype, threads, n)
    }
    if not chosen:
        return []
    columns = list(dict.fromkeys(column for _, column in chosen))
    columns.sort(key=lambda c: (c == "stored", int(c[2:]) if c != "stored" else 0))
    rows = [["", *columns]]
    for operation, text in OPERATIONS.items():
        if any((operation, column) in chosen for column in columns):
            rows.append([text, *(rate_cell(chosen.get((operation, column))) for column in columns)])
    failed = [f"  FAILED {geometry(r)} {r['operation']}: {r['failure']}" for r in chosen.values() if r["failure"]]
    worst = max((row["error"] for row in chosen.values() if row["error"] is not None), default=float("nan"))
    title = f"isotherm, {dtype}, N = M = {n:,}, {threads} thread{'s' * (threads > 1)}: Gpair/s (share of the roofline)"
    return [f"{title}; largest error {worst:.0e}", *lines_of(rows), *failed]


def rate_cell(row: Result | None) -> str:
    """Rate and share of one row."""
    if row is None:
        return "-"
    if row["failure"]:
        return "FAILED"
    return f"{row['gpairs_per_s']:.2f} ({row['of_roofline']:.0%})"


def duels(result: Result) -> dict[Key, dict[str, Result]]:
    """Rows by case and threads, then by implementation, where somebody else did what isotherm did."""
    groups: dict[Key, dict[str, Result]] = {}
    for row in result["rows"]:
        groups.setdefault((row["n"], row["d"], row["threads"], row["operation"], row["dtype"]), {})[
            row["implementation"]
        ] = row
    return {k: groups[k] for k in sorted(groups, key=str) if len(groups[k]) > 1}


def ratio(group: dict[str, Result], name: str) -> float | None:
    """How many times longer than isotherm an implementation took, best against best."""
    ours, theirs = group[FIRST]["best_s"], group[name]["best_s"]
    return theirs / ours if ours and theirs else None


def duels_table(result: Result) -> list[str]:
    """One softmin pass of everybody."""
    groups = duels(result)
    if not groups:
        return []
    rows = [["one softmin, no guess", "N = M", "D", "threads", "best", "median", "Gpair/s", "x isotherm", "true error"]]
    for (n, d, threads, _, dtype), group in groups.items():
        for name, row in group.items():
            start = [DESCRIPTIONS[name] + ("" if dtype == "float32" else f", {dtype}"), f"{n:,}", str(d), str(threads)]
            if row["failure"]:
                rows.append([*start, "FAILED", "", "", "", ""])
                continue
            times = ratio(group, name)
            rows.append(
                [
                    *start,
                    seconds(row["best_s"]),
                    seconds(row["median_s"]),
                    f"{row['gpairs_per_s']:.3g}",
                    "-" if times is None else f"{times:.1f}",
                    "not finite" if row["error"] is None else f"{row['error']:.0e}",
                ]
            )
    failed = {f"  {name}: {row['failure']}" for g in groups.values() for name, row in g.items() if row["failure"]}
    return [*lines_of(rows), *sorted(failed)]


def memory_table(result: Result) -> list[str]:
    """Peak memory above the inputs, and the training loop."""
    rows = [["peak memory above the inputs", "N = M", "D", "MB"]]
    for peak in result["peaks"]:
        name = f"{DESCRIPTIONS[peak['implementation']]}: {OPERATIONS[peak['operation']]}"
        found = f"FAILED: {peak['failure']}" if peak["failure"] else f"{peak['peak_mb']:.1f}"
        rows.append([name, f"{peak['n']:,}", str(peak["d"]), found])
    loops = [["training loop: matmul, softmin, matmul", "threads", "matmul", "softmin", "loop", "loop / parts"]]
    for loop in result["loops"]:
        if loop["failure"]:
            loops.append([f"FAILED: {loop['failure']}", *[""] * 5])
            continue
        parts = [seconds(loop[k]) for k in ("product_s", "reduction_s", "step_s")]
        loops.append([DESCRIPTIONS[loop["implementation"]], str(loop["threads"]), *parts, f"{loop['over_parts']:.2f}"])
    return [*lines_of(rows), "", *lines_of(loops)]


def report(result: Result) -> list[str]:
    """Everything in one result."""
    parts = [heading(result), limits_table(result)]
    for n in sorted({row["n"] for row in result["rows"]}):
        for dtype in ("float32", "float64"):
            for threads in sorted({row["threads"] for row in result["rows"]}, reverse=True):
                parts.append(rooflines_table(result, dtype=dtype, threads=threads, n=n))
    parts += [duels_table(result), memory_table(result)]
    if any((row["of_roofline"] or 0.0) > 1.0 for row in result["rows"]):
        parts.insert(
            1, ["Shares above 100 % are impossible: the limits were measured in noisier moments than the kernels."]
        )
    return [line for part in parts if part for line in (*part, "")]


def changes(old: Result, new: Result) -> list[str]:
    """Rows that both have: time of the second over the first, and both errors. Slowest first."""
    before = {key(row): row for row in old["rows"]}
    pairs = [(before[key(row)], row) for row in new["rows"] if key(row) in before]
    rows = []
    for a, b in sorted(pairs, key=lambda pair: -(pair[1]["best_s"] or 1e9) / (pair[0]["best_s"] or 1e9)):
        change = f"{b['best_s'] / a['best_s']:.2f}" if a["best_s"] and b["best_s"] else "FAILED"
        share = [f"{r['of_roofline']:.0%}" if r["of_roofline"] else "-" for r in (a, b)]
        errors = [f"{r['error']:.0e}" if r["error"] is not None else "-" for r in (a, b)]
        name = f"{b['implementation']} {b['operation']} {geometry(b)} N={b['n']:,} {b['dtype']} x{b['threads']}"
        rows.append([name, change, seconds(a["best_s"]), seconds(b["best_s"]), *share, *errors])
    titles = ["second result over first", "ratio", "best 1", "best 2", "roof 1", "roof 2", "error 1", "error 2"]
    return [*heading(old), *heading(new), "", *lines_of([titles, *rows])]


def markdown(result: Result, folder: Path = RESULTS) -> list[str]:
    """The README's table, between its two marks."""
    machine = result["machine"]
    out = [
        BEGIN,
        f"One softmin over all pairs, float32, no guess of the result; {machine['processor']}, {machine['cores']} cores, "
        f"{result['date'][:10]}, commit {result['commit']}. In brackets how many times longer than isotherm.",
    ]
    if (result["foreign_load"] or 0.0) > NOISY:
        out.append(f"*The machine was shared: others used {result['foreign_load']:.0%} of it. To be repeated.*")
    groups = duels(result)
    names = [name for name in DESCRIPTIONS if any(name in group for group in groups.values())]
    out += [
        "",
        "| N = M | D | threads | " + " | ".join(DESCRIPTIONS[n] for n in names) + " |",
        "|---" * (3 + len(names)) + "|",
    ]
    for (n, d, threads, *_), group in groups.items():
        out.append(f"| {n:,} | {d} | {threads} | " + " | ".join(duel_cell(group, name) for name in names) + " |")
    errors = {name: [g[name]["error"] for g in groups.values() if name in g and g[name]["error"]] for name in names}
    told = ", ".join(f"{DESCRIPTIONS[name]} {max(found):.0e}" for name, found in errors.items() if found)
    out += ["", f"Largest relative error against float64: {told}."]
    peaks = [p["peak_mb"] for p in result["peaks"] if p["implementation"] == FIRST and p["peak_mb"] is not None]
    if peaks:
        out[-1] += f" Peak memory of isotherm above the inputs at N = M = 50,000: {max(peaks):.0f} MB or less."
    return [*out, "", *gpu_markdown(folder), END]


def duel_cell(group: dict[str, Result], name: str) -> str:
    """Time and ratio, or that there is none."""
    row = group.get(name)
    if row is None:
        return "-"
    if row["failure"]:
        return f"failed: {row['failure'].split(':')[0]}"
    times = ratio(group, name)
    return seconds(row["best_s"]) + ("" if name == FIRST or times is None else f" ({times:.1f}×)")


def gpu_markdown(folder: Path) -> list[str]:
    """The GPU's rows from its newest result; what is missing says so."""
    found = sorted(folder.glob("gpu-*.json"), key=lambda path: path.stat().st_mtime)
    record = json.loads(found[-1].read_text(encoding="utf-8")) if found else {"rows": [], "device": "no GPU at hand"}
    rows = {(r["n"], r["dimension"], r["implementation"]): r for r in record["rows"]}
    names = list(dict.fromkeys(r["implementation"] for r in record["rows"])) or [
        "isotherm",
        "FlashSinkhorn",
        "KeOps",
        "torch",
    ]
    out = [f"On a GPU ({record['device']}); `{GPU_COMMAND}` fills these rows:", ""]
    out += ["| N = M | D | " + " | ".join(names) + " |", "|---" * (2 + len(names)) + "|"]
    for n, d in sorted({(size, dimension) for size, dimension, _ in rows}) or GPU_SIZES:
        cells = []
        for name in names:
            row = rows.get((n, d, name), {})
            cells.append(
                seconds(row["seconds"]) if row.get("seconds") else row.get("missing", "not measured: no GPU at hand")
            )
        out.append(f"| {n:,} | {d} | " + " | ".join(cells) + " |")
    return out


def load(path: Path) -> Result:
    """Read a result of `benchmarks.run`."""
    return json.loads(path.read_text(encoding="utf-8"))


def main() -> None:
    """Print what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description="Print or compare results.")
    parser.add_argument(
        "results", nargs="*", type=Path, help="none: the newest; one: that one; two: the second over the first"
    )
    parser.add_argument("--markdown", action="store_true", help="the README's table")
    parser.add_argument("--into", type=Path, help=f"with --markdown: replace what stands between {BEGIN} and {END}")
    options = parser.parse_args()
    if len(options.results) == 2:
        print("\n".join(changes(*map(load, options.results))))
        return
    paths = options.results or sorted(RESULTS.glob("cpu-*.json"), key=lambda path: path.stat().st_mtime)[-1:]
    if not paths:
        sys.exit(f"No result in {RESULTS}. Run `make bench` first.")
    result = load(paths[0])
    lines = markdown(result) if options.markdown else report(result)
    if not options.into:
        print("\n".join(lines))
        return
    text = options.into.read_text(encoding="utf-8")
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        sys.exit(
            f"{options.into} must hold the lines {BEGIN} and {END}: one is missing. Add them where the table goes."
        )
    options.into.write_text(head + "\n".join(lines) + tail, encoding="utf-8")


if __name__ == "__main__":
    main()
