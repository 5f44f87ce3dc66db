"""How welcome is a cause? Ways to find the potential w under which posteriors add up to the prior."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from isotherm._checks import check_positive
from isotherm.geometry import CostMatrix
from isotherm.solvers import solve


class Causes(NamedTuple):
    """What a critic learns from: causes of the prior, and of the posteriors of a batch with their shares of all mass."""

    prior: Tensor  # (P, K)
    posterior: Tensor  # (Q, K)
    share: Tensor  # (Q,), sums to one


class NoCritic(nn.Module):
    """w = 0: nothing makes posteriors add up to the prior, and what is left is a variational autoencoder's bound, tight."""

    def forward(self, z: Tensor) -> Tensor:
        """Zeros, shape (n,)."""
        return z.new_zeros(len(z))

    def loss(self, causes: Causes, gamma: float) -> Tensor:  # the same question as to all critics
        """Nothing to learn."""
        return causes.prior.new_zeros(())


class DualCritic(nn.Module):
    """w climbs the dual D(w) = E_prior[w] + E_x[Psi]: up where the prior is, down where the posteriors are.

        grad D = E_prior[grad w] - E_x E_q*[grad w]

    D does not see a constant added to w: w is measured from its mean over the prior draws of the batch. The penalty takes
    penalty / (2 gamma) E_prior[w^2] off the dual; at its maximum the posteriors add up to the prior times
    1 - penalty w / gamma.

    Args:
        network: (n, K) -> (n, 1) or (n,).
        penalty: Of w^2, relative to the temperature; zero for none.

    References:
        [Genevay2016]
    """

    def __init__(self, network: nn.Module, penalty: float) -> None:
        super().__init__()
        self.network, self.penalty = network, penalty

    def forward(self, z: Tensor) -> Tensor:
        """w, shape (n,)."""
        return self.network(z).reshape(len(z))

    def loss(self, causes: Causes, gamma: float) -> Tensor:
        """Minus the dual's part that w moves, less the penalty; a scalar."""
        prior = self(causes.prior)
        level = prior.mean()  # the gauge
        rise = level - causes.share @ self(causes.posterior)
        return 0.5 * self.penalty / gamma * (prior - level).square().mean() - rise


class RatioCritic(nn.Module):
    """w gathers logarithms of ratios: w <- w + gamma log(p_Z / q_Z), q_Z the posteriors of the batch together.

    This is Sinkhorn's update of the potential. The ratio is the logit d of a discriminator between causes of the prior (one)
    and of the posteriors (zero), as in an adversarial autoencoder; it minimises

        -E_prior[log sigmoid(d)] - E_x E_q*[log sigmoid(-d)]

    and is log(p_Z / q_Z) at the minimum. w is a network too, and takes the update by regression on causes of the prior,

        E_prior[(w - stop(w + gamma d))^2] / 2,    whose gradient is -gamma E_prior[d grad w]

    each optimiser step a little of the way. It rests where d = 0 on the prior: where posteriors add up to it. w has to move
    more slowly than d, or it swings about that point: their learning rates say how much.

    Args:
        network: w, (n, K) -> (n, 1) or (n,).
        discriminator: d, likewise.
    """

    def __init__(self, network: nn.Module, discriminator: nn.Module) -> None:
        super().__init__()
        self.network, self.discriminator = network, discriminator

    def forward(self, z: Tensor) -> Tensor:
        """w, shape (n,)."""
        return self.network(z).reshape(len(z))

    def loss(self, causes: Causes, gamma: float) -> Tensor:
        """Discriminator's loss, and the regression of w; a scalar."""
        real = self.discriminator(causes.prior).reshape(-1)
        fake = self.discriminator(causes.posterior).reshape(-1)
        told_apart = softplus(-real).mean() + causes.share @ softplus(fake)  # softplus(-d) = -log sigmoid(d)
        w = self(causes.prior)
        missed = w - (w + gamma * real).detach()
        return told_apart + 0.5 * missed.square().mean()


class SinkhornCritic(nn.Module):
    """w as the entropic potential between observations and causes: solved for, not learnt.

    In training it is that of each batch and its candidates. Afterwards it is known at fixed draws from the prior, which are
    then all the causes there are.

    Args:
        points: Those draws, shape (P, K).
        tolerance: L1 error of the marginals at which a solve ends.
    """

    points: Tensor  # (P, K)
    values: Tensor  # (P,)
    is_known: Tensor  # (), bool

    def __init__(self, points: Tensor, tolerance: float) -> None:
        super().__init__()
        self.tolerance = check_positive(tolerance, "tolerance")
        self.register_buffer("points", points)
        self.register_buffer("values", points.new_zeros(len(points)))
        self.register_buffer("is_known", torch.tensor(False))  # noqa: FBT003 - a tensor's value

    def solve(self, costs: Tensor, gamma: float) -> Tensor:
        """w_m, shape (M,), of mean zero: potential g between n observations and M causes, all with equal weights.

        With it softmax_m((w_m - c_im) / gamma) are the rows of the plan, and Psi is the other potential f.

        Args:
            costs: c, shape (n, M).
            gamma: Temperature.

        Returns:
            In the dtype of the costs.
        """
        solution = solve(CostMatrix(costs.detach()), epsilon=gamma, tolerance=self.tolerance, on_failure="ignore")
        w = solution.g.to(costs.dtype)
        return w - w.mean()

    def remember(self, costs: Tensor, gamma: float) -> None:
        """Solve for w at the points.

        Args:
            costs: c of observations with them, shape (n, P).
            gamma: Temperature.
        """
        self.values.copy_(self.solve(costs, gamma))
        self.is_known.fill_(value=True)

    def loss(self, causes: Causes, gamma: float) -> Tensor:
        """Nothing to learn."""
        return causes.prior.new_zeros(())


Critic = NoCritic | DualCritic | RatioCritic | SinkhornCritic


def cooled(start: float | None, end: float, progress: float) -> float:
    """Temperature on the way from start to end, geometric in progress; the end's where there is no start."""
    return end if start is None else start * (end / start) ** progress
