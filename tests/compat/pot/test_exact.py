"""POT's exact calls."""

import warnings

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

import isotherm.compat.pot as ot
from isotherm.testing import one_dimensional_cost

from .problems import LIBRARIES, arrays, as_numpy, random_costs

pytest.importorskip("ot")  # whose network simplex solves linear programmes


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_plan_and_potentials_prove_each_other(library, dtype):
    a, b, M, *_ = random_costs(9, 6)
    a[4], b[0], b[2] = 0.0, 0.0, 0.0
    a, b = a / a.sum(), b / b.sum()
    given = arrays(library, a, b, M, dtype=dtype)
    plan, log = ot.emd(*given, log=True)
    assert type(plan) is type(given[0])
    assert plan.dtype == log["u"].dtype == given[0].dtype
    plan, u, v = (as_numpy(array).astype(float) for array in (plan, log["u"], log["v"]))
    rounding = 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(plan.sum(1), a, atol=rounding)
    np.testing.assert_allclose(plan.sum(0), b, atol=rounding)
    assert (u[:, None] + v - M).max() < rounding  # everywhere, points without mass too
    assert abs((plan * M).sum() - (u @ a + v @ b)) < rounding
    assert abs(u @ a - v @ b) < rounding  # centred
    assert abs(log["cost"] - (plan * M).sum()) < rounding
    assert (log["warning"], log["result_code"]) == (None, 1)


def test_cost_on_a_line():
    rng = np.random.default_rng(0)
    x, y = torch.from_numpy(rng.normal(size=8)), torch.from_numpy(rng.normal(size=6))
    a, b = torch.full((8,), 1 / 8, dtype=torch.float64), torch.full((6,), 1 / 6, dtype=torch.float64)
    wanted = float(one_dimensional_cost(x, y, a, b, p=2.0))
    assert abs(float(ot.emd2(a, b, (x[:, None] - y) ** 2)) - wanted) < 1e-12


def test_equal_weights_are_an_assignment():
    plan = ot.emd([], [], np.array([[0.0, 2.0, 3.0], [2.0, 0.0, 3.0], [1.0, 1.0, 1.0]]))
    np.testing.assert_allclose(plan, np.eye(3) / 3)


def test_histograms_and_lists_of_results():
    a, b, M, *_ = random_costs()
    B = np.stack([b, b[::-1]], 1)
    found = ot.emd2(a, B, M)
    assert isinstance(found, list)
    np.testing.assert_allclose(found, [ot.emd2(a, column, M) for column in B.T])
    cost, log = ot.emd2(a, b, M, log=True, return_matrix=True)
    np.testing.assert_allclose((log["G"] * M).sum(), cost)
    assert set(log) == {"cost", "u", "v", "warning", "result_code", "G"}
    assert "G" not in ot.emd2(a, b, M, log=True)[1]


def test_gradients_are_plan_and_prices():
    a, b, M = (t.requires_grad_() for t in arrays("torch", *random_costs()[:3]))
    assert gradcheck(lambda a, b, M: ot.emd2(a / a.sum(), b / b.sum(), M), (a, b, M))
    cost, log = ot.emd2(a, b, M, log=True, return_matrix=True)
    cost.backward()
    assert torch.equal(M.grad, log["G"])
    torch.testing.assert_close(a.grad, log["u"] - log["u"].mean())
    torch.testing.assert_close(b.grad, log["v"] - log["v"].mean())


def test_errors_and_warnings():
    a, b, M, *_ = random_costs()
    for function in (ot.emd, ot.emd2):
        with pytest.raises(AssertionError, match="Dimension mismatch"):
            function(b, a, M)
        with pytest.raises(AssertionError, match="same sum"):
            function(a, 1.1 * b, M)
        with pytest.warns(DeprecationWarning, match="numThreads"):
            function(a, b, M, numThreads=2)
        with pytest.raises(NotImplementedError, match="dense"):
            function(*arrays("torch", a, b), torch.from_numpy(M).to_sparse())
    np.testing.assert_allclose(ot.emd(a, 1.1 * b, M, check_marginals=False), ot.emd(a, b, M), atol=1e-12)
    with pytest.warns(UserWarning, match="processes"):
        ot.emd2(a, b, M, processes=2)
    with pytest.warns(UserWarning, match="integer"):
        plan = ot.emd(np.array([1, 2]), np.array([2, 1]), np.array([[0.0, 1.0], [1.0, 0.0]]))
    np.testing.assert_allclose(plan, [[1.0, 0.0], [1.0, 1.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ot.emd(a, b, M)


def test_prices_are_feasible_between_points_without_mass():
    """On a line, mass only in the middle: prices that are indifferent to one grain on either side promise too much to two."""
    place = np.arange(12.0)
    a, b = np.zeros(12), np.zeros(12)
    a[3:6] = b[6:9] = 1 / 3
    M = np.abs(place[:, None] - place)
    plan, log = ot.emd(a, b, M, log=True)
    assert (log["u"][:, None] + log["v"] - M).max() < 1e-12
    assert abs((plan * M).sum() - 3.0) < 1e-12
    assert abs(log["u"] @ a + log["v"] @ b - 3.0) < 1e-12
