"""All models on digits, five seeds each, beside what is fitted in a second; writes benchmarks/results/models-digits.json.

    python -m benchmarks.models.digits                      # at most half an hour on two cores
    python -m benchmarks.models.digits --only VAE,EVIA --seeds 0
    python -m benchmarks.models.digits --quick              # whether it runs: a few steps, one seed

One process for each core, one thread each. Every seed is a training of its own; what is generated is measured against
the 599 digits that no model has seen.
"""

from __future__ import annotations

import time
import warnings
from typing import TYPE_CHECKING, Any

from benchmarks.models.baselines import BASELINES
from benchmarks.models.gather import gather, parser
from benchmarks.models.results import heading
from benchmarks.models.settings import DIGITS, LATENT, TRAINING, WIDTHS, Row
from isotherm.models import evaluate, load_data
from isotherm.models.evaluation import measure_floors
from isotherm.models.metrics import class_features
from isotherm.models.training import Training

if TYPE_CHECKING:
    from isotherm.models.data import DataSet

RESULT = "models-digits.json"
QUICK = {"steps": 3, "batch_size": 64}


def main(arguments: list[str] | None = None) -> None:
    """Run all."""
    words = parser("digits", "Models on digits.", seeds="0,1,2,3,4", result=RESULT)
    words.add_argument("--only", default="", help="names of models and baselines, separated by commas")
    options = words.parse_args(arguments)
    training = QUICK if options.quick else {}
    result = heading("models-digits", {"training": {**TRAINING, **training}, "latent": LATENT, "widths": WIDTHS})
    result["settings"]["models"] = {name: plain({**row.settings, **row.training}) for name, row in DIGITS.items()}
    names = [name for name in (*BASELINES, *DIGITS) if not options.only or name in options.only.split(",")]
    tasks = [(name, seed, training) for seed in options.seeds for name in names]  # an interrupt leaves whole seeds
    gather(result, run, tasks, options=options, name=RESULT, told=told)


def run(name: str, seed: int, training: dict[str, Any]) -> dict[str, Any]:
    """Train one model, or one baseline, and measure it on what is held out."""
    return measured(name, DIGITS.get(name), load_data("digits"), seed=seed, training=training)


def measured(
    name: str, row: Row | None, data: DataSet, *, seed: int, training: dict[str, Any], draws: int = 1
) -> dict[str, Any]:
    """Train and measure a model, or the baseline of that name where there is no row.

    Args:
        name: Of the row or the baseline.
        row: Model and settings.
        data: What to learn from, and what to measure on.
        seed: Of training and measurement.
        training: What is other than in the row's training.
        draws: Sets of generated observations.

    Returns:
        Metrics with floors, the form of the posteriors, seconds of a processor for training, and warnings, ready for JSON.
    """
    began = time.process_time()  # others may be at work
    if row is None:
        model = BASELINES[name](data.train, seed)
    else:
        model = row.make(data.shape, seed)
        model.fit(data.train, Training(**{**row.trained_with(seed), **training}))
    seconds = time.process_time() - began
    features = class_features(data.train, data.train_labels, test=data.test, test_labels=data.test_labels)
    settings: dict[str, Any] = {"draws": draws, "seed": seed, "features": features}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = evaluate(model, data, floors=measure_floors(data, **settings), **settings).to_json()
    return {
        "model": name,
        "seed": seed,
        "seconds": seconds,
        "metrics": {
            key: {"value": each["interval"]["value"], "floor": each["floor"]} for key, each in found["measured"].items()
        },
        "posterior": found["posterior"],
        "accuracy": found["accuracy"],
        "warnings": sorted({str(warning.message).partition(". ")[0] for warning in caught}),
    }


def told(row: dict[str, Any]) -> str:
    """A row in a line."""
    values = ", ".join(f"{name} {each['value']:.3f}" for name, each in row["metrics"].items())
    return f"{row['model']} seed {row['seed']}: {values} ({row['seconds']:.0f} s)"


def plain(settings: dict[str, Any]) -> dict[str, Any]:
    """What JSON can hold, and the rest by its representation."""
    return {
        name: value if isinstance(value, (int, float, str, bool)) else repr(value) for name, value in settings.items()
    }


if __name__ == "__main__":
    main()
