"""All models on digits, five seeds each, beside what is fitted in a second; writes benchmarks/results/models-digits.json.

    python -m benchmarks.models.digits                      # at most half an hour on two cores
    python -m benchmarks.models.digits --only VAE,EVIA --seeds 0
    python -m benchmarks.models.digits --quick              # whether it runs: a few steps, one seed

One process for each core, one thread each. Every seed is a training of its own; what is generated is measured against
the 599 digits that no model has seen.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
import warnings
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import torch

from benchmarks.models.baselines import BASELINES
from benchmarks.models.results import heading, write
from benchmarks.models.settings import DIGITS, LATENT, TRAINING, WIDTHS
from isotherm.models import evaluate, load_data
from isotherm.models.evaluation import measure_floors
from isotherm.models.metrics import class_features
from isotherm.models.training import Training

RESULT = "models-digits.json"
QUICK = {"steps": 3, "batch_size": 64}


def main(arguments: list[str] | None = None) -> None:
    """Run all, write after every training, so that an interrupt loses one at most."""
    options = parse(arguments)
    began, seeds = time.time(), [int(seed) for seed in options.seeds.split(",")]
    training = QUICK if options.quick else {}
    result = heading("models-digits", {"training": {**TRAINING, **training}, "latent": LATENT, "widths": WIDTHS})
    result["settings"]["models"] = {name: plain(row.settings) for name, row in DIGITS.items()}
    names = [name for name in (*BASELINES, *DIGITS) if not options.only or name in options.only.split(",")]
    tasks = [(name, seed, training) for name in names for seed in seeds]
    with ProcessPoolExecutor(options.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for done in as_completed([pool.submit(run, *task) for task in tasks]):
            row = done.result()
            result["rows"].append(row)
            result["rows"].sort(key=lambda row: (names.index(row["model"]), row["seed"]))
            result["wall_s"] = time.time() - began
            write(result, options.output, RESULT)
            print(told(row), file=sys.stderr)


def run(name: str, seed: int, training: dict[str, Any]) -> dict[str, Any]:
    """Train and measure one model, or one baseline."""
    torch.set_num_threads(1)
    data, began, row = load_data("digits"), time.perf_counter(), DIGITS.get(name)
    if row is None:
        model = BASELINES[name](data.train, seed)
    else:
        model = row.make(data.shape, seed)
        model.fit(data.train, Training(**{**row.trained_with(seed), **training}))
    seconds = time.perf_counter() - began
    features = class_features(data.train, data.train_labels, test=data.test, test_labels=data.test_labels)
    settings: dict[str, Any] = {"draws": 1, "seed": seed, "features": features}
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


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models.digits", description="Models on digits.")
    parser.add_argument("--only", default="", help="names of models and baselines, separated by commas")
    parser.add_argument("--seeds", default="0,1,2,3,4", help="one training each")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes at once, one thread each")
    parser.add_argument("--quick", action="store_true", help="a few steps of each: whether it runs")
    parser.add_argument("--output", type=Path, help=f"JSON file, by default benchmarks/results/{RESULT}")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
