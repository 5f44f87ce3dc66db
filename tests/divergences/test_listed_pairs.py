"""Losses of many points in few dimensions: their derivative meets the pairs that the solve met, and is the same."""

import pytest
import torch
from torch import Tensor
from torch.autograd import grad

import isotherm
from isotherm.kernels import backends, count_work
from isotherm.solvers import LogSinkhorn, Multiscale

pytestmark = pytest.mark.skipif(bool(backends()["cpu"]), reason="only compiled kernels meet a list of pairs")
N, M = 5000, 4000  # more than 16 million pairs, where lists begin


def clouds() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.rand(size, 2, generator=generator, dtype=torch.float64) for size in (N, M))
    return x, 0.8 * y


@pytest.mark.parametrize("asks", ["x", "y", "both"])
@pytest.mark.parametrize("loss", [isotherm.entropic_value, isotherm.sinkhorn_divergence])
@pytest.mark.parametrize("rho", [float("inf"), 0.5])
def test_derivatives_on_listed_pairs_are_those_of_all_pairs(loss, asks, rho):
    x, y = clouds()
    x.requires_grad_(asks != "y")
    y.requires_grad_(asks != "x")
    inputs = [points for points in (x, y) if points.requires_grad]
    found = {}
    for name, solver in (("listed", Multiscale(solver=LogSinkhorn())), ("all", LogSinkhorn())):
        prices = {"rho": rho} if loss is isotherm.sinkhorn_divergence else {"rho_a": rho, "rho_b": rho}
        value = loss(x, y, epsilon=1e-3, tolerance=1e-5, solver=solver, **prices)
        with count_work() as work:
            found[name] = value.item(), grad(value, inputs), work
    assert found["listed"][0] == pytest.approx(found["all"][0], rel=1e-6)
    for ours, wanted in zip(found["listed"][1], found["all"][1], strict=True):
        assert float((ours - wanted).norm() / wanted.norm()) < 1e-4
    assert found["listed"][2].pairs < 0.9 * found["all"][2].pairs


def test_a_cloud_against_itself_is_differentiated_once():
    x = clouds()[0].requires_grad_()
    value = isotherm.entropic_value(x, x, epsilon=1e-2, tolerance=1e-6)
    with count_work() as work:
        by_x = grad(value, x)[0]
    assert work.pairs <= 1.05 * N**2
    two = [x.detach().clone().requires_grad_() for _ in range(2)]
    sides = grad(isotherm.entropic_value(*two, epsilon=1e-2, tolerance=1e-6, solver=LogSinkhorn()), two)
    assert float((by_x - sides[0] - sides[1]).norm() / by_x.norm()) < 1e-4
