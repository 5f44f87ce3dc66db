"""Two processes take what one would take alone, each half of it."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from isotherm.models.training.processes import Processes

SCRIPT = Path(__file__).with_name("together.py")


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """Folder of a training with two processes, and what each had at its end."""
    folder = tmp_path_factory.mktemp("together")
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", SCRIPT, folder]
    ran = subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    return folder, [torch.load(folder / f"process{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.mark.slow
def test_processes_end_with_the_weights_of_one(processes) -> None:
    _, (one, other) = processes
    alone = runpy.run_path(str(SCRIPT))["train"](None)
    for part in ("weights", "derivatives"):
        for mine, theirs, single in zip(one["first"][part], other["first"][part], alone[part], strict=True):
            assert torch.equal(mine, theirs)
            torch.testing.assert_close(mine, single, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_processes_share_the_rows_and_not_the_noise(processes) -> None:
    _, (one, other) = processes
    alone = runpy.run_path(str(SCRIPT))["train"](None)
    mine, theirs, single = (each.view(12, -1) for each in (one["first"]["rows"], other["first"]["rows"], alone["rows"]))
    assert torch.equal(torch.cat([mine, theirs], 1), single)
    assert not torch.equal(one["first"]["noise"], other["first"]["noise"])
    assert (one["first"]["memory"] + other["first"]["memory"] == alone["memory"]).all()


@pytest.mark.slow
def test_only_the_first_process_writes(processes) -> None:
    folder, _ = processes
    steps = [json.loads(line)["step"] for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    assert steps == [10, 12, 18]


@pytest.mark.slow
def test_each_process_goes_on_with_its_own_noise_and_memory(processes) -> None:
    _, (one, other) = processes
    for mine in (one, other):
        drawn = torch.cat([mine["first"]["noise"], mine["again"]["noise"]])
        assert len(drawn.unique(dim=0)) == len(drawn)
        assert mine["again"]["memory"].sum() == mine["first"]["memory"].sum() * 18 / 12
    assert not torch.equal(one["again"]["noise"], other["again"]["noise"])


def test_rows_are_dealt_evenly_and_once() -> None:
    parts = [Processes(rank, 3, torch.device("cpu")).part(torch.arange(11)) for rank in range(3)]
    assert torch.cat(parts).tolist() == list(range(9))
    assert [len(part) for part in parts] == [3, 3, 3]
