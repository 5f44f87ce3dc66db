"""Boltzmann posteriors: causes weighted by how well they explain, at a temperature."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from isotherm._checks import check_choice, check_count, check_finite, check_positive
from isotherm.posterior.conditioning import condition
from isotherm.posterior.forward import LinearForward, PartlyLinearForward
from isotherm.posterior.mode import Mode, climb
from isotherm.posterior.observation import AbstractObservation, Direct
from isotherm.posterior.reference import AbstractReference, Candidates, GaussianReference, SampleReference, even, normal
from isotherm.posterior.reweighting import EffectiveSizeWarning, Reweighted, seeded

if TYPE_CHECKING:
    from isotherm.posterior.chains import Chains
    from isotherm.posterior.langevin import Langevin

EVERYTHING = Direct()
AT_ONCE = 1 << 25  # numbers in memory while linear causes are integrated out
LEAST_EFFECTIVE = 5.0  # candidates below which a posterior is not to be trusted


class _Scored(NamedTuple):
    """Candidates, and what to weigh them by: G / gamma, less what the proposal has accounted for."""

    z: Tensor  # (M, K) or (n, M, K)
    logits: Tensor  # (n, M), with the candidates' own weights


@dataclass(frozen=True, eq=False)
class Posterior:
    """The law of causes z of an observation x, hotter or colder.

        q*(z | x) ∝ kappa(z | x) exp(G(z; x) / gamma),    G(z; x) = w(z) - lam/2 |x - A(z)|^2

    gamma is the dial: at 0 the one cause that explains best, at infinity the reference kappa, whatever was observed. With
    the transport potential of the causes as w, these are the rows of an entropic plan between observations and causes.

    Attributes:
        forward: A, what a cause looks like: (n, K) -> (n, ...). A `LinearForward` is conditioned on exactly, and so is the
            linear part of a `PartlyLinearForward`.
        reference: kappa, where candidates come from.
        potential: w, how welcome a cause is: a function (n, K) -> (n,), or with `SampleReference` the values (M,) at its
            points; zero when left out. A constant added to it changes nothing but the free energy.
        lam: Price of misfit, per squared unit and twice.
        gamma: Temperature, in units of G.
        observation: What is seen of A(z), where that is not everything: misfit is then lam/2 |y - O A(z)|^2, with each
            observation's own O. Observations x are packed by it.

    Raises:
        ValueError: A setting is not positive, or values of the potential that do not fit the points.

    Example:
        >>> prior = GaussianReference(torch.zeros(1))
        >>> posterior = Posterior(LinearForward(torch.eye(1)), prior, lam=1.0, gamma=0.5)
        >>> found = posterior.reweight(torch.tensor([[3.0]]), 4000, generator=torch.Generator().manual_seed(0))
        >>> bool((found.mean - 2.0).abs() < 0.03)
        True
    """

    forward: Callable[[Tensor], Tensor]
    reference: AbstractReference
    potential: Callable[[Tensor], Tensor] | Tensor | None = None
    lam: float = 1.0
    gamma: float = 1.0
    observation: AbstractObservation = EVERYTHING

    def __post_init__(self) -> None:
        check_positive(self.lam, "lam")
        check_positive(self.gamma, "gamma")
        if isinstance(self.potential, Tensor):
            if not isinstance(self.reference, SampleReference):
                msg = "`potential` must be a function unless causes are given by SampleReference: got a tensor. Pass a function of z."
                raise ValueError(msg)
            if self.potential.shape != self.reference.points.shape[:1]:
                msg = f"`potential` must have one value per point, shape ({len(self.reference.points)},): got {tuple(self.potential.shape)}. Pass the potential of the same points."
                raise ValueError(msg)

    def at(self, gamma: float) -> Posterior:
        """The same at another temperature."""
        return replace(self, gamma=gamma)

    # What it is made of ------------------------------------------------------------------------------

    def misfit(self, z: Tensor, x: Tensor) -> Tensor:
        """lam/2 |x_i - A(z_i)|^2, shape (n,), for causes (n, K); differentiable in both and in parameters of A."""
        return self.lam * self.observation.misfit(x, self.forward(z))

    def utility(self, z: Tensor, x: Tensor) -> Tensor:
        """G(z_i; x_i), shape (n,), for causes (n, K); differentiable."""
        if isinstance(self.potential, Tensor):
            msg = "`utility` of any cause needs the potential as a function: got its values at given points. Use `reweight`."
            raise TypeError(msg)
        return -self.misfit(z, x) if self.potential is None else self.potential(z) - self.misfit(z, x)

    def energy(self, z: Tensor, x: Tensor) -> Tensor:
        """U(z_i; x_i) = -G / gamma - log kappa, shape (n,): q* ∝ exp(-U)."""
        return -self.utility(z, x) / self.gamma - self.reference.log_density(z, x)

    # What it says ------------------------------------------------------------------------------------

    @torch.no_grad()
    def reweight(
        self,
        x: Tensor,
        count: int | None = None,
        *,
        proposal: str = "auto",
        generator: torch.Generator | None = None,
        least_effective: float = LEAST_EFFECTIVE,
    ) -> Reweighted:
        """Draw candidates and weigh them: self-normalised importance sampling.

            T*(x_i) = sum_m softmax_m(G(z_m; x_i) / gamma) z_m,    z_m ~ kappa

        Time: M evaluations of A where observations share their candidates, else n M; memory O(n M). The error falls like
        the root of the effective number of candidates.

        Args:
            x: Observations, shape (n, ...), in the space of A's values.
            count: M, a thousand when left out; all points of a `SampleReference`.
            proposal: "reference" draws from kappa; "conditioned" draws what A is linear in from kappa given x, exactly, which
                takes a `GaussianReference` and a `LinearForward`, and leaves only the potential to weigh, or a
                `PartlyLinearForward`, whose other numbers are drawn from kappa and weighed with the last ones integrated
                out; "auto" does so where it can.
            generator: Source of randomness; a freshly seeded one when left out.
            least_effective: An `EffectiveSizeWarning` is given where an observation has fewer effective candidates.

        Returns:
            Candidates, weights, free energies, detached.

        Raises:
            ValueError: Observations that are no numbers, or a proposal that cannot be.
            FloatingPointError: Utilities that are no numbers.
        """
        scored = self._scored(x, count, proposal, seeded(generator))
        log_mass = scored.logits.logsumexp(1)
        if not log_mass.isfinite().all():
            msg = f"Utilities must be finite somewhere: got none for {int((~log_mass.isfinite()).sum())} observations. Look at the values of `forward` and `potential`."
            raise FloatingPointError(msg)
        weights = (scored.logits - log_mass[:, None]).exp()
        found = Reweighted(z=scored.z, weights=weights, free_energy=-self.gamma * log_mass)
        _warn_of_few(found.effective_size, weights.shape[1], least_effective)
        return found

    @torch.no_grad()
    def sample(
        self,
        x: Tensor,
        draws: int,
        *,
        count: int | None = None,
        generator: torch.Generator | None = None,
        least_effective: float = LEAST_EFFECTIVE,
    ) -> Tensor:
        """Causes drawn from q*(z | x_i).

        Candidates are drawn again by weight. With a `PartlyLinearForward` only the first numbers are: the linear ones are
        integrated out of the weights, and drawn anew each time from their Gaussian given the first.

        Args:
            x: Observations, shape (n, ...).
            draws: Causes for each.
            count: M, candidates that they are chosen from; a thousand when left out.
            generator: Source of randomness; a freshly seeded one when left out.
            least_effective: As for `reweight`.

        Returns:
            Shape (n, draws, K).

        Raises:
            ValueError: A potential that depends on the linear numbers of a `PartlyLinearForward`.

        Example:
            >>> forward = PartlyLinearForward(lambda h: h.abs(), torch.eye(1))
            >>> posterior = Posterior(forward, GaussianReference(torch.zeros(2)), gamma=0.01)
            >>> z = posterior.sample(torch.ones(5, 1), 4, generator=torch.Generator().manual_seed(0))
            >>> bool((z[..., 0].abs() + z[..., 1] - 1.0).abs().max() < 0.5)
            True
        """
        generator, x = seeded(generator), check_observations(x)
        check_count(draws, "draws")
        if self._linear() is None or isinstance(self.forward, LinearForward):
            return self.reweight(x, count, generator=generator, least_effective=least_effective).sample(
                draws, generator=generator
            )
        count = check_count(1000 if count is None else count, "count")
        at_once = max(1, AT_ONCE // (count * self.forward.matrix.shape[1]))
        parts = [self._sampled(part, draws, count, generator) for part in x.split(at_once)]
        _warn_of_few(torch.cat([effective for _, effective in parts]), count, least_effective)
        return torch.cat([z for z, _ in parts])

    def free_energy(
        self,
        x: Tensor,
        count: int | None = None,
        *,
        proposal: str = "auto",
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """What the observation costs at this temperature, all causes considered.

            Psi(x_i) = -gamma log E_kappa[exp(G(z; x_i) / gamma)] ≈ -gamma log mean_m exp(G(z_m; x_i) / gamma)

        Differentiable in x, in parameters of A and of w, and in the centre of the reference; its derivatives are means
        under q*: lam (x - E A(z)) in x. The estimate is too high, by about gamma Var / (2 M) of relative weights; exact
        without a potential where the proposal is conditioned, and for `SampleReference`.

        Args:
            x: Observations, shape (n, ...).
            count: Candidates, as for `reweight`.
            proposal: As for `reweight`.
            generator: Source of randomness; a freshly seeded one when left out.

        Returns:
            Shape (n,), units of G.
        """
        scored = self._scored(x, count, proposal, seeded(generator))
        return -self.gamma * scored.logits.logsumexp(1)

    @torch.no_grad()
    def langevin(
        self,
        x: Tensor,
        settings: Langevin,
        *,
        chains: int = 4,
        start: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Chains:
        """Chains that sample q*(z | x_i), all at once.

        Args:
            x: Observations, shape (n, ...).
            settings: Step, number of steps, method.
            chains: Chains for each observation, where they start from the reference.
            start: Where they start instead, shape (chains, n, K) or (n, K), for instance `last` of earlier chains, which
                makes them persistent.
            generator: Source of randomness; a freshly seeded one when left out.

        Returns:
            Draws with energies, R-hat, effective sizes, acceptance.

        Raises:
            TypeError: The reference has no density.
            FloatingPointError: A chain has run away.
        """
        generator, x = seeded(generator), check_observations(x)
        if isinstance(self.reference, SampleReference):
            self.reference.log_density(x, x)  # which refuses
        if start is None:
            check_count(chains, "chains")
            each = self.reference.draw(x, chains * len(x) if self.reference.is_shared else chains, generator).z
            start = each.reshape(chains, len(x), -1) if each.ndim == 2 else each.transpose(0, 1)
        elif start.ndim == 2:
            start = start[None]
        many = len(start)
        wide = x.expand(many, *x.shape).flatten(0, 1)

        def energy(z: Tensor) -> Tensor:
            return self.energy(z.flatten(0, 1), wide).reshape(many, len(x))

        return settings.run(energy, start, generator)

    @torch.no_grad()
    def covariance_at(self, z: Tensor, x: Tensor) -> Tensor:
        """Covariance of the causes of x_i, were A linear with its derivatives at z_i: Gauss and Newton's.

            (precision + lam / gamma J' O_i' O_i J)^-1,    J = dA/dz at z_i

        Exact for a linear A without a potential, wherever z is. The bends of A and of w are left out, so that it is positive
        definite always: a preconditioner for `langevin` that stays exact, as it does not move with the chains.
        Time: that of K derivatives of A along a direction, and O(n K^3); memory O(n K D).

        Args:
            z: Causes, shape (n, K), for instance those that an encoder points at.
            x: Observations, shape (n, ...).

        Returns:
            Shape (n, K, K).

        Raises:
            TypeError: The reference is no Gaussian.

        Example:
            >>> posterior = Posterior(LinearForward(torch.eye(1)), GaussianReference(torch.zeros(1)), gamma=0.5)
            >>> posterior.covariance_at(torch.zeros(1, 1), torch.zeros(1, 1))
            tensor([[[0.3333]]])
        """
        if not isinstance(self.reference, GaussianReference):
            msg = f"`covariance_at` needs a GaussianReference, which has a precision: got {type(self.reference).__name__}."
            raise TypeError(msg)
        size = z.shape[1]
        along = torch.eye(size, dtype=z.dtype, device=z.device)
        with torch.enable_grad():  # J v as the derivative of J' u . v by u
            wide = z.detach().repeat_interleave(size, dim=0).requires_grad_()
            values = self.observation.apply(x.repeat_interleave(size, dim=0), self.forward(wide))
            u = torch.zeros_like(values, requires_grad=True)
            (back,) = torch.autograd.grad(values, wide, u, create_graph=True)
            (columns,) = torch.autograd.grad((back * along.repeat(len(z), 1)).sum(), u)
        columns = columns.flatten(1).unflatten(0, (-1, size))  # (n, K, D)
        precision = self.reference.precision * along + self.lam / self.gamma * columns @ columns.mT
        return torch.cholesky_inverse(torch.linalg.cholesky(precision))

    def map(
        self,
        x: Tensor,
        *,
        start: Tensor | None = None,
        max_iterations: int = 500,
        tolerance: float = 1e-6,
        generator: torch.Generator | None = None,
    ) -> Mode:
        """The cold end, gamma = 0: the cause of highest utility, argmax_z G(z; x_i), wherever kappa allows it.

        Args:
            x: Observations, shape (n, ...).
            start: Where the climb begins, shape (n, K); the best candidate of a thousand when left out. Directions that G
                does not see stay as they are there. Given causes are looked through instead.
            max_iterations: Budget of L-BFGS.
            tolerance: Largest gradient at the end, relative to that at the start.
            generator: For the candidates; a freshly seeded one when left out.

        Returns:
            Causes, utilities, norms of gradients.
        """
        x = check_observations(x).detach()
        if start is None or isinstance(self.reference, SampleReference):
            with torch.no_grad():
                drawn = self.reference.draw(x, None, seeded(generator))
                utilities = self._utilities(x, drawn).masked_fill(drawn.log_weights == -math.inf, -math.inf)
                most, best = utilities.max(1)
                start = drawn.z[best] if drawn.z.ndim == 2 else drawn.z[torch.arange(len(x)), best]
            if isinstance(self.reference, SampleReference):
                return Mode(z=start, utility=most, gradient_norm=torch.zeros_like(most), is_converged=True)
        return climb(lambda z: self.utility(z, x), start, max_iterations=max_iterations, tolerance=tolerance)

    # How it is found ---------------------------------------------------------------------------------

    def _scored(self, x: Tensor, count: int | None, proposal: str, generator: torch.Generator) -> _Scored:
        """Candidates from the proposal, with logits G / gamma + log weight, or what the proposal leaves of them."""
        x = check_observations(x)
        check_choice(proposal, "proposal", ("auto", "reference", "conditioned"))
        if proposal != "reference" and self._linear() is not None:
            return self._conditioned(x, count, generator)
        if proposal == "conditioned":
            msg = "`proposal` 'conditioned' takes a LinearForward or a PartlyLinearForward, and a GaussianReference: got others. Use 'reference'."
            raise ValueError(msg)
        drawn = self.reference.draw(x, count, generator)
        return _Scored(drawn.z, self._utilities(x, drawn) / self.gamma + drawn.log_weights)

    def _utilities(self, x: Tensor, drawn: Candidates) -> Tensor:
        """G of every candidate for every observation, shape (n, M)."""
        if drawn.z.ndim == 2:  # every observation with every candidate
            costs = self.observation.costs(x, self.forward(drawn.z))
        else:
            wide = x.repeat_interleave(drawn.z.shape[1], dim=0)
            costs = self.observation.misfit(wide, self.forward(drawn.z.flatten(0, 1))).reshape(len(x), -1)
        return self._welcome(drawn) - self.lam * costs

    def _welcome(self, drawn: Candidates) -> Tensor:
        """w at the candidates, shape (M,) or (n, M)."""
        if isinstance(self.potential, Tensor):
            return self.potential
        if self.potential is None:
            return torch.zeros((), dtype=drawn.z.dtype, device=drawn.z.device)
        return self.potential(drawn.z.flatten(0, -2)).reshape(drawn.z.shape[:-1])

    def _linear(self) -> tuple[LinearForward | PartlyLinearForward, GaussianReference] | None:
        """Forward model and reference, where that can be conditioned on."""
        forward, reference = self.forward, self.reference
        if isinstance(forward, LinearForward | PartlyLinearForward) and isinstance(reference, GaussianReference):
            return forward, reference
        return None

    def _conditioned(self, x: Tensor, count: int | None, generator: torch.Generator) -> _Scored:
        """Candidates whose linear numbers are drawn given the others; w is left to weigh by."""
        linear = self._linear()
        assert linear is not None, "this is our bug: conditioned on something else"
        count = check_count(1000 if count is None else count, "count")
        given = condition(*linear, self.observation, x, (self.lam, self.gamma), count, generator)
        t = given.draw(given.half, normal((given.half.shape[1], count), generator, x))
        z = torch.cat([given.head.expand(len(x), count, given.head.shape[-1]), t], dim=-1)
        drawn = Candidates(z, even(count, x))
        return _Scored(z, self._welcome(drawn) / self.gamma + drawn.log_weights - given.energy)

    def _sampled(self, x: Tensor, draws: int, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """First numbers drawn by weight, then the linear ones, anew each time: (n, draws, K); and effective sizes."""
        linear = self._linear()
        assert linear is not None, "this is our bug: conditioned on something else"
        given = condition(*linear, self.observation, x, (self.lam, self.gamma), count, generator)
        still = torch.cat([given.head, given.head.new_zeros(*given.head.shape[:-1], given.half.shape[1])], dim=-1)
        w = self._welcome(Candidates(still, even(count, x)))
        weights = (w / self.gamma - given.energy).softmax(1)  # (n, M)
        chosen = torch.multinomial(weights.to(generator.device), draws, replacement=True, generator=generator).to(
            x.device
        )
        half = given.half.gather(2, chosen[:, None].expand(-1, given.half.shape[1], -1))  # (n, L, draws)
        t = given.draw(half, normal(tuple(half.shape), generator, x))
        head = given.head[chosen] if still.ndim == 2 else given.head[torch.arange(len(x))[:, None], chosen]
        z = torch.cat([head, t], dim=-1)
        if self.potential is not None:
            expected = w[chosen] if still.ndim == 2 else w.gather(1, chosen)
            if not torch.allclose(
                self._welcome(Candidates(z, even(draws, x))), expected, rtol=1e-3, atol=1e-3 * self.gamma
            ):
                msg = "`sample` needs a potential that does not depend on the numbers that A is linear in: got one that does. Use `reweight`, or `langevin`."
                raise ValueError(msg)
        return z, 1.0 / weights.square().sum(1)


def _warn_of_few(effective: Tensor, count: int, least: float) -> None:
    """Say where posteriors rest on fewer candidates than they should."""
    few = int((effective < least).sum())
    if few:
        warnings.warn(
            f"{few} of {len(effective)} observations have fewer than {least:g} effective candidates, the least {float(effective.min()):.1f} of "
            f"{count}. Draw more, raise `gamma`, centre the reference nearer to the causes, or use `langevin`.",
            EffectiveSizeWarning,
            stacklevel=4,  # past no_grad
        )


def check_observations(x: Tensor) -> Tensor:
    """A batch of observations, all numbers."""
    if not isinstance(x, Tensor):
        msg = (
            f"`x` must be a tensor, as the forward model's values are: got {type(x).__name__}. Pass torch.as_tensor(x)."
        )
        raise TypeError(msg)
    if x.ndim < 2:
        msg = f"`x` must have shape (n, ...), one row per observation: got {tuple(x.shape)}. Pass x[None] for a single one."
        raise ValueError(msg)
    check_finite(x, "x")
    return x
