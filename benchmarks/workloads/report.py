"""Tables and the plot of a result; numbers come from JSON, never from memory.

python -m benchmarks.workloads.report                                    # the table
python -m benchmarks.workloads.report --markdown --into docs/speed.md    # the same into a page, between its marks
python -m benchmarks.workloads.report --scaling scaling.json --plot growth.png
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks.compare import NOISY, lines_of, seconds
from benchmarks.run import RESULTS
from benchmarks.workloads.run import OWN

BEGIN, END = "<!-- workloads table -->", "<!-- end -->"


def cell(row: dict[str, Any] | None) -> str:
    """A time, or what went wrong."""
    if row is None:
        return "not run"
    if row["is_met"]:
        return seconds(row["best_s"])
    if "error" in row and "failure" not in row:
        return f"error {row['error']:.0e}"
    told = row.get("failure", "")
    if "within" in told or "took" in told:
        return f"> {row['limit_s']:.0f} s"
    return "-" if "NotImplementedError" in told else "FAILED"


def ratio(rows: dict[str, dict[str, Any]]) -> str:
    """How many times as long the best of the others takes; a lower bound where none is in time."""
    own = rows.get(OWN)
    peers = [row for name, row in rows.items() if name != OWN]
    if own is None or not own["is_met"] or not peers:
        return "-"
    times = [row["best_s"] for row in peers if row["is_met"]]
    if times:
        return f"{min(times) / own['best_s']:.3g}x"
    limits = [row["limit_s"] for row in peers if "within" in row.get("failure", "") or "took" in row.get("failure", "")]
    return f"> {min(limits) / own['best_s']:.3g}x" if limits else "none other"


def table(result: dict[str, Any], last: str = "gap") -> list[list[str]]:
    """Header and rows: a task and a tolerance each; the last column holds another error of ours."""
    names = list(dict.fromkeys(row["library"] for row in result["rows"]))
    groups: dict[tuple[str, float], dict[str, dict[str, Any]]] = {}
    for row in result["rows"]:
        groups.setdefault((row["task"], row["tolerance"]), {})[row["library"]] = row
    out = [["task", "L1", *names, "best other / ours", "iterations", "error", last.replace("_", " ")]]
    for (task, tolerance), rows in groups.items():
        own = rows.get(OWN, {})
        other = "-" if own.get(last) is None else f"{own[last]:.0e}"
        error = "-" if own.get("error") is None else f"{own['error']:.1e}" + ("*" if own["is_sampled"] else "")
        cells = [cell(rows.get(name)) for name in names]
        out.append([task, f"{tolerance:.0e}", *cells, ratio(rows), str(own.get("iterations") or "-"), error, other])
    return out


def work_table(result: dict[str, Any]) -> list[list[str]]:
    """Header and rows: what our answers took. Pairs met are told in passes over all pairs."""
    out = [["task", "L1", "iterations", "pairs met", "exponentials", "MB at the peak", "seconds"]]
    for row in result["rows"]:
        if row["library"] != OWN or "exponentials" not in row:
            continue
        met = f"{row['pairs_met'] / row['pairs']:.3g} x all"
        counts = str(row["iterations"]), met, f"{row['exponentials']:.2g}", f"{row['peak_mb']:.3g}"
        out.append([row["task"], f"{row['tolerance']:.0e}", *counts, seconds(row["best_s"])])
    return out


def heading(result: dict[str, Any]) -> str:
    """Machine, versions, date."""
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    machine = result["machine"]
    noise = result.get("foreign_load")
    noisy = f" **NOISY: others used {noise:.0%} of the machine.**" if noise is not None and noise > NOISY else ""
    return (
        f"{result['date'][:10]}, {machine['processor']}, {result['settings']['threads']} threads, "
        f"commit {result['commit']}; {versions}.{noisy}"
    )


def markdown(rows: list[list[str]]) -> str:
    """A table for a page."""
    head, *body = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([head, "|---" + "|---:" * (len(rows[0]) - 1) + "|", *body])


def plot(result: dict[str, Any], path: Path) -> None:
    """How the time grows with the number of points, with the dimension and as the temperature falls."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    axes = {"n": "points on a side", "d": "dimension", "cold": "mean cost / epsilon"}
    for panel, (axis, label) in zip(panels, axes.items(), strict=True):
        rows = [row for row in result["rows"] if row["axis"] == axis]
        for series in dict.fromkeys(row["series"] for row in rows):
            points = [(row["at"], row["best_s"]) for row in rows if row["series"] == series]
            panel.loglog(*zip(*points, strict=True), marker="o", markersize=4, label=series)
        panel.set_xlabel(label)
        panel.grid(visible=True, which="major", alpha=0.3)
        panel.legend(frameon=False, fontsize=8)
    panels[0].set_ylabel("seconds to L1 error 1e-3")
    figure.savefig(path, dpi=150)


def main(name: str = "workloads.json", begin: str = BEGIN, last: str = "gap") -> None:
    """Print, or write into a page after the mark `begin`."""
    parser = argparse.ArgumentParser(description="Show a result.")
    parser.add_argument("result", type=Path, nargs="?", default=RESULTS / name)
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--into", type=Path, help="page whose table, between its marks, is replaced")
    parser.add_argument("--scaling", type=Path, help="result of benchmarks.workloads.scaling")
    parser.add_argument("--plot", type=Path, help="picture to write")
    options = parser.parse_args()
    if options.scaling and options.plot:
        plot(json.loads(options.scaling.read_text(encoding="utf-8")), options.plot)
        return
    result = json.loads(options.result.read_text(encoding="utf-8"))
    rows = table(result, last)
    shown = markdown if options.markdown else lambda rows: "\n".join(lines_of(rows))
    text = f"{heading(result)}\n\n{shown(rows)}\n\n* from a sample of rows and columns\n"
    if len(work := work_table(result)) > 1:
        text += f"\nWhat our answers took:\n\n{shown(work)}\n"
    if options.into is None:
        print(text)
        return
    page = options.into.read_text(encoding="utf-8")
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(END)
    options.into.write_text(f"{before}{begin}\n\n{text}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
