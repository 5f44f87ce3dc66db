"""What the commands here share: their words, and their trainings in processes of one thread each."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import torch

from benchmarks.models.results import write

Row = dict[str, Any]


def parser(module: str, description: str, *, seeds: str, result: str) -> argparse.ArgumentParser:
    """The words that all of them take: --seeds, --workers, --quick, --output."""
    made = argparse.ArgumentParser(prog=f"python -m benchmarks.models.{module}", description=description)
    made.add_argument("--seeds", default=seeds, type=numbers, help=f"one training each, by default {seeds}")
    made.add_argument("--workers", type=int, default=os.cpu_count(), help="processes at once, one thread each")
    made.add_argument("--quick", action="store_true", help="a few steps of each: whether it runs")
    made.add_argument("--output", type=Path, help=f"JSON file, by default benchmarks/results/{result}")
    return made


def numbers(words: str) -> list[int]:
    """Whole numbers between commas."""
    return [int(word) for word in words.split(",")]


def gather(
    result: dict[str, Any],
    work: Callable[..., Row],
    tasks: Iterable[tuple[Any, ...]],
    *,
    options: argparse.Namespace,
    name: str,
    told: Callable[[Row], str],
) -> None:
    """Do tasks, and write after each, so that an interrupt loses one at most.

    Args:
        result: Takes the rows, in the order of the tasks, and the seconds that all took.
        work: What a task is given to; of a module, since it is done in another process.
        tasks: Arguments of each.
        options: What was read by `parser`.
        name: Of the file, unless the options name another.
        told: A row in a line.
    """
    began, rows = time.time(), dict[int, Row]()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        options.workers, mp_context=context, initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        places = {pool.submit(work, *task): place for place, task in enumerate(tasks)}
        for done in as_completed(places):
            rows[places[done]] = done.result()
            result["rows"] = [rows[place] for place in sorted(rows)]
            result["wall_s"] = time.time() - began
            write(result, options.output, name)
            print(told(done.result()), file=sys.stderr)
