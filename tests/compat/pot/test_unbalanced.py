"""POT's unbalanced entropic calls."""

import math

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

import isotherm
import isotherm.compat.pot as ot
from isotherm.compat.pot.unbalanced import price_pair
from isotherm.testing import dense_solution, primal_values

from .problems import LIBRARIES, arrays, as_numpy, random_costs

METHODS = ["sinkhorn", "sinkhorn_stabilized", "sinkhorn_translation_invariant"]


def problem_of(a, b, M, reg, prices, reference=None):
    return isotherm.Problem(
        isotherm.CostMatrix(M), a, b, epsilon=reg, rho_a=prices[0], rho_b=prices[1], reference=reference
    )


def references(M):
    rng = np.random.default_rng(3)
    given = rng.random(M.shape)
    given[0, 1] = 0.0
    return {"default": ("kl", None, None), "given": ("kl", given, given), "entropy": ("entropy", None, np.ones_like(M))}


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("prices", [(1.0, 1.0), (0.3, 4.0), (math.inf, 2.0), (0.7, math.inf)])
@pytest.mark.parametrize("kind", ["default", "given", "entropy"])
def test_plan_and_costs_are_those_of_the_definition(kind, prices, library):
    a, b, M, *_ = random_costs()
    b = 1.7 * b
    reg_type, c, reference = references(M)[kind]
    problem = problem_of(a, b, M, 0.2, prices, reference)
    wanted = dense_solution(problem).plan
    given = arrays(library, a, b, M)
    c = None if c is None else arrays(library, c)
    found, log = ot.unbalanced.sinkhorn_unbalanced(*given, 0.2, prices, reg_type=reg_type, c=c, log=True, stopThr=1e-10)
    np.testing.assert_allclose(as_numpy(found), wanted, atol=1e-9)
    assert type(found) is type(given[0])
    values = primal_values(problem, wanted)
    assert abs(float(log["cost"]) - float(values.transport_cost)) < 1e-8
    assert abs(float(log["total_cost"]) - float(values.value)) < 1e-8
    kernel = np.exp(-M / 0.2) * (np.outer(a, b) if reference is None else reference)
    u, v = (np.exp(as_numpy(log[name])) for name in ("logu", "logv"))
    np.testing.assert_allclose(u[:, None] * kernel * v, wanted, atol=1e-9)
    settings = {"reg_type": reg_type, "c": c, "stopThr": 1e-10}
    for which, name in (("linear", "cost"), ("total", "total_cost")):
        again = ot.unbalanced.sinkhorn_unbalanced2(*given, 0.2, prices, returnCost=which, **settings)
        assert abs(float(again) - float(log[name])) < 1e-12


@pytest.mark.parametrize("method", METHODS)
def test_scalings_meet_pots_fixed_point(method):
    a, b, M, *_ = random_costs(30, 20)
    reg, price = 0.5, 1.3
    log = ot.unbalanced.sinkhorn_unbalanced(a, b, M, reg, price, method=method, log=True)[1]
    kernel = np.exp(-M / reg) * np.outer(a, b)
    share = price / (price + reg)
    np.testing.assert_allclose(share * np.log(a / (kernel @ np.exp(log["logv"]))), log["logu"], atol=1e-5)
    np.testing.assert_allclose(share * np.log(b / (kernel.T @ np.exp(log["logu"]))), log["logv"], atol=1e-5)


def test_points_without_mass_have_none():
    a, b, M, *_ = random_costs()
    a[1] = 0.0
    for reg_type in ("kl", "entropy"):
        plan, log = ot.unbalanced.sinkhorn_unbalanced(a, b, M, 0.2, 1.0, reg_type=reg_type, log=True)
        assert not plan[1].any()
        assert np.isfinite(plan).all()
        assert np.isfinite(log["total_cost"])


def test_infinite_prices_are_balanced_transport():
    a, b, M, *_ = random_costs()
    plan = ot.unbalanced.sinkhorn_unbalanced(a, b, M, 0.2, math.inf)
    np.testing.assert_allclose(plan, ot.sinkhorn(a, b, M, 0.2), atol=1e-7)
    with pytest.raises(ValueError, match="same mass"):
        ot.unbalanced.sinkhorn_unbalanced(a, 2 * b, M, 0.2, math.inf)


