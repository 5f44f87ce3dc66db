"""Repair of a plan so that its balanced marginals hold exactly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from isotherm.objective import soft_transform

if TYPE_CHECKING:
    from isotherm.problem import Problem


@dataclass(frozen=True, eq=False, kw_only=True)
class FeasiblePlan:
    """The plan A + B: A scales columns of an entropic plan, B = missing_a missing_b' / mass adds what is left.

    Attributes:
        f: Potential of the sources after one soft c-transform, shape (N,), units of cost.
        g: Potential of the targets with the column scaling absorbed, shape (M,).
        row_mass: Row sums of A, shape (N,).
        column_mass: Column sums of A, shape (M,).
        missing_a: What A lacks of a balanced source marginal, shape (N,), non-negative; zero if unbalanced.
        missing_b: What A lacks of the target marginal, shape (M,).
        plan_mass: Mass of the plan before the repair, a float64 scalar.
        dual_g: Potential of the targets before the repair, for the dual bound.
    """

    f: Tensor
    g: Tensor
    row_mass: Tensor
    column_mass: Tensor
    missing_a: Tensor
    missing_b: Tensor
    plan_mass: Tensor
    dual_g: Tensor

    @property
    def missing(self) -> Tensor:
        """Total mass of the rank-one part B, a scalar."""
        return self.missing_a.sum()


def make_feasible(problem: Problem, g: Tensor) -> FeasiblePlan:
    """Round the plan of some potential to one that meets the balanced marginals.

    A soft c-transform makes the rows right; columns are then scaled by min(1, b / c), and what the rows lost is
    put back as a rank-one term. Where only the targets are balanced, columns are scaled by b / c and nothing is
    missing. Time: three passes over all pairs; memory O(N + M).

    Args:
        problem: The problem; its dtype is the working precision.
        g: Potential of the targets, shape (M,), units of cost; any finite values.

    Returns:
        The pieces of the feasible plan.

    References:
        [Altschuler2017, algorithm 2]
    """
    epsilon = problem.epsilon
    log_a, log_b = problem.log_weights
    rows = problem.tilted_geometry.for_iteration()
    columns = problem.tilted_geometry.transpose().for_iteration()
    f, row_mass = soft_transform(problem, g)
    sources = torch.ones(problem.a.shape[0], 1, dtype=g.dtype, device=g.device)
    targets = torch.ones(problem.b.shape[0], 1, dtype=g.dtype, device=g.device)
    c = columns.plan_apply(g + log_b, f + log_a, sources, epsilon=epsilon)[:, 0]  # (M,)
    scaling = torch.ones_like(c)
    if math.isinf(problem.rho_b):
        scaling = torch.where(c > 0, problem.b / c, 1.0)
        scaling = scaling.clamp(max=1.0) if problem.is_balanced else scaling
    scaled_g = g + epsilon * scaling.log()
    r = rows.plan_apply(f + log_a, scaled_g + log_b, targets, epsilon=epsilon)[:, 0]  # (N,)
    missing_a, missing_b = torch.zeros_like(r), torch.zeros_like(c)
    if problem.is_balanced:
        missing_a, missing_b = (problem.a - r).clamp(min=0.0), (problem.b - scaling * c).clamp(min=0.0)
    return FeasiblePlan(
        f=f,
        g=scaled_g,
        row_mass=r,
        column_mass=scaling * c,
        missing_a=missing_a,
        missing_b=missing_b,
        plan_mass=row_mass.sum(dtype=torch.float64),
        dual_g=g,
    )
