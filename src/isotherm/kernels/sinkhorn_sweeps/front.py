"""The public face of this reduction: documents it, and lets the fastest backend that can do it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from isotherm.kernels.dispatch import choose
from isotherm.kernels.source import CostSource

from . import cpu, reference
from .sweeps import Sweeps, Swept

if TYPE_CHECKING:
    from types import ModuleType


def sinkhorn_sweeps(problems: Sequence[Sweeps]) -> list[Swept]:
    """Relaxed updates of both potentials of each of many problems, several times over.

        c  = the constant that is best moved from g to f (0 where both marginals are constraints)
        s  = -epsilon log sum_j b_j exp((g_j - C_ij) / epsilon) + c
        f <- (1 - omega) (f + c) + omega s / (1 + epsilon / rho_a)
        t  = -epsilon log sum_i a_i exp((f_i - C_ij) / epsilon)
        g <- (1 - omega) (g - c) + omega t / (1 + epsilon / rho_b)

    A problem stops by itself: when its residual is no more than its tolerance, when its dual value drops, or when it has
    made its sweeps. Fused, each problem is done by one thread, and one problem alone by all; the exponentials of one
    sweep are kept, and the next are products with them, as long as no potential moves too far and no sum is too small
    beside what underflowed. Where a tolerance is given, exponentials that it cannot see are left out near the solution, in
    panels of a few rows and columns: points in an order of cells (`sort_into_cells`) gain most. What is kept goes on to the
    next block of sweeps as `Swept.kernel`. Time O(N M) a sweep and O(N M D) now and then, memory O(N M) for each problem
    in work. Between the nodes of grids (`GridCosts`) a sweep goes axis by axis, as `axis_log_sum` does, and the matrices
    of the axes are kept; time O((N + M) sum_d (n_d + m_d)), memory O(N + M). Plain torch pads the problems to one size.
    Not differentiable.

    Args:
        problems: Where each starts, and its settings; all of any sizes.

    Returns:
        What each came to, in the same order.

    References:
        [SinkhornKnopp1967], [Schmitzer2019, section 3.1], [Sejourne2022, proposition 4], [Thibault2021]

    Example:
        >>> import torch
        >>> from isotherm.kernels import Formula
        >>> costs = Formula("stored", torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
        >>> half, zero = torch.full((2,), 0.5), torch.zeros(2)
        >>> one = Sweeps(costs=costs, a=half, b=half, f=zero, g=zero, epsilon=1.0, count=3)
        >>> found = sinkhorn_sweeps([one])[0]
        >>> found.f, len(found.residuals)  # log 2 - log(1 + 1 / e)
        (tensor([0.3799, 0.3799]), 3)
    """
    served: dict[ModuleType, list[int]] = {}
    for k, p in enumerate(problems):
        served.setdefault(choose((cpu, reference), p.costs, p.a, p.b, p.f, p.g, p.last_softmin), []).append(k)
    found: dict[int, Swept] = {}
    for module, mine in served.items():
        found.update(zip(mine, module.sinkhorn_sweeps([problems[k] for k in mine]), strict=True))
    return [found[k] for k in range(len(problems))]


def is_swept(costs: CostSource, *tensors: Tensor) -> bool:
    """Whether `sinkhorn_sweeps` keeps exponentials between sweeps here; otherwise it does what two softmins would."""
    return choose((cpu, reference), costs, *tensors) is cpu
