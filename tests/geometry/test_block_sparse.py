"""BlockSparse: the reductions of a cloud up to what its own bound says is left out."""

from __future__ import annotations

import pytest
import torch

from isotherm import EntropicCoupling, LogSinkhorn, PointCloud, Problem, kernels
from isotherm.certificate import certify
from isotherm.geometry import BlockSparse, Clusters
from isotherm.solution import marginal_error

pytestmark = pytest.mark.skipif(bool(kernels.backends()["cpu"]), reason="lists of pairs are read by compiled kernels")

EPSILON = 0.004


def make(cost="sqeuclidean", dtype=torch.float64, *, least=-6.0, shift=0.0):
    """A cloud in the plane, a list of pairs for nearly optimal potentials, and those."""
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.rand(size, 2, generator=generator, dtype=torch.float64) + shift for size in (901, 770))
    a, b = (torch.rand(size, generator=generator, dtype=torch.float64) for size in (901, 770))
    a[:3], b[:2] = 0.0, 0.0
    cloud = PointCloud(x.to(dtype), y.to(dtype), cost)
    problem = Problem(cloud, (a / a.sum()).to(dtype), (b / b.sum()).to(dtype), epsilon=EPSILON)
    f, g = LogSinkhorn(max_iterations=40).run(problem).potentials
    clusters = [Clusters.of(points) for points in cloud.formula().tensors]
    sparse = BlockSparse.around(cloud, *clusters, f, g, least=least * EPSILON)
    return cloud, sparse, problem, f, g


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("cost", ["sqeuclidean", "half_sqeuclidean", "euclidean"])
@pytest.mark.parametrize("shift", [0.0, 300.0])
def test_marginals_differ_by_less_than_the_bound(cost, dtype, shift):
    cloud, sparse, problem, f, g = make(cost, dtype, shift=shift)
    assert sparse.pattern.density < 0.75
    dense = EntropicCoupling(problem.double(), f.double(), g.double())
    left = EntropicCoupling(problem.on(sparse).double(), f.double(), g.double())
    missing = dense.row_mass() - left.row_mass()
    bound = float(sparse.skipped_mass(f, g, problem.a, problem.b, epsilon=EPSILON))
    assert 0 < float(missing.sum()) <= bound
    assert bool((missing <= problem.a.double() * torch.tensor(-6.0).exp() * (1 + 1e-9)).all())  # by row, as promised
    assert float(cloud.skipped_mass(f, g, problem.a, problem.b, epsilon=EPSILON)) == 0.0


def test_bound_holds_for_other_potentials_too():
    _, sparse, problem, f, g = make()
    generator = torch.Generator().manual_seed(5)
    for scale in (1.0, 5.0, 20.0):
        other = f + scale * EPSILON * torch.randn(len(f), generator=generator, dtype=f.dtype)
        dense, left = (EntropicCoupling(question, other, g) for question in (problem, problem.on(sparse)))
        missing = float((dense.row_mass() - left.row_mass()).sum())
        assert missing <= float(sparse.skipped_mass(other, g, problem.a, problem.b, epsilon=EPSILON))


def test_marginal_error_counts_what_is_left_out():
    _, sparse, problem, f, g = make(least=-2.0)
    truth = marginal_error(problem, (f, g), EntropicCoupling(problem, f, g))
    listed = problem.on(sparse)
    claimed = marginal_error(listed, (f, g), EntropicCoupling(listed, f, g))
    assert claimed.source >= truth.source
    assert claimed.target >= truth.target


@pytest.mark.parametrize("least", [-1.0, -6.0])
def test_hard_minimum_is_a_lower_bound(least):
    cloud, sparse, _, _, g = make(least=least)
    h = g.clone()
    h[4] = -torch.inf
    got, truth = sparse.hard_min(h), cloud.hard_min(h)
    assert bool((got <= truth + 1e-12).all())
    if least == -6.0:
        assert float((truth - got).abs().max()) < 1e-9


def test_certificate_encloses_the_value():
    _, sparse, problem, _, g = make(least=-3.0)
    listed, dense = certify(problem.on(sparse), g), certify(problem, g)
    assert listed.entropic_lower <= dense.entropic_lower
    assert listed.entropic_upper >= dense.entropic_lower
    assert listed.exact_lower <= dense.exact_lower + 1e-12
    assert listed.exact_upper >= dense.exact_lower
    assert listed.entropic_lower > 0.9 * dense.entropic_lower


def test_gradient_by_the_points_is_the_dense_one():
    cloud, sparse, problem, f, g = make(least=-12.0)
    p, q = (potential + log for potential, log in zip((f, g), problem.log_weights, strict=True))
    for got, truth in zip(
        kernels.plan_grad(sparse, p, q, epsilon=EPSILON), kernels.plan_grad(cloud, p, q, epsilon=EPSILON), strict=True
    ):
        assert float((got - truth).abs().sum()) <= 3e-5 * float(truth.abs().sum())


def test_derivatives_pass_through_the_reductions():
    cloud, _, problem, f, g = make(least=-12.0)
    grads = []
    for is_sparse in (False, True):
        x = cloud.x.clone().requires_grad_()
        geometry = PointCloud(x, cloud.y)
        if is_sparse:
            clusters = [Clusters.of(points) for points in geometry.formula().tensors]
            geometry = BlockSparse.around(geometry, *clusters, f, g, least=-12 * EPSILON)
        total = problem.a @ geometry.softmin(g + problem.log_weights[1], epsilon=EPSILON)
        grads.append(torch.autograd.grad(total, x)[0])
    assert torch.allclose(*grads, rtol=1e-3, atol=1e-8)


def test_what_is_asked_for_by_name_leaves_nothing_out():
    cloud, sparse, problem, _, _ = make()
    rows = torch.tensor([0, 900, 17])
    assert torch.equal(sparse.block(rows), cloud.block(rows))
    assert sparse.cost_range() == cloud.cost_range()
    assert torch.equal(sparse.product_cost(problem.a, problem.b), cloud.product_cost(problem.a, problem.b))
    centre = torch.tensor(0.3, dtype=torch.float64)
    deviation = [part.product_square_deviation(problem.a, problem.b, centre) for part in (sparse, cloud)]
    assert torch.equal(*deviation)
    assert sparse.extend(cloud.x[:2]).shape == (2, 770)
    assert sparse.shape == cloud.shape
    assert "of the pairs" in repr(sparse)


def test_sides_swap():
    _, sparse, problem, f, g = make()
    back = sparse.transpose()
    assert back.shape == (770, 901)
    bounds = (
        sparse.skipped_mass(f, g, problem.a, problem.b, epsilon=EPSILON),
        back.skipped_mass(g, f, problem.b, problem.a, epsilon=EPSILON),
    )
    masses = (
        EntropicCoupling(problem.on(sparse), f, g).row_mass().sum(),
        EntropicCoupling(problem.on(sparse), f, g).transpose().row_mass().sum(),
    )
    assert torch.allclose(*masses, rtol=1e-12)
    assert 0.01 < float(bounds[0] / bounds[1]) < 100.0
