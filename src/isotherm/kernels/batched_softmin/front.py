"""The public face of this reduction: documents it, and lets the fastest backend that can do it."""

from collections.abc import Sequence

from torch import Tensor

from isotherm.kernels.batched_softmin.batch import Batch
from isotherm.kernels.dispatch import choose

from . import cpu, reference


def batched_softmin(
    batch: Batch, h: Tensor, *, epsilon: float | Sequence[float], guess: Tensor | None = None
) -> Tensor:
    """Smoothed minimum of cost minus potential over the targets of each problem's own.

        f_i = -epsilon_b log sum_j exp((h_j - C_ij) / epsilon_b),    i and j in problem b

    Fused, one call reduces all problems, each by one thread; where a derivative is asked for, or torch.compile traces
    the call, each problem is an operator of its own. Time O(sum_b N_b M_b D); memory O(N + M). Differentiable as
    `softmin` is.

    Args:
        batch: The costs of B problems, N sources and M targets in all.
        h: Weighted potentials of all targets, g + epsilon log b, shape (M,), units of cost; -inf marks no mass.
        epsilon: Temperature > 0 of all problems, or of each of the B, units of cost.
        guess: About what will come out, shape (N,), such as the potentials of the last iteration.

    Returns:
        Potentials of all sources, shape (N,), units of cost; +inf where a problem has no target with mass.

    Raises:
        ValueError: As many temperatures as problems were expected, or one.

    References:
        [Feydy2020, eq. 3.186]

    Example:
        >>> import torch
        >>> from isotherm.kernels import Formula
        >>> batch = Batch(Formula("sqeuclidean", torch.zeros(2, 1), torch.zeros(5, 1)), (0, 1, 2), (0, 3, 5))
        >>> batched_softmin(batch, torch.zeros(5), epsilon=1.0)  # -log 3 and -log 2
        tensor([-1.0986, -0.6931])
    """
    temperatures = (float(epsilon),) * len(batch) if isinstance(epsilon, float | int) else tuple(epsilon)
    if len(temperatures) != len(batch):
        msg = (
            f"`epsilon` must be one temperature or one for each of the {len(batch)} problems: got {len(temperatures)}. "
            f"Repeat it where problems share one."
        )
        raise ValueError(msg)
    backend = choose((cpu, reference), batch.formula, h, guess)
    return backend.batched_softmin(batch, h, epsilon=temperatures, guess=guess)
