"""The judge of whole solves must know a right answer from a wrong one, and the tables must not flatter."""

import json
import subprocess
import sys

import pytest
import torch

from benchmarks.workloads import report
from benchmarks.workloads.judge import judge, sampled_error
from benchmarks.workloads.libraries import isotherm as own
from benchmarks.workloads.libraries import torch as plain
from benchmarks.workloads.observation import observed
from benchmarks.workloads.run import ROOT, continued, not_tried
from benchmarks.workloads.tasks import TASKS, Task, blobs, heated
from isotherm.testing import generators

SMALL = [name for name in TASKS if name.startswith("smoke")]


def planted() -> tuple[Task, torch.Tensor, torch.Tensor]:
    """A problem whose optimal potentials are known."""
    known = generators.random_problem(31, 23, 3, generator=0, zero_weights=False)
    task = Task(x=known.x, y=known.y, a=known.a, b=known.b, epsilon=known.epsilon)
    return task, known.f, known.g


def test_right_potentials_are_right():
    task, f, g = planted()
    verdict = judge(task, f, g)
    assert verdict.error < 1e-9
    assert verdict.gap is not None
    assert abs(verdict.gap) < 1e-8


def test_wrong_potentials_are_as_wrong_as_they_are():
    task, f, g = planted()
    moved = f + task.epsilon * torch.tensor(1.1).log()  # every row has a tenth more mass
    verdict = judge(task, moved, g)
    assert verdict.row_error == pytest.approx(0.1, rel=1e-6)
    assert verdict.column_error == pytest.approx(0.1, rel=1e-6)


def test_gap_brackets_the_value_of_a_planted_problem():
    known = generators.random_problem(31, 23, 3, generator=0)
    task, f, g = planted()
    shaken = g + 0.1 * task.epsilon * torch.randn(len(g), generator=torch.Generator().manual_seed(0), dtype=g.dtype)
    gap = judge(task, f, shaken).gap
    assert gap is not None
    assert 1e-6 < gap < 1.0
    scores = (shaken - task.costs(slice(None))) / task.epsilon + task.b.log()
    dual = float(-task.epsilon * task.a @ scores.logsumexp(1) + task.b @ shaken)
    assert dual < float(known.value) < dual + gap * abs(dual)


def test_nan_is_never_met():
    task, f, g = planted()
    assert not judge(task, f * float("nan"), g).error <= 1e9


def test_sampled_error_estimates_the_error():
    task, f, g = planted()
    moved = f + task.epsilon * torch.linspace(-0.2, 0.2, len(f), dtype=f.dtype)
    found = sampled_error(task, moved, g, torch.Generator().manual_seed(0))
    assert found == pytest.approx(judge(task, moved, g).row_error, rel=0.2)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("library", [own, plain], ids=["isotherm", "torch"])
def test_libraries_meet_the_tolerance_on_small_tasks(name, library):
    make, tolerances = TASKS[name]
    for task in make():
        for setting in library.settings(task, tolerances[0]):
            answer = library.solve(task, setting, tolerances[0])
            assert judge(task, answer.f, answer.g).error <= 1.05 * tolerances[0]


def test_temperature_is_a_share_of_the_mean_cost():
    (task,) = blobs(50, 0.05)
    mean = float(task.a @ task.costs(slice(None)) @ task.b)
    assert heated(task, 0.05).epsilon == pytest.approx(0.05 * mean)


def row(library: str, **values: object) -> dict[str, object]:
    """A row as `run` writes it."""
    blank = {"task": "t", "tolerance": 1e-3, "library": library, "is_met": True, "limit_s": 15.0, "is_sampled": False}
    return blank | values


def test_ratio_is_to_the_best_of_those_who_met_the_tolerance():
    rows = {
        "isotherm": row("isotherm", best_s=0.1),
        "pot": row("pot", best_s=0.01, is_met=False, error=0.5),
        "ott": row("ott", best_s=0.4),
    }
    assert report.ratio(rows) == "4x"


def test_ratio_is_a_bound_where_nobody_is_in_time():
    rows = {
        "isotherm": row("isotherm", best_s=0.1),
        "pot": row("pot", is_met=False, failure="no answer within 15 s"),
    }
    assert report.ratio(rows) == "> 150x"
    assert report.cell(rows["pot"]) == "> 15 s"


def test_failures_of_ours_are_shown():
    rows = {"isotherm": row("isotherm", is_met=False, error=0.2, best_s=1.0), "pot": row("pot", best_s=0.01)}
    assert report.ratio(rows) == "-"
    assert report.cell(rows["isotherm"]) == "error 2e-01"


def test_what_takes_longer_than_what_was_ended_is_not_tried():
    settings = ["log float32", "log float64", "kernel float32"]
    ended = {"setting": "log float32", "failure": "no answer within 4 s", "limit_s": 4.0}
    rows = not_tried([ended], settings)
    assert [row["setting"] for row in rows] == ["log float64"]
    assert not rows[0]["is_met"]
    assert not_tried([{**ended, "failure": "exit status 1"}], settings) == []
    assert not_tried([*rows, {**ended, "setting": "kernel float32"}], settings[:2]) == []


def test_run_writes_a_table(tmp_path):
    path = tmp_path / "out.json"
    command = [sys.executable, "-m", "benchmarks.workloads.run", "--only", "smoke stored", "--libraries"]
    subprocess.run([*command, "isotherm,torch", "--threads", "1", "--output", str(path)], cwd=ROOT, check=True)
    result = json.loads(path.read_text(encoding="utf-8"))
    assert {line["library"]: line["is_met"] for line in result["rows"]} == {"isotherm": True, "torch": True}
    assert len(report.table(result)) == 2
    page = tmp_path / "page.md"
    page.write_text(f"before {report.BEGIN} old {report.END} after", encoding="utf-8")
    command = [sys.executable, "-m", "benchmarks.workloads.report", str(path), "--markdown", "--into", str(page)]
    subprocess.run(command, cwd=ROOT, check=True)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before")
    assert text.endswith("after")
    assert " old " not in text
    assert "smoke stored" in text


def test_a_run_goes_on_only_where_it_is_the_same_run():
    now = {"commit": "a", "machine": {}, "versions": {}, "settings": {"threads": 2}, "rows": []}
    before = {**now, "rows": [{"task": "smoke points"}], "wall_s": 3.0}
    assert continued(before, now) is before
    with pytest.raises(ValueError, match="same commit"):
        continued({**before, "commit": "b"}, now)


def test_our_solves_are_counted():
    task = TASKS["smoke points"][0]()[0]
    found = observed(own, lambda: own.solve(task, "float32", 1e-3))
    assert found["exponentials"] > 0
    assert found["pairs_met"] >= task.pairs
