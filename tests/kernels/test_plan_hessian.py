"""Curvature of the dual against dense matrices, and of the value against differentiating an unrolled loop twice."""

import pytest
import torch
from torch import Tensor

from isotherm import kernels
from isotherm.kernels import Formula, compiled
from isotherm.kernels.plan_hessian.value import solve_or_raise

BACKENDS = ["reference", *([] if compiled.why_missing() else ["cpu"])]
EPSILON = 0.6


def problem(kind: str, dtype: torch.dtype = torch.float64, n: int = 9, m: int = 11, d: int = 3):
    """Costs, and weighted potentials near the optimum."""
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(size, d, generator=generator, dtype=torch.float64).to(dtype) for size in (n, m))
    p, q = (0.3 * torch.randn(size, generator=generator, dtype=torch.float64).to(dtype) for size in (n, m))
    costs = Formula(kind, x, y, scale=-0.5 if kind == "dot" else 1.0)
    if kind == "stored":
        costs = Formula("stored", Formula("sqeuclidean", x, y).block(slice(None)))
    values = torch.randn(n, 2, generator=generator, dtype=torch.float64).to(dtype)
    return costs, p, q, values


def dense(costs: Formula, p: Tensor, q: Tensor, values: Tensor) -> Tensor:
    plan = ((p[:, None] + q - costs.block(slice(None))) / EPSILON).exp()
    inverse = torch.where(plan.sum(0) > 0, 1.0 / plan.sum(0), 0.0)
    return (torch.diag(plan.sum(1)) - plan @ torch.diag(inverse) @ plan.T) @ values / EPSILON


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", ["sqeuclidean", "euclidean", "dot", "stored"])
@pytest.mark.parametrize("massless", [False, True])
def test_plan_hessian_is_the_schur_complement(kind, backend, massless):
    costs, p, q, values = problem(kind)
    if massless:
        p[::3], q[1::4] = -torch.inf, -torch.inf
    with kernels.use(backend):
        found = kernels.plan_hessian(costs, p, q, values, epsilon=EPSILON)
    torch.testing.assert_close(found, dense(costs, p, q, values), rtol=1e-11, atol=1e-13)
    if massless:
        assert torch.equal(found[::3], torch.zeros_like(found[::3]))


@pytest.mark.parametrize("backend", BACKENDS)
def test_plan_hessian_in_float32_is_as_exact_as_plain_torch(backend):
    truth = dense(*problem("sqeuclidean"))
    given = problem("sqeuclidean", torch.float32)
    with kernels.use(backend):
        error = (kernels.plan_hessian(*given, epsilon=EPSILON).double() - truth).abs().max()
    assert error <= 2 * (dense(*given).double() - truth).abs().max() + 1e-6 * truth.abs().max()


def test_plan_hessian_is_minus_the_hessian_of_the_semi_dual():
    costs, p, _, _ = problem("sqeuclidean")
    log_b = torch.randn(11, generator=torch.Generator().manual_seed(2), dtype=torch.float64)

    def semi_dual(p: Tensor) -> Tensor:  # max over g, where the mass of each column is b
        g = -EPSILON * torch.logsumexp((p[:, None] - costs.block(slice(None))) / EPSILON, 0)
        return (log_b.exp() * g).sum()

    g = -EPSILON * torch.logsumexp((p[:, None] - costs.block(slice(None))) / EPSILON, 0)
    identity = torch.eye(9, dtype=torch.float64)
    found = kernels.plan_hessian(costs, p, g + EPSILON * log_b, identity, epsilon=EPSILON)
    torch.testing.assert_close(found, -torch.autograd.functional.hessian(semi_dual, p), rtol=1e-10, atol=1e-12)
    assert torch.linalg.eigvalsh(found).min() > -1e-12
    ones = torch.ones(9, 1, dtype=torch.float64)
    assert kernels.plan_hessian(costs, p, g, ones, epsilon=EPSILON).abs().max() < 1e-12


@pytest.mark.parametrize("backend", BACKENDS)
def test_plan_hessian_is_differentiable(backend):
    costs, p, q, values = problem("sqeuclidean", n=4, m=3)
    leaves = [t.requires_grad_() for t in (costs.x, costs.y, p, q, values)]

    def run(x: Tensor, y: Tensor, p: Tensor, q: Tensor, values: Tensor) -> Tensor:
        return kernels.plan_hessian(Formula("sqeuclidean", x, y), p, q, values, epsilon=EPSILON)

    with kernels.use(backend):
        assert torch.autograd.gradcheck(run, leaves)


def solve(x: Tensor, y: Tensor, kind: str, steps: int) -> tuple[Tensor, Tensor, Tensor]:
    """The value and the weighted potentials by an unrolled loop in plain torch; uniform weights."""
    matrix = Formula(kind, x, y, scale=-0.5 if kind == "dot" else 1.0).block(slice(None))
    log_a, log_b = (-EPSILON * torch.log(torch.tensor(float(k), dtype=x.dtype)) for k in matrix.shape)
    f, g = torch.zeros_like(matrix[:, 0]), torch.zeros_like(matrix[0])
    for _ in range(steps):
        g = -EPSILON * torch.logsumexp((f[:, None] + log_a - matrix) / EPSILON, 0)
        f = -EPSILON * torch.logsumexp((g + log_b - matrix) / EPSILON, 1)
    plan = ((f[:, None] + log_a + g + log_b - matrix) / EPSILON).exp()
    value = f.mean() + g.mean() - EPSILON * (plan.sum() - 1.0)
    return value, f + log_a, g + log_b


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", ["sqeuclidean", "euclidean", "dot"])
@pytest.mark.parametrize("sizes", [(6, 8), (1, 5), (5, 1)])
def test_value_hessian_is_the_second_derivative_of_the_unrolled_loop(kind, sizes, backend):
    generator = torch.Generator().manual_seed(1)
    x, y = (0.7 * torch.randn(size, 2, generator=generator, dtype=torch.float64) for size in sizes)
    z = torch.randn(sizes[0], 2, generator=generator, dtype=torch.float64)
    x.requires_grad_()
    value, p, q = solve(x, y, kind, steps=400)
    (first,) = torch.autograd.grad(value, x, create_graph=True)
    (truth,) = torch.autograd.grad((first * z).sum(), x)
    costs = Formula(kind, x.detach(), y, scale=-0.5 if kind == "dot" else 1.0)
    with kernels.use(backend):
        by_x, _ = kernels.plan_grad(costs, p.detach(), q.detach(), epsilon=EPSILON)
        found = kernels.value_hessian(costs, p.detach(), q.detach(), z, epsilon=EPSILON)
    torch.testing.assert_close(by_x, first.detach(), rtol=1e-9, atol=1e-11)  # the loop has converged
    torch.testing.assert_close(found, truth, rtol=1e-8, atol=1e-9)


def test_value_hessian_needs_points():
    costs, p, q, _ = problem("stored")
    with pytest.raises(TypeError, match="between points"):
        kernels.value_hessian(costs, p, q, torch.zeros(9, 3), epsilon=1.0)


def test_conjugate_gradients_say_when_they_fail():
    matrix = torch.diag(torch.tensor([1.0, 2.0, 3.0]).double())
    ones = torch.ones(3).double()
    found = solve_or_raise(lambda v: matrix @ v, ones, ones, floor=1e-12, max_iterations=3)
    torch.testing.assert_close(found, 1.0 / matrix.diag())
    with pytest.raises(RuntimeError, match="max_iterations"):
        solve_or_raise(lambda v: matrix @ v, ones, ones, floor=1e-12, max_iterations=2)
