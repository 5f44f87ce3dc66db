"""How a solve ended, in one word and one sentence of advice."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Outcome(Enum):
    """The ways in which a solve can end."""

    CONVERGED = "converged"
    EXACT = "exact"
    MAX_ITERATIONS = "max_iterations"
    PRECISION = "precision"
    NON_FINITE = "non_finite"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, kw_only=True)
class Status:
    """Outcome of a solve with advice on what to do next.

    Not converging is not an exception: potentials and bounds are still valid, and this object says what to change.

    Attributes:
        outcome: One of `Outcome`.
        advice: A sentence for the user; never empty.
    """

    outcome: Outcome
    advice: str

    @property
    def is_converged(self) -> bool:
        """True when the answer meets the tolerance that was asked for."""
        return self.outcome in (Outcome.CONVERGED, Outcome.EXACT)

    def __str__(self) -> str:
        return f"{self.outcome.value}: {self.advice}"


class ConvergenceWarning(UserWarning):
    """The returned solution does not meet its tolerance; its `status` says what to change."""
