"""POT's entropic calls between points."""

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

import isotherm
import isotherm.compat.pot as ot
from isotherm.testing import dense_solution

from .problems import LIBRARIES, arrays, as_numpy, random_costs

METRICS = ["sqeuclidean", "euclidean", "cityblock", "cosine", "correlation", "minkowski"]


def reference_plan(a, b, M, reg):
    return dense_solution(isotherm.Problem(isotherm.CostMatrix(M), a, b, epsilon=reg)).plan.numpy()


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("metric", METRICS)
def test_lazy_and_dense_agree_with_the_definition(metric, library):
    a, b, _, x, y = random_costs()
    x, y = np.c_[x, x[:, :1] ** 2], np.c_[y, y[:, :1] ** 2]
    M = ot.dist(x, y, metric=metric)
    wanted = reference_plan(a, b, M, 0.3)
    x, y, a, b = arrays(library, x, y, a, b)
    plan = ot.bregman.empirical_sinkhorn(x, y, 0.3, a, b, metric=metric)
    log_u, log_v, log = ot.bregman.empirical_sinkhorn(x, y, 0.3, a, b, metric=metric, isLazy=True, log=True)
    np.testing.assert_allclose(as_numpy(plan), wanted, atol=1e-9)
    lazily = np.exp(as_numpy(log_u)[:, None] + as_numpy(log_v) - M / 0.3)
    np.testing.assert_allclose(lazily, wanted, atol=1e-9)
    np.testing.assert_allclose(as_numpy(log["lazy_plan"][:]), wanted, atol=1e-9)
    assert set(log) == {"u", "v", "err", "niter", "lazy_plan", "solution"}
    assert type(plan) is type(log_u) is type(x)
    for is_lazy in (False, True):
        cost = ot.bregman.empirical_sinkhorn2(x, y, 0.3, a, b, metric=metric, isLazy=is_lazy)
        assert abs(float(cost) - (wanted * M).sum()) < 1e-8


def test_lazy_plan_is_sliced_as_in_pot():
    _, _, M, x, y = random_costs()
    plan = ot.bregman.empirical_sinkhorn(x, y, 1.0, isLazy=True, log=True)[2]["lazy_plan"]
    dense = ot.bregman.empirical_sinkhorn(x, y, 1.0)
    assert plan.shape == M.shape
    for key, wanted in (
        ((1, 2), dense[1:2, 2:3]),
        ((-1, slice(None)), dense[-1:]),
        (slice(2, 5), dense[2:5]),
        ((slice(None), slice(1, 3)), dense[:, 1:3]),
    ):
        np.testing.assert_allclose(plan[key], wanted, atol=1e-9)


def test_divergence_is_the_clipped_difference_of_sharp_costs():
    a, b, _, x, y = random_costs()
    found, log = ot.bregman.empirical_sinkhorn_divergence(x, y, 0.4, a=a, b=b, log=True)
    costs = [
        (reference_plan(p, q, M, 0.4) * M).sum()
        for p, q, M in ((a, b, ot.dist(x, y)), (a, a, ot.dist(x)), (b, b, ot.dist(y)))
    ]
    assert abs(found - (costs[0] - costs[1] / 2 - costs[2] / 2)) < 1e-8
    assert abs(log["sinkhorn_loss_a"] - costs[1]) < 1e-8
    assert {"log_sinkhorn_ab", "log_sinkhorn_a", "log_sinkhorn_b", "sinkhorn_loss_ab", "sinkhorn_loss_b"} < set(log)
    start = tuple(np.log(log["log_sinkhorn_ab"][side]) for side in "uv")
    again, warm = ot.bregman.empirical_sinkhorn_divergence(x, y, 0.4, a=a, b=b, log=True, warmstart=start)
    assert abs(again - found) < 1e-8
    assert warm["log_sinkhorn_ab"]["niter"] <= 2 < log["log_sinkhorn_ab"]["niter"]


@pytest.mark.parametrize("library", LIBRARIES)
def test_divergence_is_clipped_at_zero(library):
    """A cloud against one of its points: the difference of sharp costs is negative where reg is large."""
    x, y = arrays(library, [[0.0], [1.0]], [[0.4], [0.6]])
    losses = [float(ot.bregman.empirical_sinkhorn2(p, q, 1.0)) for p, q in ((x, y), (x, x), (y, y))]
    found = ot.bregman.empirical_sinkhorn_divergence(x, y, 1.0)
    assert float(found) == max(0.0, losses[0] - losses[1] / 2 - losses[2] / 2)
    assert float(ot.bregman.empirical_sinkhorn_divergence(x, x, 1.0)) == 0.0
    assert type(found) is (torch.Tensor if library == "torch" else np.float64)


def test_gradients_reach_points_and_weights():
    a, b, _, x, y = (t.requires_grad_() for t in arrays_of_points())

    def lazily(x, y, a, b):
        return ot.bregman.empirical_sinkhorn2(x, y, 0.5, a / a.sum(), b / b.sum(), isLazy=True, stopThr=1e-13)

    def divergence(x, y, a, b):
        return ot.bregman.empirical_sinkhorn_divergence(x, y, 0.5, a / a.sum(), b / b.sum(), stopThr=1e-13)

    assert gradcheck(lazily, (x, y, a, b))
    assert gradcheck(divergence, (x, y, a, b))


def arrays_of_points():
    return arrays("torch", *random_costs(4, 3))


def test_errors_and_warnings():
    _, _, _, x, y = random_costs()
    with pytest.raises(ValueError, match="Batch size"):
        ot.bregman.empirical_sinkhorn(x, y, 1.0, isLazy=True, batchSize="100")
    with pytest.raises(ValueError, match="same number of features"):
        ot.bregman.empirical_sinkhorn(x, y[:, :1], 1.0)
    for is_lazy in (False, True):
        with pytest.warns(isotherm.ConvergenceWarning):
            ot.bregman.empirical_sinkhorn(x, y, 0.01, numIterMax=1, isLazy=is_lazy)
        ot.bregman.empirical_sinkhorn(x, y, 0.01, numIterMax=1, isLazy=is_lazy, warn=False)
