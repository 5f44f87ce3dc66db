"""The cold end: the one cause that explains best."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False, kw_only=True)
class Mode:
    """argmax_z G(z; x_i), as far as a climb from the start finds it.

    Attributes:
        z: Shape (n, K).
        utility: G there, shape (n,).
        gradient_norm: Of G there, shape (n,): how far from a maximum it may be; zero where causes are given.
        is_converged: Whether all gradients have become small, relative to those at the start.
    """

    z: Tensor  # (n, K)
    utility: Tensor  # (n,)
    gradient_norm: Tensor  # (n,)
    is_converged: bool


def climb(utility: Callable[[Tensor], Tensor], start: Tensor, *, max_iterations: int, tolerance: float) -> Mode:
    """Maximise a function of each row by L-BFGS, all rows at once.

    Args:
        utility: (n, K) -> (n,), each row's on its own.
        start: Shape (n, K).
        max_iterations: Budget.
        tolerance: Largest gradient at the end, over the largest at the start (or one, if that is larger).

    Returns:
        The best points met.
    """
    z = start.detach().clone().requires_grad_()
    with torch.enable_grad():
        (first,) = torch.autograd.grad(utility(z).sum(), z)
    floor = tolerance * max(1.0, float(first.abs().max()))
    optimiser = torch.optim.LBFGS(
        [z],
        max_iter=max_iterations,
        max_eval=2 * max_iterations,
        tolerance_grad=floor,
        tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )

    def closure() -> float:
        with torch.enable_grad():
            optimiser.zero_grad()
            loss = -utility(z).sum()
            (z.grad,) = torch.autograd.grad(loss, z)
        return float(loss.detach())

    optimiser.step(closure)
    with torch.enable_grad():
        value = utility(z)
        (gradient,) = torch.autograd.grad(value.sum(), z)
    norms = gradient.norm(dim=1)
    return Mode(
        z=z.detach(), utility=value.detach(), gradient_norm=norms, is_converged=bool(gradient.abs().max() <= floor)
    )
