"""Who runs a reduction, how to choose, and what is said when nobody can."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest
import torch

from isotherm import kernels
from isotherm.geometry import CallableCost, EuclideanPower, Grid, PointCloud, Tilted
from isotherm.kernels import RowUpdate, compiled

from .cpu_cases import make_case

needs_extension = pytest.mark.skipif(bool(compiled.why_missing()), reason="; ".join(compiled.why_missing()))


def cloud(cost="sqeuclidean", dtype: torch.dtype = torch.float32) -> PointCloud:
    return PointCloud(torch.rand(4, 2, dtype=dtype), torch.rand(5, 2, dtype=dtype), cost=cost)


def test_backends_tell_what_is_there() -> None:
    told = kernels.backends()
    assert list(told) == ["cpu", "triton", "reference"]
    assert told["reference"] == []


@pytest.mark.skipif(not os.environ.get("CI"), reason="a machine without a compiler may go without; CI may not")
def test_continuous_integration_has_the_extension() -> None:
    assert kernels.backends()["cpu"] == []


def test_use_refuses_unknown_names() -> None:
    with pytest.raises(ValueError, match="one of cpu, triton, reference"), kernels.use("cuda"):
        pass


@needs_extension
def test_use_chooses_and_gives_back(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    original = PointCloud.block
    monkeypatch.setattr(PointCloud, "block", lambda self, rows: calls.append(rows) or original(self, rows))
    costs, h = cloud(), torch.zeros(5)
    costs.softmin(h, epsilon=1.0)
    assert not calls  # fused kernels do not ask for blocks
    with kernels.use("reference"):
        costs.softmin(h, epsilon=1.0)
        assert calls
        with kernels.use("cpu"):
            calls.clear()
            costs.softmin(h, epsilon=1.0)
            assert not calls
    costs.softmin(h, epsilon=1.0)
    assert not calls


@needs_extension
def test_use_stays_in_its_thread() -> None:
    seen = []
    with kernels.use("reference"):
        thread = threading.Thread(target=lambda: seen.append(kernels.is_fused(cloud(), torch.zeros(5))))
        thread.start()
        thread.join()
        assert not kernels.is_fused(cloud(), torch.zeros(5))
    assert seen == [True]


@needs_extension
@pytest.mark.parametrize(
    ("costs", "reason"),
    [
        (cloud(CallableCost(torch.cdist)), "not a formula"),
        (cloud(EuclideanPower(3)), "not a formula"),
        (Grid((torch.rand(4), torch.rand(2))), "not a formula"),
        (Tilted(cloud(), torch.zeros(4, 5), 1.0), "not a formula"),
        (cloud(dtype=torch.float64), "dtype or device differ"),
    ],
)
def test_forced_backend_says_why_not(costs, reason: str) -> None:
    with kernels.use("cpu"), pytest.raises(RuntimeError, match=f"softmin here .cpu: .*{reason}"):
        kernels.softmin(costs, torch.zeros(costs.shape[1]), epsilon=1.0)


@needs_extension
def test_derivatives_that_a_kernel_does_not_record_go_through_torch() -> None:
    h = torch.zeros(5, requires_grad=True)
    with kernels.use("cpu"), pytest.raises(RuntimeError, match="derivative"):
        cloud().hard_min(h)
    assert cloud().hard_min(h).requires_grad
    with torch.no_grad():
        assert kernels.is_fused(cloud(), h)


def test_missing_extension_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "_missing", "the compiled extension is missing: no compiler")
    assert kernels.backends()["cpu"] == ["the compiled extension is missing: no compiler"]
    with kernels.use("cpu"), pytest.raises(RuntimeError, match="compiled extension is missing"):
        cloud().softmin(torch.zeros(5), epsilon=1.0)
    assert cloud().softmin(torch.zeros(5), epsilon=1.0).isfinite().all()


@needs_extension
@pytest.mark.parametrize("source", ["openmp", "pool"])
def test_results_do_not_depend_on_the_number_of_threads(source: str) -> None:
    """In a process of its own, once on torch's threads and once on the fallback's."""
    program = """
import sys, torch
sys.path.insert(0, sys.argv[1])
from kernels.cpu_cases import make_case
from isotherm import kernels
from isotherm.kernels import RowUpdate
torch.manual_seed(0)
print(kernels.compiled.extension.thread_source())
for cost, dimension in (("sqeuclidean", 3), ("sqeuclidean", 17), ("stored", 3)):
    c = make_case(cost, sizes=(1111, 777), dimension=dimension)
    def run():
        f = c.p - c.log_a
        yield kernels.softmin(c.costs, c.h, epsilon=c.epsilon)
        yield kernels.softmin(c.costs, c.h, epsilon=c.epsilon, guess=f)
        yield kernels.hard_min(c.costs, c.h)
        yield kernels.plan_apply(c.costs, c.p, c.h, c.values, epsilon=c.epsilon)
        yield kernels.plan_cost(c.costs, c.p, c.h, epsilon=c.epsilon)
        yield kernels.conditional_mean(c.costs, c.h, c.values, epsilon=c.epsilon)
        yield kernels.product_sum(c.costs, c.a, c.b)
        yield from kernels.sinkhorn_step(c.costs, f, c.h, c.log_a, RowUpdate(), epsilon=c.epsilon)
        if cost != "stored":
            yield from kernels.plan_grad(c.costs, c.p, c.h, epsilon=c.epsilon)
    torch.set_num_threads(1)
    alone = list(run())
    for threads in (2, 3, 5):
        torch.set_num_threads(threads)
        for _ in range(5):
            assert all(torch.equal(a, b) for a, b in zip(alone, run(), strict=True))
"""
    tests = str(__import__("pathlib").Path(__file__).parents[1])
    environment = {**os.environ, "ISOTHERM_THREADS": source}
    run = subprocess.run(
        [sys.executable, "-c", program, tests], capture_output=True, text=True, env=environment, check=False
    )
    assert run.returncode == 0, run.stderr
    assert ("own pool" in run.stdout) == (source == "pool")


@needs_extension
def test_threads_may_call_at_once() -> None:
    case = make_case("sqeuclidean", sizes=(500, 400))
    f = case.p - case.log_a
    alone = kernels.sinkhorn_step(case.costs, f, case.h, case.log_a, RowUpdate(), epsilon=case.epsilon)
    failures = []

    def work() -> None:
        for _ in range(20):
            again = kernels.sinkhorn_step(case.costs, f, case.h, case.log_a, RowUpdate(), epsilon=case.epsilon)
            if not all(torch.equal(a, b) for a, b in zip(alone, again, strict=True)):
                failures.append(again)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


@needs_extension
def test_instruction_set_comes_from_the_environment() -> None:
    program = "from isotherm.kernels.compiled import extension as e; print(e.instruction_set())"
    environment = {**os.environ, "ISOTHERM_INSTRUCTION_SET": "baseline"}
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    assert run.stdout.strip() == "baseline"


@needs_extension
def test_kernels_leave_subnormal_numbers_to_others() -> None:
    case = make_case("sqeuclidean", sizes=(500, 400))
    kernels.softmin(case.costs, case.h, epsilon=case.epsilon)
    tiny = torch.full((1000,), 1e-45)
    assert (tiny * 1.0 > 0).all()  # the kernels flush them to zero, on their own time only
    assert 5e-324 * 1.0 > 0
