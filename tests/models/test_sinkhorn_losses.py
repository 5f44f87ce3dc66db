"""Four losses of one name: what each is made of, and the variance at which each is least."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from isotherm.models import SinkhornLoss
from isotherm.solvers import LogSinkhorn, solve

X = torch.randn(9, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = torch.randn(6, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.5


def plan_after(x: Tensor, y: Tensor, epsilon: float, iterations: int) -> Tensor:
    """The plan of Sinkhorn's iteration from the kernel on, as the paper's algorithm writes it."""
    kernel = (-(torch.cdist(x, y) ** 2) / epsilon).exp()
    b = torch.ones(len(y), dtype=x.dtype)
    for _ in range(iterations):
        a = 1.0 / len(x) / (kernel @ b)
        b = 1.0 / len(y) / (kernel.T @ a)
    return a[:, None] * kernel * b


def test_losses_are_what_their_equations_say():
    solution = solve(X, Y, epsilon=0.7, solver=LogSinkhorn(tolerance=1e-10))
    own = [solve(p, p, epsilon=0.7, solver=LogSinkhorn(tolerance=1e-10)).value for p in (X, Y)]
    expected = {
        "raw": solution.value,
        "sharp": solution.transport_cost,
        "debiased": solution.value - 0.5 * (own[0] + own[1]),
    }
    for loss, value in expected.items():
        assert float(SinkhornLoss(loss=loss, epsilon=0.7)(X, Y)) == pytest.approx(float(value), abs=2e-4), loss


def test_halves_are_a_contrast_of_six_values_between_different_points():
    def value(x: Tensor, y: Tensor) -> Tensor:
        return SinkhornLoss(loss="raw", epsilon=0.7)(x, y)

    one, two, three, four = X[:5], X[5:], Y[:3], Y[3:]
    across = 0.25 * (value(one, three) + value(one, four) + value(two, three) + value(two, four))
    expected = across - 0.5 * (value(one, two) + value(three, four))
    torch.testing.assert_close(SinkhornLoss(loss="halves", epsilon=0.7)(X, Y), expected, rtol=1e-6, atol=1e-8)
    with pytest.raises(ValueError, match="at least two points in each cloud: got 9 and 1"):
        SinkhornLoss(loss="halves")(X, Y[:1])


@pytest.mark.parametrize(("loss", "least", "most"), [("halves", -2.5, 2.5), ("debiased", 10.0, 1e9)])
def test_small_batches_draw_a_law_together_unless_halves_are_compared(loss: str, least: float, most: float):
    # The slope by the scale of N(0, 1) in 64 dimensions against itself, a mean over batches in standard errors.
    random = torch.Generator().manual_seed(5)
    slopes = []
    for _ in range(20):
        scale = torch.ones((), dtype=torch.float64, requires_grad=True)
        x, y = (torch.randn(64, 64, generator=random, dtype=torch.float64) for _ in range(2))
        SinkhornLoss(loss=loss, epsilon=10.0)(scale * x, y).backward()
        slopes.append(scale.grad)
    found = torch.stack(slopes)
    assert least < float(found.mean() / (found.std() / 20**0.5)) < most


@pytest.mark.parametrize("iterations", [1, 3, 20])
def test_unrolled_loss_and_gradient_are_those_of_the_papers_algorithm(iterations: int):
    def paper(x: Tensor, y: Tensor) -> Tensor:
        across, of_x, of_y = (
            (plan_after(p, q, 0.7, iterations) * torch.cdist(p, q) ** 2).sum() for p, q in ((x, y), (x, x), (y, y))
        )
        return across - 0.5 * (of_x + of_y)

    ours = SinkhornLoss(loss="unrolled", epsilon=0.7, iterations=iterations)
    x = X.clone().requires_grad_()
    found, expected = ours(x, Y), paper(X, Y)
    found.backward()
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    step = torch.randn(9, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 1e-5
    slope = (paper(X + step, Y) - paper(X - step, Y)) / 2.0
    assert float((x.grad * step).sum()) == pytest.approx(float(slope), rel=1e-5)


def test_temperature_in_units_of_the_mean_cost():
    mean = float((torch.cdist(X, Y) ** 2).mean())
    loss = SinkhornLoss(loss="unrolled", epsilon=0.1, epsilon_unit="mean")
    assert loss.temperature(X, Y) == pytest.approx(0.1 * mean)
    same = SinkhornLoss(loss="unrolled", epsilon=0.1 * mean)
    torch.testing.assert_close(loss(X, Y), same(X, Y), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("loss", "variance"),
    [
        ("raw", 1.4 - 0.6 / 2),
        ("sharp", 1.4 - 0.6**2 / (16 * 1.4)),
        ("debiased", 1.4),
        ("unrolled", 1.4),  # neither raw nor sharp: the contrast of sharp values, which is stationary at equal laws
    ],
)
def test_model_of_least_loss_has_this_variance(loss: str, variance: float):
    # Quantiles stand for the Gaussian: 200 of them, of variance one exactly. The loss falls before, and rises behind.
    normal = torch.special.ndtri((torch.arange(200, dtype=torch.float64) + 0.5) / 200)
    normal = (normal / normal.std(correction=0))[:, None]
    distance = SinkhornLoss(loss=loss, epsilon=0.6, iterations=60)
    for miss in (-0.01, 0.01):
        scale = torch.tensor((variance + miss) ** 0.5, dtype=torch.float64, requires_grad=True)
        distance(scale * normal, 1.4**0.5 * normal).backward()
        assert scale.grad.sign() == math.copysign(1.0, miss)
