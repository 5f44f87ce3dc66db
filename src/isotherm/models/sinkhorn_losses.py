"""The losses that go by Sinkhorn's name, told apart: what a model pays for one cloud of points not being another."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from isotherm._checks import check_choice, check_count, check_positive
from isotherm.divergences import Unroll, entropic_value, sinkhorn_divergence, transport_cost
from isotherm.geometry import PointCloud, Relative

LOSSES = ("debiased", "raw", "sharp", "unrolled")


@dataclass(frozen=True, kw_only=True)
class SinkhornLoss:
    """How far a cloud is from another, in one of four senses, with the cost |x - y|^2.

        raw        V(x, y)                                 the entropic value,       S -> S - epsilon / 2
        sharp      <C, P>                                  what its plan pays,       S -> S - epsilon^2 / (16 S)
        debiased   V(x, y) - V(x, x) / 2 - V(y, y) / 2     Sinkhorn's divergence,    S -> S
        unrolled   the same of <C, P_L> for V              after L iterations,       S -> S

    At the end of each line is the variance that a one-dimensional Gaussian model takes on when it minimises this loss
    against data of variance S. raw and debiased are differentiated by the envelope theorem, sharp by an implicit linear
    system, unrolled through its iterations: the loss as Genevay et al. print it, halved.

    Attributes:
        loss: Which.
        epsilon: Temperature.
        epsilon_unit: What it is measured in: "cost", or "mean" for the mean cost between the two clouds.
        iterations: L, for "unrolled".

    Raises:
        ValueError: A setting is out of range.

    Example:
        >>> x = torch.tensor([[0.0], [1.0]])
        >>> [round(float(SinkhornLoss(loss=loss, epsilon=1.0)(x, x)), 4) for loss in LOSSES]
        [0.0, 0.3799, 0.2689, 0.0]

    References:
        [Genevay2018], [Feydy2019]
    """

    loss: str = "debiased"
    epsilon: float = 0.05
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
