"""The public face of these reductions: documents them, and lets the fastest backend that can do them.

Vectors of the sources hold all problems one after the other, and so do those of the targets; see `Batch`. Fused, one call
reduces all problems, each by one thread and the largest first; where a derivative is asked for, or torch.compile traces
the call, each problem is an operator of its own, and differentiable as the reduction of one problem is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from isotherm.kernels.batched.batch import Batch
from isotherm.kernels.compiled import is_eager
from isotherm.kernels.dispatch import choose
from isotherm.kernels.plan_hessian.products import from_products
from isotherm.kernels.triton_launch import Deferred

from . import cpu, reference

if TYPE_CHECKING:
    from isotherm.kernels.batched.reference import Temperatures

gpu = Deferred("isotherm.kernels.batched.triton", is_operator=True)


def batched_softmin(
    batch: Batch, h: Tensor, *, epsilon: float | Sequence[float], guess: Tensor | None = None
) -> Tensor:
    """Smoothed minimum of cost minus potential over the targets of each problem's own.

        f_i = -epsilon_b log sum_j exp((h_j - C_ij) / epsilon_b),    i and j in problem b

    Time O(sum_b N_b M_b D_b); memory O(N + M). Differentiable as `softmin` is.

    Args:
        batch: The costs of B problems, N sources and M targets in all.
        h: Weighted potentials of all targets, g + epsilon log b, shape (M,), units of cost; -inf marks no mass.
        epsilon: Temperature > 0 of all problems, or of each of the B, units of cost.
        guess: About what will come out, shape (N,), such as the potentials of the last iteration.

    Returns:
        Potentials of all sources, shape (N,), units of cost; +inf where a problem has no target with mass.

    Raises:
        ValueError: Vectors of the wrong length, or neither one temperature nor as many as problems.

    References:
        [Feydy2020, eq. 3.186]

    Example:
        >>> import torch
        >>> from isotherm.kernels import Batch, Formula
        >>> sizes = (3, 2)
        >>> batch = Batch(tuple(Formula("sqeuclidean", torch.zeros(1, 1), torch.zeros(m, 1)) for m in sizes))
        >>> batched_softmin(batch, torch.zeros(5), epsilon=1.0)  # -log 3 and -log 2
        tensor([-1.0986, -0.6931])
    """
    backend = _backend(batch, {"guess": guess}, {"h": h})
    return backend.batched_softmin(batch, h, epsilon=_temperatures(batch, epsilon), guess=guess)


def batched_hard_min(batch: Batch, h: Tensor) -> Tensor:
    """Minimum over the targets of each problem's own of cost minus potential.

        f_i = min_j C_ij - h_j,    i and j in problem b

    Time O(sum_b N_b M_b D_b); memory O(N + M).

    Args:
        batch: The costs of B problems, N sources and M targets in all.
        h: Potentials of all targets, shape (M,), units of cost; -inf removes a target.

    Returns:
        Shape (N,), units of cost; +inf where a problem has no target left.

    Raises:
        ValueError: h has the wrong length.

    References:
        [PeyreCuturi2019, eq. 5.3]

    Example:
        >>> import torch
        >>> from isotherm.kernels import Batch, Formula
        >>> batch = Batch((Formula("stored", torch.ones(1, 2)), Formula("stored", torch.tensor([[5.0, 4.0, 3.0]]))))
        >>> batched_hard_min(batch, torch.zeros(5))
        tensor([1., 3.])
    """
    return _backend(batch, {}, {"h": h}).batched_hard_min(batch, h)


def batched_plan_apply(
    batch: Batch, p: Tensor, q: Tensor, values: Tensor, *, epsilon: float | Sequence[float]
) -> Tensor:
    """Product of each problem's entropic plan with some vectors.

        (P V)_ik = sum_j exp((p_i + q_j - C_ij) / epsilon_b) V_jk,    i and j in problem b

    Time O(sum_b N_b M_b (D_b + K)); memory O((N + M) K). Differentiable as `plan_apply` is.

    Args:
        batch: The costs of B problems, N sources and M targets in all.
        p: Weighted potentials of all sources, f + epsilon log a, shape (N,), units of cost; -inf marks no mass.
        q: Weighted potentials of all targets, g + epsilon log b, shape (M,), units of cost; -inf marks no mass.
        values: V, shape (M, K).
        epsilon: Temperature > 0 of all problems, or of each of the B, units of cost.

    Returns:
        P V, shape (N, K).

    Raises:
        ValueError: Tensors of the wrong length, or neither one temperature nor as many as problems.

    Example:
        >>> import torch
        >>> from isotherm.kernels import Batch, Formula
        >>> batch = Batch((Formula("stored", torch.zeros(1, 2)), Formula("stored", torch.zeros(1, 3))))
        >>> batched_plan_apply(batch, torch.zeros(2), torch.zeros(5), torch.ones(5, 1), epsilon=1.0).round(decimals=4)
        tensor([[2.],
                [3.]])
    """
    backend = _backend(batch, {"p": p}, {"q": q, "values": values})
    return backend.batched_plan_apply(batch, p, q, values, epsilon=_temperatures(batch, epsilon))


def batched_plan_cost(batch: Batch, p: Tensor, q: Tensor, *, epsilon: float | Sequence[float]) -> Tensor:
    """Cost paid by each source under its problem's entropic plan, sum_j P_ij C_ij.

    Time O(sum_b N_b M_b D_b); memory O(N + M).

    Args:
        batch: The costs of B problems, N sources and M targets in all.
        p: Weighted potentials of all sources, shape (N,), units of cost; -inf marks no mass.
        q: Weighted potentials of all targets, shape (M,), units of cost; -inf marks no mass.
        epsilon: Temperature > 0 of all problems, or of each of the B, units of cost.

    Returns:
        Shape (N,), units of cost times mass.

    Raises:
        ValueError: Vectors of the wrong length, or neither one temperature nor as many as problems.

    Example:
        >>> import torch
        >>> from isotherm.kernels import Batch, Formula
        >>> batch = Batch((Formula("stored", torch.zeros(1, 2)), Formula("stored", torch.ones(1, 3))))
        >>> batched_plan_cost(batch, torch.tensor([0.0, 1.0]), torch.zeros(5), epsilon=1.0).round(decimals=4)
        tensor([0., 3.])
    """
    backend = _backend(batch, {"p": p}, {"q": q})
    return backend.batched_plan_cost(batch, p, q, epsilon=_temperatures(batch, epsilon))


def batched_conditional_mean(batch: Batch, h: Tensor, values: Tensor, *, epsilon: float | Sequence[float]) -> Tensor:
    """Mean of some values of the targets under P(j | i), in each problem: the barycentric maps.

        T_ik = sum_j P(j | i) V_jk,    i and j in problem b

    Time O(sum_b N_b M_b (D_b + K)); memory O((N + M) K). Differentiable as `conditional_mean` is.

    Args:
        batch: The costs of B problems, N sources and M targets in all.
        h: Weighted potentials of all targets, g + epsilon log b, shape (M,), units of cost; -inf marks no mass.
        values: V, shape (M, K).
        epsilon: Temperature > 0 of all problems, or of each of the B, units of cost.

    Returns:
        T, shape (N, K); NaN where a problem has no target with mass.

    Raises:
        ValueError: Tensors of the wrong length, or neither one temperature nor as many as problems.

    References:
        [PooladianNilesWeed2021, eq. 4]

    Example:
        >>> import torch
        >>> from isotherm.kernels import Batch, Formula
        >>> batch = Batch((Formula("stored", torch.zeros(1, 2)), Formula("stored", torch.zeros(1, 1))))
        >>> values = torch.tensor([[0.0], [1.0], [7.0]])
        >>> batched_conditional_mean(batch, torch.zeros(3), values, epsilon=1.0).round(decimals=4)
        tensor([[0.5000],
                [7.0000]])
    """
    backend = _backend(batch, {}, {"h": h, "values": values})
    return backend.batched_conditional_mean(batch, h, values, epsilon=_temperatures(batch, epsilon))


def batched_plan_grad(
    batch: Batch, p: Tensor, q: Tensor, *, epsilon: float | Sequence[float]
) -> list[tuple[Tensor, Tensor]]:
    """Derivative of each problem's <P, C> by both its clouds, the plan P held fixed.

        dx_i = sum_j P_ij dC_ij / dx_i,    dy_j = sum_i P_ij dC_ij / dy_j,    i and j in problem b

    Time O(sum_b N_b M_b D_b); memory O(sum_b (N_b + M_b) D_b). Differentiable as `plan_grad` is.

    Args:
        batch: Costs between the points of B problems, N sources and M targets in all.
        p: Weighted potentials of all sources, shape (N,), units of cost; -inf marks no mass.
        q: Weighted potentials of all targets, shape (M,), units of cost; -inf marks no mass.
        epsilon: Temperature > 0 of all problems, or of each of the B, units of cost.

    Returns:
        dx, shape (N_b, D_b), and dy, shape (M_b, D_b), of each problem, units of cost times mass per unit of length.

    Raises:
        TypeError: The costs of a problem are stored.
        ValueError: Vectors of the wrong length, or neither one temperature nor as many as problems.

    Example:
        >>> import torch
        >>> from isotherm.kernels import Batch, Formula
        >>> batch = Batch((Formula("sqeuclidean", torch.zeros(1, 1), torch.ones(1, 1)),))
        >>> by_x, by_y = batched_plan_grad(batch, torch.zeros(1), torch.ones(1), epsilon=1.0)[0]  # P = 1
        >>> round(by_x.item(), 4), round(by_y.item(), 4)
        (-2.0, 2.0)
    """
    if any(formula.y is None for formula in batch.formulas):
        msg = "A derivative by points needs points: got a stored matrix in the batch. Leave it out."
        raise TypeError(msg)
    backend = _backend(batch, {"p": p}, {"q": q})
    return backend.batched_plan_grad(batch, p, q, epsilon=_temperatures(batch, epsilon))


def batched_plan_hessian(
    batch: Batch, p: Tensor, q: Tensor, values: Tensor, *, epsilon: float | Sequence[float]
) -> Tensor:
    """Curvature of each problem's semi-dual by the potential of its sources, times some vectors; see `plan_hessian`.

        H V = (diag(r) V - P diag(1 / c) P' V) / epsilon_b,    r = P 1, c = P' 1

    Two products of `batched_plan_apply`. Time O(sum_b N_b M_b (D_b + K)); memory O((N + M) K). Differentiable as that is.

    Args:
        batch: The costs of B problems, N sources and M targets in all.
        p: Weighted potentials of all sources, f + epsilon log a, shape (N,), units of cost; -inf marks no mass.
        q: Weighted potentials of all targets, g + epsilon log b, shape (M,), units of cost; -inf marks no mass.
        values: V, shape (N, K).
        epsilon: Temperature > 0 of all problems, or of each of the B, units of cost.

    Returns:
        H V, shape (N, K), mass per unit of cost times the unit of V; zero for points without mass.

    Raises:
        ValueError: Tensors of the wrong length, or neither one temperature nor as many as problems.

    Example:
        >>> import torch
        >>> from isotherm.kernels import Batch, Formula
        >>> batch = Batch((Formula("stored", torch.zeros(2, 2)),))
        >>> batched_plan_hessian(batch, torch.zeros(2), torch.zeros(2), torch.tensor([[1.0], [3.0]]), epsilon=1.0)
        tensor([[-2.0000],
                [ 2.0000]])
    """
    temperatures = _temperatures(batch, epsilon)
    across = Batch(tuple(formula.transpose() for formula in batch.formulas))
    moved = from_products(
        lambda u: batched_plan_apply(batch, p, q, u, epsilon=temperatures),
        lambda v: batched_plan_apply(across, q, p, v, epsilon=temperatures),
        values,
    )
    each = [rows.stop - rows.start for rows, _ in batch.slices()]
    return moved / values.new_tensor(temperatures).repeat_interleave(torch.tensor(each, device=values.device))[:, None]


def _backend(batch: Batch, sources: dict[str, Tensor | None], targets: dict[str, Tensor]) -> Any:
    """Who reduces a batch with these tensors, after a check of their lengths."""
    for length, side, tensors in zip(batch.shape, ("sources", "targets"), (sources, targets), strict=True):
        for name, tensor in tensors.items():
            rank = 2 if name == "values" else 1
            if tensor is not None and (tensor.ndim != rank or tensor.shape[0] != length):
                wanted = f"({length}, columns)" if rank == 2 else f"({length},)"
                msg = (
                    f"`{name}` must have shape {wanted}, the {side} of all problems: got {tuple(tensor.shape)}. "
                    f"Join what belongs to each problem with torch.cat."
                )
                raise ValueError(msg)
    given = *sources.values(), *targets.values(), *batch.tensors
    backend = choose((cpu, gpu, reference), batch.formulas[0], *given)
    return backend if is_eager(*given) else reference


def _temperatures(batch: Batch, epsilon: float | Sequence[float]) -> Temperatures:
    """The temperature of each problem."""
    temperatures = (float(epsilon),) * len(batch) if isinstance(epsilon, float | int) else tuple(map(float, epsilon))
    if len(temperatures) != len(batch):
        msg = (
            f"`epsilon` must be one temperature or one for each of the {len(batch)} problems: got {len(temperatures)}. "
            f"Repeat it where problems share one."
        )
        raise ValueError(msg)
    return temperatures