@pytest.mark.parametrize("library", LIBRARIES)
def test_histograms_use_the_entropy(library):
    a, b, M, *_ = random_costs()
    B = np.stack([b, 2.0 * b[::-1]], 1)
    given = arrays(library, a, B, M)
    with pytest.warns(UserWarning, match="entropy"):
        found, log = ot.unbalanced.sinkhorn_unbalanced2(*given, 0.2, 1.0, log=True)
    wanted = [ot.unbalanced.sinkhorn_unbalanced2(a, column, M, 0.2, 1.0, reg_type="entropy") for column in B.T]
    np.testing.assert_allclose(as_numpy(found), wanted, rtol=1e-6)
    assert as_numpy(log["logv"]).shape == B.shape
    start = (log["logu"], log["logv"])
    again, warm = ot.unbalanced.sinkhorn_unbalanced(*given, 0.2, 1.0, reg_type="entropy", warmstart=start, log=True)
    np.testing.assert_allclose(as_numpy(again), wanted, rtol=1e-6)
    assert len(warm["err"]) < len(log["err"])


def test_warm_start_and_prices_in_every_form():
    a, b, M, *_ = random_costs()
    plan, log = ot.unbalanced.sinkhorn_unbalanced(a, b, M, 0.2, 1.0, log=True)
    warm = ot.unbalanced.sinkhorn_unbalanced(a, b, M, 0.2, 1.0, log=True, warmstart=(log["logu"], log["logv"]))[1]
    assert len(warm["err"]) <= 2 < len(log["err"])
    for prices in ([1.0], (1.0, 1.0), np.ones(1), np.ones(2), torch.ones(1), 1):
        np.testing.assert_allclose(ot.unbalanced.sinkhorn_unbalanced(a, b, M, 0.2, prices), plan, atol=1e-9)
    with pytest.raises(ValueError, match="one for each side"):
        price_pair([1.0, 1.0, 1.0])


def test_warnings_and_errors():
    a, b, M, *_ = random_costs()
    with pytest.warns(isotherm.ConvergenceWarning):
        ot.unbalanced.sinkhorn_unbalanced(a, b, M, 0.01, 1.0, numItermax=1)
    with pytest.warns(UserWarning, match="not implemented"):
        ot.unbalanced.sinkhorn_unbalanced(a, b, M, 0.5, 1.0, method="sinkhorn_reg_scaling")
    with pytest.warns(UserWarning, match="overwritten"):
        ot.unbalanced.sinkhorn_unbalanced(a, b, M, 0.5, 1.0, reg_type="entropy", c=np.ones_like(M))
    for wrong in ({"method": "foo"}, {"reg_type": "l2"}):
        with pytest.raises(ValueError, match="Unknown"):
            ot.unbalanced.sinkhorn_unbalanced(a, b, M, 0.5, 1.0, **wrong)
    with pytest.raises(ValueError, match="returnCost"):
        ot.unbalanced.sinkhorn_unbalanced2(a, b, M, 0.5, 1.0, returnCost="sharp")
    with pytest.warns(UserWarning, match="stopTrh"):
        ot.unbalanced.sinkhorn_unbalanced(a, b, M, 0.5, 1.0, stopTrh=1)


@pytest.mark.parametrize("which", ["linear", "total"])
def test_gradients_are_those_of_the_optimum(which):
    a, b, M = (t.requires_grad_() for t in arrays("torch", *random_costs(4, 3)[:3]))
    c = torch.rand(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.1
    c.requires_grad_()
    reg, price = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (0.4, 1.2))

    def cost(a, b, M, c, reg, price):
        prices = (price, math.inf)
        return ot.unbalanced.sinkhorn_unbalanced2(a, b, M, reg, prices, c=c, returnCost=which, stopThr=1e-13)

    assert gradcheck(cost, (a, b, M, c, reg, price))
