"""The judge of training steps must know a right gradient from a wrong one."""

import json
import subprocess
import sys

import pytest
import torch

from benchmarks.losses import report
from benchmarks.losses.judge import gradient_error, reference, worst
from benchmarks.losses.libraries import Step
from benchmarks.losses.libraries import isotherm as own
from benchmarks.losses.libraries import torch as plain
from benchmarks.losses.tasks import TASKS, batch
from benchmarks.workloads.run import ROOT

SMALL = [name for name in TASKS if name.startswith("smoke")]


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("library", [own, plain], ids=["isotherm", "torch"])
def test_libraries_meet_the_tolerance_on_small_tasks(name, library):
    make, (tolerance,) = TASKS[name]
    tasks = make()
    for setting in library.settings(tasks[0], tolerance):
        verdict = worst(tasks, [library.solve(tasks[0], setting, tolerance)])
        assert verdict.error <= 1.05 * tolerance
        assert verdict.gradient_error is not None
        assert verdict.gradient_error <= 10.0 * tolerance


def test_reference_is_the_derivative_of_the_value():
    (task,) = batch(1, 9, 3, is_together=False)
    across, own_x, own_y = task.transports(0)
    shift = torch.randn(9, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def value(step: float) -> float:
        moved = task.x[0] + step * shift
        return sum(
            factor * value_of(p, q, task.epsilon)
            for factor, p, q in ((1.0, moved, task.y[0]), (-0.5, moved, moved), (-0.5, task.y[0], task.y[0]))
        )

    found = float((reference(task, 0) * shift).sum())
    assert found == pytest.approx((value(1e-4) - value(-1e-4)) / 2e-4, rel=1e-5)
    assert across.epsilon == own_x.epsilon == own_y.epsilon


def value_of(x: torch.Tensor, y: torch.Tensor, epsilon: float) -> float:
    """The dual value after many plain iterations."""
    scores = -torch.cdist(x, y).square() / epsilon
    g = torch.zeros(len(y), dtype=x.dtype)
    for _ in range(3000):
        f = -((scores + g).logsumexp(1) - torch.tensor(float(len(y))).log())
        g = -((scores + f[:, None]).logsumexp(0) - torch.tensor(float(len(x))).log())
    return epsilon * float(f.mean() + g.mean())


def test_a_wrong_gradient_is_as_wrong_as_it_is():
    (task,) = batch(2, 12, 3, is_together=True)
    exact = torch.stack([reference(task, k) for k in range(2)])
    assert gradient_error(task, 2.0 * exact) == pytest.approx(1.0)
    assert worst([task], [Step(1.1 * exact, None)]).error == pytest.approx(0.01)
    assert not worst([task], [Step(exact * float("nan"), None)]).error <= 1e9


def test_wrong_potentials_of_one_member_are_seen():
    (task,) = batch(2, 12, 3, is_together=True)
    step = own.solve(task, "float64", 1e-6)
    assert step.transports is not None
    first, (across, own_x, (f, g)) = step.transports()
    moved = f + task.epsilon * torch.tensor(1.1).log()
    wrong = Step(step.gradient, lambda: [first, (across, own_x, (moved, g))])
    assert worst([task], [wrong]).error == pytest.approx(0.1, rel=1e-3)


def test_run_writes_a_table(tmp_path):
    path, page = tmp_path / "out.json", tmp_path / "page.md"
    command = [sys.executable, "-m", "benchmarks.losses.run", "--only", "smoke batch", "--libraries", "isotherm,torch"]
    subprocess.run([*command, "--threads", "1", "--output", str(path)], cwd=ROOT, check=True)
    result = json.loads(path.read_text(encoding="utf-8"))
    assert result["kind"] == "losses"
    assert {line["library"]: line["is_met"] for line in result["rows"]} == {"isotherm": True, "torch": True}
    page.write_text(f"before {report.BEGIN} old <!-- end --> after", encoding="utf-8")
    command = [sys.executable, "-m", "benchmarks.losses.report", str(path), "--markdown", "--into", str(page)]
    subprocess.run(command, cwd=ROOT, check=True)
    text = page.read_text(encoding="utf-8")
    assert "old" not in text
    assert "gradient error" in text
