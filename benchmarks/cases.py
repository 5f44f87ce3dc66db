"""What is timed: reductions, sizes and dtypes, the work each one cannot avoid, and the suites made of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import product

STORED = 0  # the "dimension" of a stored cost matrix
DIMENSIONS = (2, 3, 8, 16, 30, 32, 64)
MAX_DIFFERENCES = 8  # up to here squared distances come from differences, above from inner products

OPERATIONS = {
    "softmin": "softmin, guess given",
    "softmin_cold": "softmin, no guess",
    "hard_min": "hard minimum",
    "plan_apply_1": "plan @ 1 vector",
    "plan_apply_3": "plan @ 3 vectors",
    "plan_cost": "cost paid by each row",
    "conditional_mean": "barycentric map",
    "step": "whole Sinkhorn iteration",
    "plan_grad": "derivative by both clouds",
}
FIRST = "isotherm"  # the implementation that the others are compared with


@dataclass(frozen=True)
class Case:
    """One reduction on one problem.

    Attributes:
        operation: A key of `OPERATIONS`.
        d: Features of the points; `STORED` for a cost matrix in memory.
        n: Sources, and as many targets.
        dtype: "float32" or "float64".
    """

    operation: str
    d: int
    n: int
    dtype: str = "float32"

    @property
    def pairs(self) -> int:
        """Pairs that the reduction visits."""
        return self.n * self.n

    @property
    def geometry(self) -> str:
        """The column it stands in."""
        return "stored" if self.d == STORED else f"D={self.d}"

    @property
    def is_possible(self) -> bool:
        """Whether the operation is defined, and a stored matrix fits an ordinary machine."""
        if self.d == STORED:
            return self.operation not in {"plan_grad", "conditional_mean"} and self.n <= 20_000
        return True

    def as_dict(self) -> dict[str, str | int]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Work:
    """What one pair costs at least, whatever the implementation.

    Attributes:
        operations: Additions, multiplications, fused or not, and maxima: one slot of a vector unit each.
        exponentials: Exponentials, each with the addition or the fused multiply-add that uses it.
        bytes: Read from memory.
    """

    operations: int
    exponentials: int
    bytes: int


def work(case: Case) -> Work:
    """Count the least work of a case for each pair.

    A base cost takes 2 D operations from differences and D from inner products; a score h - slope * base - shift takes
    two more. A softmin without a guess also has to find the maximum. One pass is counted wherever one pass can do.
    """
    if case.d == STORED:
        base, size = 0, 4 if case.dtype == "float32" else 8
    else:
        base, size = (2 if case.d <= MAX_DIFFERENCES else 1) * case.d, 0
    has_norms = case.d > MAX_DIFFERENCES
    extra, exponentials = {
        "softmin": (2, 1),
        "softmin_cold": (3, 1),
        "hard_min": (2, 0),
        "plan_apply_1": (2, 1),
        "plan_apply_3": (4, 1),
        "plan_cost": (3 + 2 * has_norms, 1),  # the cost itself again; with norms it is clamped at zero
        "conditional_mean": (3 + case.d, 1),
        "step": (3, 1),  # the row's sum is in the exponential; one more for the column's
        "plan_grad": (2 + (2 if case.d <= MAX_DIFFERENCES else 3) * case.d, 1),
    }[case.operation]
    return Work(base + extra, exponentials, size)


def suite(name: str) -> tuple[list[Case], list[Case]]:
    """Cases of a suite: those that isotherm runs alone, and those where it meets the others.

    Args:
        name: "smoke" (a second), "short" (`make bench`), "peers" (`make bench-peers`) or "full" (all of it).

    Raises:
        ValueError: No suite has this name.
    """
    duel = [Case("softmin_cold", d, n) for n, d in product((10_000, 50_000), (3, 30))]
    if name == "smoke":
        return [Case("step", 3, 300), Case("plan_grad", 16, 300, "float64")], [Case("softmin_cold", 3, 300)]
    if name == "peers":
        return [Case("softmin", d, n) for n, d in product((10_000, 50_000), (3, 30))], duel
    if name == "short":
        alone = [Case(o, d, 10_000) for d, o in product((*DIMENSIONS, STORED), OPERATIONS)]
        alone += [Case(o, d, 10_000, "float64") for d, o in product((3, 32), OPERATIONS)]
        alone += [Case(o, d, 50_000) for d, o in product((3, 30), ("softmin", "step"))]
        return [case for case in alone if case.is_possible and case not in duel], duel
    if name == "full":
        alone = [
            Case(o, d, n, dtype)
            for n, dtype, d, o in product((10_000, 50_000), ("float32", "float64"), (*DIMENSIONS, STORED), OPERATIONS)
        ]
        return [case for case in alone if case.is_possible and case not in duel], duel
    msg = f"A suite must be one of smoke, short, peers, full: got {name!r}."
    raise ValueError(msg)
