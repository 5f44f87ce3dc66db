"""POT's balanced entropic calls: exact values, conventions of logs and warm starts, warnings, errors, gradients."""

import warnings

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

import isotherm
import isotherm.compat.pot as ot
from isotherm.compat.pot.sinkhorn import METHODS
from isotherm.testing import dense_solution, two_by_two

from .problems import LIBRARIES, arrays, as_numpy, random_costs

LOGS = {
    "sinkhorn": {"err", "niter", "u", "v"},
    "sinkhorn_log": {"err", "niter", "log_u", "log_v", "u", "v"},
    "greenkhorn": {"n_iter", "u", "v"},
    "sinkhorn_stabilized": {"err", "n_iter", "logu", "logv", "alpha", "beta", "warmstart"},
    "sinkhorn_epsilon_scaling": {"alpha", "beta", "warmstart", "niter", "err"},
}
HALF, SWAP = [0.5, 0.5], [[0.0, 1.0], [1.0, 0.0]]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("reg", [1e-3, 0.3, 1.0, 1e3])
def test_plan_of_the_worked_example(method, reg):
    wanted = two_by_two(reg)
    np.testing.assert_allclose(ot.sinkhorn(HALF, HALF, SWAP, reg, method=method), wanted.plan, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("library", LIBRARIES)
def test_plan_is_that_of_the_definition(method, library):
    a, b, M, *_ = random_costs()
    a[2], b[1] = 0.0, 0.0  # POT's scaling method divides by zero here
    a, b = a / a.sum(), b / b.sum()
    wanted = dense_solution(isotherm.Problem(isotherm.CostMatrix(M), a, b, epsilon=0.05)).plan
    found = ot.sinkhorn(*arrays(library, a, b, M), 0.05, method=method, stopThr=1e-12)
    np.testing.assert_allclose(as_numpy(found), wanted, atol=1e-11)
    assert not as_numpy(found)[2].any()
    assert not as_numpy(found)[:, 1].any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("method", METHODS)
def test_results_are_of_the_callers_kind(method, library, dtype):
    a, b, M = arrays(library, *random_costs()[:3], dtype=dtype)
    plan, log = ot.sinkhorn(a, b, M, 0.5, method=method, log=True)
    assert set(log) == LOGS[method] | {"solution"}
    scalings = [log[name] for name in ("u", "v", "logu", "logv", "log_u", "log_v", "alpha", "beta") if name in log]
    for array in (plan, *scalings):
        assert type(array) is type(M)
        assert array.dtype == M.dtype


@pytest.mark.parametrize("library", LIBRARIES)
def test_scalings_give_the_plan_in_pots_convention(library):
    a, b, M = arrays(library, *random_costs()[:3])
    reg = 0.2
    for method in METHODS:
        plan, log = ot.sinkhorn(a, b, M, reg, method=method, log=True)
        if "u" in log:
            found = log["u"][:, None] * as_kernel(M, reg) * log["v"]
            np.testing.assert_allclose(found, plan, rtol=1e-10)
        if "alpha" in log:
            np.testing.assert_allclose(
                (log["alpha"][:, None] + log["beta"] - M) / reg, np.log(as_numpy(plan)), rtol=1e-9, atol=1e-9
            )
            assert log["warmstart"][0] is log["alpha"]


def as_kernel(costs, reg):
    return (-costs / reg).exp() if isinstance(costs, torch.Tensor) else np.exp(-costs / reg)


def test_log_holds_the_errors_of_marginals_and_a_certificate():
    a, b, M, *_ = random_costs()
    plan, log = ot.sinkhorn(2 * a, 2 * b, M, 0.1, log=True)
    assert log["err"][0] > log["err"][-1]
    assert log["err"][-1] <= 1e-9
    assert abs(plan.sum() - 2.0) < 1e-12
    assert log["niter"] == log["solution"].iterations
    bounds = log["solution"].certificate
    value = log["solution"].value
    assert bounds.entropic_lower <= value * (1 + 1e-9)


@pytest.mark.parametrize("method", ["sinkhorn", "sinkhorn_log", "sinkhorn_stabilized"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_histograms_are_solved_one_by_one(method, library):
    a, b, M, *_ = random_costs()
    B = np.stack([b, b[::-1], np.full_like(b, 1 / len(b))], 1)
    found, log = ot.sinkhorn2(*arrays(library, a, B, M), 0.3, method=method, log=True)
    wanted = [(as_numpy(ot.sinkhorn(a, column, M, 0.3)) * M).sum() for column in B.T]
    np.testing.assert_allclose(as_numpy(found), wanted, rtol=1e-8)
    assert as_numpy(found).shape == (3,)
    log_v = log.get("logv", log.get("log_v"))
    assert as_numpy(log["v"] if log_v is None else log_v).shape == B.shape
    np.testing.assert_allclose(as_numpy(ot.sinkhorn(*arrays(library, a, B, M), 0.3, method=method)), wanted, rtol=1e-8)


def test_sharp_cost_of_the_worked_example():
    for method in ("sinkhorn", "sinkhorn_log", "sinkhorn_stabilized"):
        assert abs(ot.sinkhorn2(HALF, HALF, SWAP, 1.0, method=method) - 1 / (1 + np.e)) < 1e-12


@pytest.mark.parametrize("nothing", [[], np.zeros(0), torch.zeros(0, dtype=torch.float64)])
def test_empty_weights_are_equal(nothing):
    M = random_costs()[2]
    M = torch.from_numpy(M) if isinstance(nothing, torch.Tensor) else M
    plan = ot.sinkhorn(nothing, nothing, M, 1.0)
    np.testing.assert_allclose(plan.sum(1), np.full(7, 1 / 7), rtol=1e-12)
    np.testing.assert_allclose(plan.sum(0), np.full(5, 1 / 5), rtol=1e-8)


@pytest.mark.parametrize("method", METHODS)
def test_cold_costs_do_not_underflow(method):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(30, 2)), rng.normal(size=(30, 2))
    M = ((x[:, None] - y) ** 2).sum(-1)  # POT's kernel exp(-M / reg) is zero in whole rows
    plan = ot.sinkhorn([], [], M, 1e-3, method=method, numItermax=5000)
    np.testing.assert_allclose(plan.sum(0), 1 / 30, atol=1e-9)
    np.testing.assert_allclose(plan.sum(1), 1 / 30, atol=1e-9)
    exact = float(ot.emd2([], [], M))
    assert 0 <= (plan * M).sum() - exact < 1e-3 * np.log(30)


@pytest.mark.parametrize("method", METHODS)
def test_warm_start_from_the_solution_ends_at_once(method):
    a, b, M, *_ = random_costs(20, 15)
    reg = 0.05
    plan, log = ot.sinkhorn(a, b, M, reg, method=method, log=True)
    scalings = log.get("warmstart") or (np.log(log["u"]), np.log(log["v"]))
    again, warm = ot.sinkhorn(a, b, M, reg, method=method, warmstart=scalings, log=True)
    iterations = [entries.get("niter", entries.get("n_iter")) for entries in (log, warm)]
    assert iterations[0] > 5
    assert iterations[1] <= 2
    np.testing.assert_allclose(again, plan, atol=1e-9)


def test_warm_start_of_histograms_and_of_points_without_mass():
    a, b, M, *_ = random_costs(20, 15)
    b[3] = 0.0
    B = np.stack([b / b.sum(), b[::-1] / b.sum()], 1)
    costs, log = ot.sinkhorn(a, B, M, 0.05, method="sinkhorn_log", log=True)
    assert np.isneginf(log["log_v"][3, 0])
    pairs = list(zip(log["log_u"].T, log["log_v"].T, strict=True))
    for start in ((log["log_u"], log["log_v"]), pairs):
        again, warm = ot.sinkhorn(a, B, M, 0.05, method="sinkhorn_log", warmstart=start, log=True)
        np.testing.assert_allclose(again, costs, rtol=1e-8)
        assert warm["niter"] <= 2 < log["niter"]


@pytest.mark.parametrize("method", METHODS)
def test_not_to_converge_is_a_warning_where_asked_for(method):
    a, b, M, *_ = random_costs()
    settings = {"method": method, "numItermax": 1, "stopThr": 1e-14} | (
        {"numInnerItermax": 1} if "epsilon" in method else {}
    )
    if "epsilon" not in method:
        with pytest.warns(isotherm.ConvergenceWarning, match="numItermax"):
            ot.sinkhorn(a, b, M, 0.01, **settings)
    with pytest.warns(isotherm.ConvergenceWarning):
        ot.sinkhorn(a, b, M, 0.01, **settings | {"stopThr": 0.0})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ot.sinkhorn(a, b, M, 0.01, warn=False, **settings)
        if method in ("sinkhorn", "sinkhorn_log", "sinkhorn_stabilized"):
            ot.sinkhorn2(a, b, M, 0.01, **settings)


def test_float32_ends_at_its_own_rounding_without_a_warning_unless_that_is_coarse():
    a, b, M, *_ = random_costs()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plan, log = ot.sinkhorn(*arrays("numpy", a, b, M, dtype="float32"), 1.0, log=True)
    assert log["niter"] < 100
    np.testing.assert_allclose(plan.sum(0), b, atol=3e-6)
    with pytest.warns(isotherm.ConvergenceWarning, match="float64"):
        ot.sinkhorn(*arrays("numpy", a, b, 1e3 * M, dtype="float32"), 0.1)


def test_verbose_prints_errors(capsys):
    ot.sinkhorn(HALF, HALF, SWAP, 1.0)
    assert not capsys.readouterr().out
    ot.sinkhorn(HALF, HALF, SWAP, 1.0, verbose=True)
    assert "Err" in capsys.readouterr().out


def test_zero_temperature_is_exact_transport_with_a_warning():
    with pytest.warns(UserWarning, match="exact"):
        plan, log = ot.sinkhorn(HALF, HALF, SWAP, 0, warn=False, log=True)
    np.testing.assert_array_equal(plan, np.eye(2) / 2)
    assert "u" not in log
    with pytest.warns(UserWarning, match="exact"):
        assert float(ot.sinkhorn2(HALF, HALF, SWAP, 0)) == 0.0


def test_errors():
    a, b, M, *_ = random_costs()
    with pytest.raises(ValueError, match="Unknown method"):
        ot.sinkhorn(a, b, M, 1.0, method="sinkhron")
    for method in ("greenkhorn", "sinkhorn_epsilon_scaling"):
        with pytest.raises(ValueError, match="Unknown method"):
            ot.sinkhorn2(a, b, M, 1.0, method=method)
    with pytest.raises(ValueError, match="sinkhorn_unbalanced"):
        ot.sinkhorn(a, 2 * b, M, 1.0)
    with pytest.raises(ValueError, match="finite"):
        ot.sinkhorn(a, b, np.where(M > 2, np.inf, M), 1.0)
    with pytest.raises(ValueError, match="non-negative"):
        ot.sinkhorn(a - 0.2, b - 0.2, M, 1.0)
    with pytest.warns(UserWarning, match="stopTrh"):
        ot.sinkhorn(a, b, M, 1.0, stopTrh=1e-3)
    with pytest.raises(NotImplementedError, match="Use sinkhorn"):
        ot.bregman.screenkhorn(a, b, M, 1.0)


def test_gradients_are_those_of_the_optimum():
    a, b, M = (t.requires_grad_() for t in arrays("torch", *random_costs(4, 3)[:3]))

    def plan(a, b, M):
        return ot.sinkhorn(a / a.sum(), b / b.sum(), M, 0.3, stopThr=1e-13)

    def cost(a, b, M):
        return ot.sinkhorn2(a / a.sum(), b / b.sum(), M, 0.3, stopThr=1e-13)

    assert gradcheck(plan, (a, b, M))
    assert gradcheck(cost, (a, b, M))
    assert gradgradcheck(cost, (a, b, M))


def test_gradient_by_the_temperature_and_through_histograms():
    a, b, M = arrays("torch", *random_costs(4, 3)[:3])
    reg = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda reg: ot.sinkhorn2(a, b, M, reg, stopThr=1e-13), reg)
    M.requires_grad_()
    B = torch.stack([b, b.flip(0)], 1)
    assert gradcheck(lambda M: ot.sinkhorn(a, B, M, 0.4, stopThr=1e-13), M)


def test_gradient_of_few_iterations_is_not_unrolled():
    a, b, M = arrays("torch", *random_costs(4, 3)[:3])
    M.requires_grad_()
    near = torch.autograd.grad(ot.sinkhorn2(a, b, M, 0.4, stopThr=1e-3), M)[0]
    optimal = torch.autograd.grad(ot.sinkhorn2(a, b, M, 0.4, stopThr=1e-13), M)[0]
    assert (near - optimal).abs().max() < 1e-2


def test_warnings_point_at_the_users_line():
    a, b, M, *_ = random_costs()
    calls = [
        lambda: ot.sinkhorn(a, b, M, 0.01, numItermax=1),
        lambda: ot.bregman.sinkhorn_log(a, b, M, 0.01, numItermax=1),
        lambda: ot.sinkhorn2(a, b, M, 0),
        lambda: ot.sinkhorn2(a, b, M, 1.0, stopTrh=1),
        lambda: ot.unbalanced.sinkhorn_unbalanced(a, b, M, 0.01, 1.0, numItermax=1),
        lambda: ot.barycenter(np.eye(7), random_costs(7, 7)[2], 0.1, numItermax=1),
        lambda: ot.emd2(a, b, M, processes=2),
    ]
    for call in calls:
        with pytest.warns(UserWarning, match=".") as caught:
            call()
        assert {warning.filename for warning in caught} == {__file__}


def test_cold_plan_between_points_without_mass_is_zero():
    """Their potentials are not bounded by each other: the exponent overflows where neither side has mass."""
    place = np.arange(12.0)
    a, b = np.zeros(12), np.zeros(12)
    a[3:6] = b[6:9] = 1 / 3
    plan = ot.sinkhorn(a, b, np.abs(place[:, None] - place), 2e-3)
    assert np.isfinite(plan).all()
    np.testing.assert_allclose(plan.sum(1), a, atol=1e-9)
    assert not plan[a == 0].any()
