"""What `solve` and its kin return, by POT's names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from isotherm._optional import require

if TYPE_CHECKING:
    from isotherm.coupling import AbstractCoupling


@dataclass(frozen=True, eq=False)
class LazyPlan:
    """A plan computed where it is looked at: `plan[2:5]`, `plan[:, 0]`, `plan[:]`.

    Attributes:
        coupling: The plan as a lazy matrix.

    Example:
        >>> import isotherm
        >>> solution = isotherm.solve(torch.zeros(2, 1), torch.zeros(3, 1), epsilon=1.0)
        >>> LazyPlan(solution.coupling)[0].shape
        torch.Size([1, 3])
    """

    coupling: AbstractCoupling

    @property
    def shape(self) -> tuple[int, int]:
        """Number of sources and of targets."""
        return self.coupling.shape

    def __getitem__(self, key: Any) -> Any:
        """A block of the plan, shape (n, m); a number selects a row or a column of its own."""
        rows, columns = key if isinstance(key, tuple) else (key, slice(None))
        rows, columns = (_as_range(part, size) for part, size in zip((rows, columns), self.shape, strict=True))
        return self.coupling.namespace.export(self.coupling.plan_rows(rows)[:, columns])


def _as_range(part: Any, size: int) -> Any:
    return torch.arange(size)[part].reshape(-1) if isinstance(part, int) else part


class OTResult:
    """Everything that is known about a solution; None where it is not.

    Dense plans are made from lazy ones when they are asked for.

    Args:
        potentials: For the sources (N,) and the targets (M,). Balanced with a temperature: log_u and log_v, without unit
            and with the weights in them, P = exp(log_u + log_v - M / reg). Unbalanced: without the weights. Exact:
            prices in units of cost.
        value: The minimised objective, a scalar, or (B,) for a batch.
        value_linear: <C, P>.
        value_quad: Not used by linear problems.
        plan: Shape (N, M) or (B, N, M).
        sparse_plan: The same as a sparse matrix.
        lazy_plan: The same, computed where it is looked at.
        status: How the solve ended, in a sentence.
        log: `niter`, `err` (L1 error of the marginals) and `solution`, the `isotherm.Solution`; lists of them for a batch.

    Example:
        >>> OTResult(value=1.0)
        OTResult(value=1.0)
    """

    _backend = None  # the original's tests look at it

    def __init__(
        self,
        *,
        potentials: tuple[Any, Any] | None = None,
        value: Any = None,
        value_linear: Any = None,
        value_quad: Any = None,
        plan: Any = None,
        sparse_plan: Any = None,
        lazy_plan: LazyPlan | None = None,
        status: str | None = None,
        log: dict[str, Any] | None = None,
    ) -> None:
        self.potentials, self.status, self.log = potentials, status, log
        self.value, self.value_linear, self.value_quad = value, value_linear, value_quad
        self.lazy_plan = lazy_plan
        self._plan, self._sparse_plan = plan, sparse_plan

    def __repr__(self) -> str:
        parts = [
            f"{name}={getattr(self, name)}" for name in ("value", "value_linear") if getattr(self, name) is not None
        ]
        plans = (("plan", self._plan), ("lazy_plan", self.lazy_plan))
        parts += [f"{name}={type(p).__name__}(shape={tuple(p.shape)})" for name, p in plans if p is not None]
        return f"OTResult({','.join(parts)})"

    @property
    def potential_a(self) -> Any:
        """Potential of the sources."""
        return None if self.potentials is None else self.potentials[0]

    @property
    def potential_b(self) -> Any:
        """Potential of the targets."""
        return None if self.potentials is None else self.potentials[1]

    @property
    def plan(self) -> Any:
        """The dense plan, made where it is not there yet."""
        if self._plan is not None:
            return self._plan
        if self.lazy_plan is not None:
            return self.lazy_plan.coupling.to_dense()
        if self._sparse_plan is not None:
            return (
                self._sparse_plan.to_dense() if isinstance(self._sparse_plan, Tensor) else self._sparse_plan.toarray()
            )
        return None

    @property
    def sparse_plan(self) -> Any:
        """The plan as `scipy.sparse.csr_array`, or as a sparse COO tensor."""
        if self._sparse_plan is not None:
            return self._sparse_plan
        plan = self.plan
        if plan is None or isinstance(plan, Tensor):
            return None if plan is None else plan.to_sparse()
        return require("scipy.sparse", extra="exact", why="hold a sparse matrix").csr_array(plan)

    @property
    def marginals(self) -> tuple[Any, Any] | None:
        """Sums of the plan over targets and over sources."""
        if self._plan is None and self.lazy_plan is not None:
            return tuple(self.lazy_plan.coupling.marginals())  # pyright: ignore[reportReturnType] - it is a pair
        plan = self.plan
        return None if plan is None else (plan.sum(-1), plan.sum(-2))

    @property
    def marginal_a(self) -> Any:
        """Sums of the plan over targets."""
        return None if self.marginals is None else self.marginals[0]

    @property
    def marginal_b(self) -> Any:
        """Sums of the plan over sources."""
        return None if self.marginals is None else self.marginals[1]

    @property
    def a_to_b(self) -> Any:
        """Not known to the original either."""
        msg = "Displacements are not part of a result: got none. Use isotherm.solve(...).coupling.barycentric_map()."
        raise NotImplementedError(msg)

    @property
    def b_to_a(self) -> Any:
        """Not known to the original either."""
        return self.a_to_b
