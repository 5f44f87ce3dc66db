"""Which settings? Candidates on a validation split of the training digits; writes benchmarks/results/models-choice.json.

    python -m benchmarks.models.choose                      # a quarter of an hour on two cores
    python -m benchmarks.models.choose --only EVIA,VAE --output other.json
    python -m benchmarks.models.choose --quick              # whether it runs: a few steps

Every candidate learns from 799 of the 1198 training digits and is measured on the other 399; the 599 digits of the
published table are not looked at. What has the lowest score goes into `settings.DIGITS`, by hand; a test compares.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

from benchmarks.models.candidates import CANDIDATES
from benchmarks.models.digits import QUICK, measured
from benchmarks.models.gather import gather, parser
from benchmarks.models.results import heading
from benchmarks.models.settings import DIGITS, TRAINING
from isotherm.models import load_data

RESULT = "models-choice.json"
REFERENCE = "10 Gaussians"
DRAWS = 5  # sets of generated observations
JUDGED = {"w2": 1, "frechet_features": 1, "coverage": -1}  # -1: more is better


def main(arguments: list[str] | None = None) -> None:
    """Try all, then say what is best."""
    words = parser("choose", "Which settings, on a validation split.", seeds="0", result=RESULT)
    words.add_argument("--only", default="", help="names of models, separated by commas")
    options = words.parse_args(arguments)
    training = QUICK if options.quick else {}
    names = [name for name in CANDIDATES if not options.only or name in options.only.split(",")]
    tasks = [(REFERENCE, 0, seed, training) for seed in options.seeds]
    tasks += [
        (name, place, seed, training)
        for name in names
        for place in range(len(CANDIDATES[name]))
        for seed in options.seeds
    ]
    result = heading("models-choice", {"training": {**TRAINING, **training}, "judged": JUDGED, "draws": DRAWS})
    gather(result, run, tasks, options=options, name=RESULT, told=told)
    for name, ranked in rankings(result["rows"]).items():
        print(name, *(f"    {mean:.3f}  {json.dumps(settings)}" for mean, settings in ranked), sep="\n")


def run(name: str, place: int, seed: int, training: dict[str, Any]) -> dict[str, Any]:
    """Train and measure one candidate, or the reference."""
    settings, own_training = CANDIDATES[name][place] if name in CANDIDATES else ({}, {})
    row = replace(DIGITS[name], settings=settings, training=own_training) if name in DIGITS else None
    data = load_data("digits").validation_split()
    found = measured(name, row, data, seed=seed, training=training, draws=DRAWS)
    chosen = {"settings": {"model": settings, "training": own_training}, "score": score(found["metrics"])}
    return {key: found[key] for key in ("model", "seed", "seconds", "metrics", "warnings")} | chosen


def score(metrics: dict[str, dict[str, float]]) -> float:
    """How many times worse than the floor: geometric mean over what is judged, nothing gained below a floor; 1 at best."""
    times = [(metrics[name]["value"] / metrics[name]["floor"]) ** power for name, power in JUDGED.items()]
    return math.prod(max(each, 1.0) for each in times) ** (1.0 / len(times))


def rankings(rows: list[dict[str, Any]]) -> dict[str, list[tuple[float, dict[str, Any]]]]:
    """Model to mean score over seeds and settings, best first."""
    groups: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for row in rows:
        groups.setdefault(row["model"], {}).setdefault(json.dumps(row["settings"]), []).append(row)
    return {
        name: sorted(
            ((sum(row["score"] for row in found) / len(found), found[0]["settings"]) for found in tried.values()),
            key=lambda pair: pair[0],
        )
        for name, tried in groups.items()
    }


def told(row: dict[str, Any]) -> str:
    """A row in a line."""
    values = ", ".join(f"{name} {row['metrics'][name]['value']:.3f}" for name in JUDGED)
    return f"{row['model']} {json.dumps(row['settings'])} seed {row['seed']}: score {row['score']:.3f}, {values} ({row['seconds']:.0f} s)"


if __name__ == "__main__":
    main()
