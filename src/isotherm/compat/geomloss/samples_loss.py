"""The module: a loss between sampled measures, by GeomLoss's names."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from isotherm._checks import check_choice, check_positive
from isotherm.compat.geomloss.costs import Pairwise, ground_cost, loss_kernel
from isotherm.compat.geomloss.measures import Measures, read_measures
from isotherm.divergences import (
    entropic_value,
    hausdorff_divergence,
    kernel_norm,
    mmd,
    sinkhorn_divergence,
    transport,
)
from isotherm.divergences.front import loss as loss_outside_autocast

LOSSES = ("sinkhorn", "hausdorff", "energy", "gaussian", "laplacian")
BACKENDS = ("auto", "tensorized", "online", "multiscale")


class SamplesLoss(nn.Module):
    """A loss between sampled measures, called as (x, y) or (a, x, b, y).

        sinkhorn    OT_eps(a, b) - OT_eps(a, a) / 2 - OT_eps(b, b) / 2 (+ eps (mass(a) - mass(b))^2 / 2 with `reach`);
                    OT_eps(a, b) with debias=False
        hausdorff   <a - b, f_b - f_a> / 2 with self potentials, as `isotherm.hausdorff_divergence`
        energy, gaussian, laplacian     <a - b, k * (a - b)> / 2

    eps = blur^p and rho = reach^p. Every problem is solved until its marginals are met, by `isotherm.solve`'s own choice
    of method, in memory O(N + M) for the costs of `p`: what steers the original's schedule and backends is checked and
    changes no answer.

    Args:
        loss: "sinkhorn", "hausdorff", "energy", "gaussian" (kernel exp(-|x - y|^2 / (2 blur^2))) or "laplacian"
            (exp(-|x - y| / blur)).
        p: Cost of "sinkhorn" and "hausdorff": 1 for |x - y|, 2 for |x - y|^2 / 2.
        blur: Length > 0: eps = blur^p, or the kernel's width.
        reach: Length: rho = reach^p is the price of missing a marginal; None enforces them.
        diameter: Length > 0 or None. Where the original starts its schedule. No effect.
        scaling: Ratio in (0, 1). How fast the original cools, and so how exact it is. No effect.
        truncate: Number > 0 or None. Where the original cuts kernels off. No effect: nothing is cut off.
        cost: In place of `p`: a function of x (B, N, D) and y (B, M, D) with result (B, N, M), symmetric, that depends
            on each pair alone; a KeOps formula for one of these costs; or a pair (formula, function).
        kernel: In place of the named one: a function of (x, y, blur=..., use_keops=..., ranges=...) on batches.
        cluster_scale: Length > 0 or None. Size of the original's clusters. No effect.
        debias: Whether "sinkhorn" is the divergence or OT_eps.
        potentials: Return dual potentials (F, G), shaped like the weights, in place of the loss: f_ab - f_aa and
            g_ab - g_bb where "sinkhorn" is debiased; k * (a - b) and k * (b - a) for kernels, with memory O(N M).
        verbose: No effect: nothing is printed.
        backend: "auto", "tensorized", "online" or "multiscale". No effect.
        tolerance: L1 error of the marginals at which to stop, per unit of mass. Not in the original.

    Example:
        >>> x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0], [3.0]])
        >>> round(float(SamplesLoss("sinkhorn", p=2, blur=0.1)(x, y)), 4)  # |shift|^2 / 2
        2.0

    References:
        [Feydy2019], [Feydy2020]
    """

    def __init__(
        self,
        loss: str = "sinkhorn",
        p: float = 2,
        blur: float = 0.05,
        reach: float | None = None,
        diameter: float | None = None,
        scaling: float = 0.5,
        truncate: float | None = 5,
        cost: Any = None,
        kernel: Callable[..., Tensor] | None = None,
        cluster_scale: float | None = None,
        debias: bool = True,
        potentials: bool = False,
        verbose: bool = False,
        backend: str = "auto",
        *,
        tolerance: float = 1e-4,
    ) -> None:
        super().__init__()
        self.loss = check_choice(loss, "loss", LOSSES)
        self.blur = check_positive(blur, "blur")
        self.backend = check_choice(backend, "backend", BACKENDS)
        lengths = {"reach": reach, "diameter": diameter, "truncate": truncate, "cluster_scale": cluster_scale}
        for name, value in lengths.items():
            if value is not None:
                check_positive(value, name)
        if not 0.0 < scaling < 1.0:
            msg = (
                f"`scaling` must be a ratio between 0 and 1: got {scaling!r}. Leave it out: it changes no answer here."
            )
            raise ValueError(msg)
        self.p, self.reach, self.cost, self.kernel = p, reach, cost, kernel
        self.diameter, self.scaling, self.truncate, self.cluster_scale = diameter, scaling, truncate, cluster_scale
        self.debias, self.potentials, self.verbose = debias, potentials, verbose
        self.tolerance = check_positive(tolerance, "tolerance")
        self._is_transport = loss in ("sinkhorn", "hausdorff")
        if self._is_transport:
            ground_cost(p, cost)  # says now what is wrong with it
            if kernel is not None:
                msg = f'`kernel` belongs to "energy", "gaussian" and "laplacian": got one with loss {loss!r}. Change one of them.'
                raise ValueError(msg)

    def forward(self, *measures: Tensor) -> Any:
        """The loss.

        Args:
            *measures: x (N, D) and y (M, D), or a batch (B, N, D) and (B, M, D); or a, x, b, y with weights (N,) or (N, 1)
                and (M,) or (M, 1), likewise batched; or labels_x, a, x, labels_y, b, y, whose labels have no effect.

        Returns:
            A scalar, or shape (B,) for a batch; or potentials (F, G).

        Raises:
            ValueError: Shapes that do not belong together; masses that differ where the loss needs them equal.
            TypeError: Not tensors.
            NotImplementedError: Potentials of "hausdorff"; labels with a batch.
        """
        given = read_measures(measures, allows_labels=self.backend in ("auto", "multiscale"))
        if self.potentials:
            found = [self._potentials(*problem) for problem in given.each()]
            return _like_weights(given, found)
        return self._value(given)

    @property
    def _settings(self) -> dict[str, Any]:
        """What the transport losses are asked for."""
        return {
            "epsilon": self.blur**self.p,
            "cost": ground_cost(self.p, self.cost),
            "tolerance": self.tolerance,
        }

    @property
    def _rho(self) -> float:
        return math.inf if self.reach is None else self.reach**self.p

    def _value(self, given: Measures) -> Tensor:
        points_and_weights = (given.x, given.y, given.a, given.b)
        if not self._is_transport:
            if self.loss == "energy" and self.kernel is None:
                return mmd(*points_and_weights, cost="euclidean")
            return kernel_norm(*points_and_weights, kernel=loss_kernel(self.loss, self.kernel, self.blur))
        if self.loss == "hausdorff":
            return hausdorff_divergence(*points_and_weights, rho=self._rho, **self._settings)
        if self.debias:
            return sinkhorn_divergence(*points_and_weights, rho=self._rho, **self._settings)
        return entropic_value(*points_and_weights, rho_a=self._rho, rho_b=self._rho, **self._settings)

    def _potentials(self, a: Tensor, x: Tensor, b: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """F (N,) and G (M,) of one problem."""
        if self.loss == "hausdorff":
            msg = 'Potentials belong to "sinkhorn" and to kernels: got loss "hausdorff". Call isotherm.transport(x, x, ...) for its self potentials.'
            raise NotImplementedError(msg)
        if not self._is_transport:
            return _kernel_potentials(x, y, a, b, loss_kernel(self.loss, self.kernel, self.blur))
        settings = {**self._settings, "rho_a": self._rho, "rho_b": self._rho}
        across = transport(x, y, a, b, **settings)
        if not self.debias:
            return across.f, across.g
        of_a, of_b = (transport(cloud, cloud, w, w, **settings) for cloud, w in ((x, a), (y, b)))
        return across.f - 0.5 * (of_a.f + of_a.g), across.g - 0.5 * (of_b.f + of_b.g)


@loss_outside_autocast
def _kernel_potentials(x: Tensor, y: Tensor, a: Tensor, b: Tensor, kernel: Pairwise) -> tuple[Tensor, Tensor]:
    """k * (a - b) at the sources, k * (b - a) at the targets."""
    return kernel(x, x) @ a - kernel(x, y) @ b, kernel(y, y) @ b - kernel(y, x) @ a


def _like_weights(given: Measures, found: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Potentials of all problems in the shapes of their weights."""
    f, g = (
        torch.stack(side).reshape(shape) for side, shape in zip(zip(*found, strict=True), given.shapes, strict=True)
    )
    return f, g
