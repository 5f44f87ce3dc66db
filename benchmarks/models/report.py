"""Tables of the evidence; numbers come from JSON, never from memory.

python -m benchmarks.models.report                                     # print all there is
python -m benchmarks.models.report --into docs/generative-benchmarks.md    # into the page, between its marks
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.models import choose, digits, iris, variance
from benchmarks.models.baselines import BASELINES
from benchmarks.models.settings import DIGITS
from benchmarks.run import RESULTS
from benchmarks.workloads.report import markdown

END = "<!-- end -->"
COLUMNS = {
    "w2": "W2",
    "frechet": "FD pixels",
    "frechet_features": "FD features",
    "mmd": "MMD² · 10³",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
    "memorisation": "memorisation",
    "reconstruction": "reconstruction",
    "codes": "codes",
}
SCALES = {"mmd": 1e3}
COARSE = ("frechet_features", "mmd", "memorisation", "reconstruction", "codes")  # two decimals
OWN_FLOOR = ("reconstruction", "codes")  # depends on the model's K


def spread(values: list[float], digits_shown: int = 3) -> str:
    """Mean and standard deviation over seeds."""
    mean = sum(values) / len(values)
    if len(values) == 1:
        return f"{mean:.{digits_shown}f}"
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
    return f"{mean:.{digits_shown}f} ± {deviation:.{digits_shown}f}"


def digits_table(result: dict[str, Any]) -> str:
    """Models and baselines, one row each."""
    rows = grouped(result)
    table = [["", *COLUMNS.values(), "seconds"]]
    for name, found in rows.items():
        cells = [metric_cell(found, key) for key in COLUMNS]
        table.append([name, *cells, "–" if name in BASELINES else spread([row["seconds"] for row in found], 0)])
    return markdown(table)


def metric_cell(found: list[dict[str, Any]], key: str) -> str:
    """A metric over seeds, with its floor where that is the model's own; a dash where the model does not have it."""
    measured = [row["metrics"][key] for row in found if key in row["metrics"]]
    if not measured:
        return "–"
    shown = spread([each["value"] * SCALES.get(key, 1.0) for each in measured], 2 if key in COARSE else 3)
    return f"{shown} (floor {measured[0]['floor']:.2f})" if key in OWN_FLOOR else shown


def family_table(result: dict[str, Any]) -> str:
    """The family: what holds the codes to the prior, what gamma is, and the form of posterior that was measured."""
    table = [["", "codes are held to the prior by", "gamma", "posterior", "spread", "correlation", "excess kurtosis"]]
    for name, found in grouped(result).items():
        forms = [row["posterior"] for row in found if row["posterior"] is not None]
        if name in BASELINES:
            continue
        row = DIGITS[name]
        if not forms:
            table.append([name, row.prior_match, row.temperature, "none: it only generates", "–", "–", "–"])
            continue
        is_point = all(form["correlation"] is None for form in forms)
        cells = ["0", "–", "–"]
        if not is_point:
            cells = [spread([form[key] for form in forms], 2) for key in ("spread", "correlation", "excess_kurtosis")]
        table.append([name, row.prior_match, row.temperature, "a point" if is_point else "a family", *cells])
    return markdown(table)


def iris_table(result: dict[str, Any]) -> str:
    """Published counts beside ours, row by row of each 3 x 3 table; means over seeds."""
    costs = list(dict.fromkeys(row["cost"] for row in result["rows"]))
    table = [["epsilon", "published", *[f"ours, {name} distance" for name in costs]]]
    for epsilon, published in result["published"].items():
        cells = [counts([published])]
        for cost in costs:
            rows = [row for row in result["rows"] if row["cost"] == cost and row["epsilon"] == epsilon]
            cells.append(counts([row["counts"] for row in rows]))
        table.append(["∞ (MMD)" if epsilon == "inf" else epsilon, *cells])
    return markdown([*table, ["start (k-means)", "–", *[counts([result["start"]])] * len(costs)]])


