"""The losses that go by Sinkhorn's name, told apart: what a model pays for one cloud of points not being another."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from isotherm._checks import check_choice, check_count, check_positive
from isotherm.divergences import Unroll, entropic_value, sinkhorn_divergence, transport_cost
from isotherm.geometry import PointCloud, Relative

LOSSES = ("debiased", "halves", "raw", "sharp", "unrolled")


@dataclass(frozen=True, kw_only=True)
class SinkhornLoss:
    """How far a cloud is from another, in one of five senses, with the cost |x - y|^2.

        raw        V(x, y)                                 the entropic value
        sharp      <C, P>                                  what its plan pays
        debiased   V(x, y) - V(x, x) / 2 - V(y, y) / 2     Sinkhorn's divergence
        halves     the same, but V(x, x) is that between two halves of x, V(y, y) likewise, and V(x, y) a mean over halves
        unrolled   that of "debiased", of <C, P_L> after L iterations for V

    A one-dimensional Gaussian model that minimises it against data of variance S takes on the variance S - epsilon / 2
    with raw, S - epsilon^2 / (16 S) with sharp, and S with all others. That is so of the laws themselves. Of a law, a
    batch shows a few points, and a point in x is nearer to itself than any point of y is to it: "debiased" then still
    draws the model together, the more the higher the dimension and the colder. "halves" compares different points
    everywhere: at equal laws its mean over batches is zero, and so is its derivative, however small they are (if both are of
    one size). It is the noisier, and may be negative.

    raw, debiased and halves are differentiated by the envelope theorem, sharp by an implicit linear system, unrolled
    through its iterations: the loss that Genevay et al. print, halved.

    Attributes:
        loss: Which.
        epsilon: Temperature.
        epsilon_unit: What it is measured in: "cost", or "mean" for the mean cost between the two clouds.
        iterations: L, for "unrolled".

    Raises:
        ValueError: A setting is out of range; or "halves" of a single point.

    Example:
        >>> x = torch.tensor([[0.0], [1.0]])
        >>> {loss: round(float(SinkhornLoss(loss=loss)(x, x)), 4) for loss in LOSSES}
        {'debiased': 0.0, 'halves': -0.5, 'raw': 0.3799, 'sharp': 0.2689, 'unrolled': 0.0}

    References:
        [Genevay2018], [Feydy2019], [Salimans2018]
    """

    loss: str = "debiased"
    epsilon: float = 1.0
    epsilon_unit: str = "cost"
    iterations: int = 20

    def __post_init__(self) -> None:
        check_choice(self.loss, "loss", LOSSES)
        check_positive(self.epsilon, "epsilon")
        check_choice(self.epsilon_unit, "epsilon_unit", ("cost", "mean"))
        check_count(self.iterations, "iterations")

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """The loss, a scalar in units of cost, differentiable in both clouds (n, D) and (m, D)."""
        epsilon = self.temperature(x, y)
        match self.loss:
            case "raw":
                return entropic_value(x, y, epsilon=epsilon)
            case "sharp":
                return transport_cost(x, y, epsilon=epsilon)
            case "debiased":
                return sinkhorn_divergence(x, y, epsilon=epsilon)
            case "halves":
                return _between_halves(x, y, epsilon)
        across, of_x, of_y = (
            transport_cost(one, two, epsilon=epsilon, differentiation=Unroll(self.iterations))
            for one, two in ((x, y), (x, x), (y, y))
        )
        return across - 0.5 * (of_x + of_y)

    def temperature(self, x: Tensor, y: Tensor) -> float:
        """epsilon in units of cost, a constant of the derivative."""
        if self.epsilon_unit == "cost":
            return self.epsilon
        x, y = x.detach(), y.detach()
        a, b = (torch.full((len(points),), 1.0 / len(points), device=points.device) for points in (x, y))
        return Relative(self.epsilon).resolve(PointCloud(x, y), a, b)


def _between_halves(x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """Mean V between halves of x and of y, less those within x and within y, which count one half."""
    if min(len(x), len(y)) < 2:
        msg = f'"halves" need at least two points in each cloud: got {len(x)} and {len(y)}. Take larger batches.'
        raise ValueError(msg)
    (one, two), (three, four) = x.tensor_split(2), y.tensor_split(2)
    first, second = [one, one, two, two, one, three], [three, four, three, four, two, four]
    values = entropic_value(first, second, epsilon=epsilon)
    return values[:4].mean() - 0.5 * (values[4] + values[5])