def counts(tables: list[list[list[int]]]) -> str:
    """Means of 3 x 3 tables in a cell, and how far a table at most is from them."""
    if not tables:
        return "–"
    found = torch.tensor(tables, dtype=torch.float64)  # (seed, ellipsoid, class)
    mean = found.mean(0)
    shown = " / ".join(" ".join(f"{round(count, 1):g}" for count in row) for row in mean.tolist())
    away = float((found - mean).abs().max())
    return f"[{shown}] ± {away:.1f}" if away > 0.0 else f"[{shown}]"


def choice_table(result: dict[str, Any]) -> str:
    """The score of what was chosen, beside those of what was not."""
    table = [["", "chosen", "its score", "scores of the others"]]
    for name, [(best, settings), *others] in choose.rankings(result["rows"]).items():
        words = [f"{key} {value}" for part in settings.values() for key, value in part.items()]
        table.append(
            [name, ", ".join(words) or "–", f"{best:.3f}", ", ".join(f"{mean:.3f}" for mean, _ in others) or "–"]
        )
    return markdown(table)


def variance_table(result: dict[str, Any]) -> str:
    """What each loss makes of the variance."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in result["rows"]:
        groups.setdefault((row["what"], row["loss"]), []).append(row)
    table = [["what", "loss", "expected", "found"]]
    names = {"line": "generator on a line", "codes": "codes in 64 dimensions"}
    for (what, loss), found in groups.items():
        expected = found[0]["expected"]
        told = "–" if expected is None else f"{expected:.3f}"
        table.append([names[what], loss, told, spread([row["found"] for row in found])])
    return markdown(table)


def grouped(result: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Rows by model, baselines first."""
    order = [name for name in (*BASELINES, *DIGITS) if any(row["model"] == name for row in result["rows"])]
    return {name: [row for row in result["rows"] if row["model"] == name] for name in order}


def heading(result: dict[str, Any]) -> str:
    """Machine, versions, date, seeds, time."""
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    seeds = len({row["seed"] for row in result["rows"]})
    return (
        f"{result['date'][:10]}, {result['machine']['processor']}, {result['machine']['cores']} cores, commit "
        f"{result['commit']}; {versions}. {seeds} seed{'s' if seeds > 1 else ''}, {result['wall_s'] / 60:.0f} minutes in all."
    )


TABLES: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    "choice": (choose.RESULT, choice_table),
    "digits": (digits.RESULT, digits_table),
    "family": (digits.RESULT, family_table),
    "iris": (iris.RESULT, iris_table),
    "variance": (variance.RESULT, variance_table),
}


def filled(page: str, folder: Path) -> str:
    """The page with every table whose result is there; the others stay as they are.

    Args:
        page: Text with marks `<!-- NAME table -->` and `<!-- end -->`.
        folder: With the results.

    Returns:
        The new text.

    Raises:
        ValueError: A mark without an end.
    """
    for name, (file, make) in TABLES.items():
        begin = f"<!-- {name} table -->"
        if begin not in page or not (folder / file).is_file():
            continue
        before, _, rest = page.partition(begin)
        _, end, after = rest.partition(END)
        if not end:
            msg = f"The page must end each table with {END}: got none after {begin}. Add it."
            raise ValueError(msg)
        result = json.loads((folder / file).read_text(encoding="utf-8"))
        page = f"{before}{begin}\n\n{heading(result)}\n\n{make(result)}\n\n{END}{after}"
    return page


def main(arguments: list[str] | None = None) -> None:
    """Print, or write into a page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models.report", description="Show the evidence.")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder with the JSON files")
    parser.add_argument("--into", type=Path, help="page whose tables, between their marks, are replaced")
    options = parser.parse_args(arguments)
    if options.into is None:
        print(filled("\n\n".join(f"<!-- {name} table -->\n{END}" for name in TABLES), options.results))
        return
    options.into.write_text(filled(options.into.read_text(encoding="utf-8"), options.results), encoding="utf-8")


if __name__ == "__main__":
    main()
