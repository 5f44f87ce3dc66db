"""Entropic variational inference auto-encoding, amortised: posteriors by reweighting, an encoder that learns their means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn

from isotherm._checks import check_choice, check_count
from isotherm.divergences import entropic_value
from isotherm.models.boltzmann import AbstractBoltzmann, weigh
from isotherm.models.critics import Causes, Critic, DualCritic, NoCritic, RatioCritic, SinkhornCritic
from isotherm.posterior import AbstractObservation, Direct, Posterior, Reweighted, SampleReference

if TYPE_CHECKING:
    from isotherm.models.model import Batch
    from isotherm.models.training import Training

AT_ONCE = 1 << 20  # pairs of observations and candidates in memory, outside training
MOST_CALIBRATED = 8192  # observations


class EVIA(AbstractBoltzmann):
    """EVIA: transport of the data to the prior at a temperature, with posteriors that are families of causes.

        min_A max_w  E_z~N(0,1)[w(z)] + E_x[Psi_gamma(x)],
        Psi_gamma(x) = -gamma log E_kappa(z|x)[exp((w(z) - c(x, z)) / gamma)],    c(x, z) = lam/2 |x - A(z)|^2

    This is the dual of min_pi E_pi[c] + gamma KL(pi | p_X ⊗ kappa) over couplings of the data with the prior. A step draws M
    candidates z_m from kappa, weighs them by softmax_m((w(z_m) - c(x_i, z_m)) / gamma), and then, all weights being constants of
    the derivative: the decoder lowers the mean misfit under them, the critic w rises at causes of the prior and falls at those
    of the posteriors, and the encoder learns the posterior's mean T*(x_i) = sum_m weight_im z_m. What pays is the crowd: the
    posteriors of all observations add up to the prior, each may be as narrow as the temperature lets it.

    Time of a step: M evaluations of A (n M with reference="encoder") and O(n M) for each of the solver's iterations.

    Args:
        shape: Of one observation.
        latent: K.
        widths: Hidden layers of the networks that are made here.
        lam: Price of misfit.
        gamma: Temperature. gamma / lam is the variance of the noise that an observation is taken to have.
        gamma_start: Temperature at the beginning, for a schedule that is geometric in `progress`; gamma when left out.
        critic: Whence w: "sinkhorn", a solve between batch and candidates; "dual", a network that climbs the dual; "ratio", a
            network that gathers a discriminator's logits; "none", w = 0, a variational autoencoder with its exact posterior.
        critic_rate: Learning rate of w, where it is a network, over that of encoder and decoder.
        discriminator_rate: That of the discriminator with "ratio"; it has to be the faster of the two.
        penalty: Of w^2 with "dual"; see `DualCritic`.
        reference: kappa: "prior", or "encoder" for N(e(x), 1/beta), which looks for causes where the encoder points.
        beta: Precision of kappa with reference="encoder".
        candidates: M, in training.
        points: Candidates outside training, where w from "sinkhorn" is known; see `calibrate`.
        tolerance: L1 error of the marginals at which a solve ends, with "sinkhorn".
        debias: Whether half the transport of the decoder's values to themselves is subtracted from the loss, with "sinkhorn":
            values otherwise have less variance than the data, by gamma / lam in each direction that they span.
        observe: What is seen of A(z): "direct" is everything; "fourier_mask", whose batches are (y, mask); or an operator.
        seed: Root of all randomness.
        encoder: Packed observations -> (n, K); a perceptron when left out.
        decoder: z -> (n, *shape); a perceptron when left out.
        critic_network: w with "dual" and "ratio", (n, K) -> (n, 1); a perceptron when left out.
        discriminator: With "ratio", (n, K) -> (n, 1); a perceptron when left out.

    Raises:
        ValueError: A setting is out of range, or two that do not go together.

    Example:
        >>> model = EVIA((2,), 1, widths=(8,), candidates=32, points=64)
        >>> model = model.fit(torch.randn(50, 2, generator=torch.Generator().manual_seed(0)), steps=5, batch_size=25)
        >>> model.posterior_sample(torch.zeros(3, 2), 10).shape
        torch.Size([3, 10, 1])

    References:
        [TippingBishop1999], [RigolletWeed2018], [Genevay2016]; docs/evia.md
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent: int = 8,
        *,
        widths: Sequence[int] = (256, 256),
        lam: float = 1.0,
        gamma: float = 0.1,
        gamma_start: float | None = None,
        critic: str = "sinkhorn",
        critic_rate: float = 1.0,
        discriminator_rate: float = 4.0,
        penalty: float = 0.01,
        reference: str = "prior",
        beta: float = 1.0,
        candidates: int = 512,
        points: int = 4096,
        tolerance: float = 1e-3,
        debias: bool = False,
        observe: str | AbstractObservation = "direct",
        seed: int = 0,
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
        critic_network: nn.Module | None = None,
        discriminator: nn.Module | None = None,
    ) -> None:
        super().__init__(
            shape,
            latent,
            seed,
            widths=widths,
            prices=(lam, gamma),
            gamma_start=gamma_start,
            paces=(critic_rate, discriminator_rate),
            reference=reference,
            beta=beta,
            observe=observe,
            encoder=encoder,
            decoder=decoder,
        )
        self.critic = check_choice(critic, "critic", ("sinkhorn", "dual", "ratio", "none"))
        self.penalty, self.tolerance, self.debias = penalty, tolerance, debias
        self.candidates, self.points = check_count(candidates, "candidates"), check_count(points, "points")
        self._check_together()
        self.potential = self._made(critic_network, discriminator)

    def _check_together(self) -> None:
        if self.critic == "sinkhorn" and self.reference == "encoder":
            msg = "`critic` 'sinkhorn' needs the same candidates for all observations, reference='prior': got 'encoder'. Use critic='dual' or 'ratio'."
            raise ValueError(msg)
        if self.debias and not (self.critic == "sinkhorn" and isinstance(self.observation, Direct)):
            msg = "`debias` needs critic='sinkhorn' and observe='direct', where values of the decoder have a transport to themselves: got others. Leave it out."
            raise ValueError(msg)

    def _made(self, network: nn.Module | None, discriminator: nn.Module | None) -> Critic:
        """The critic, with networks of its own where none are given."""
        if self.critic == "none":
            return NoCritic()
        if self.critic == "sinkhorn":
            return SinkhornCritic(self.prior(self.points, self.streams["points"]), self.tolerance)
        network = network or self.scalar_network()
        if self.critic == "dual":
            return DualCritic(network, self.penalty)
        return RatioCritic(network, discriminator or self.scalar_network())

    # Training ------------------------------------------------------------------------------------------

    def step(self, batch: Batch, *, progress: float = 1.0, index: Tensor | None = None) -> dict[str, Tensor]:
        """See `AbstractModel.step`. Beside the loss, means over the batch:

        - "misfit": E_q*[c]; "regression": of the encoder; "dual": the objective, at this critic;
        - "spread": trace of the posterior's covariance; "effective_size": candidates that posteriors rest on;
        - "information" between observation and cause, nats, and "marginal_error", the L1 distance of the posteriors together
          from the prior, both on the candidates; with reference="prior";
        - "critic_largest": of |w|; "temperature".
        """
        x = self.check_batch(batch)
        gamma = self.temperature(progress)
        code = self.encoder(x).to(x.dtype)
        z = self._candidates(code.detach())  # (M, K) or (n, M, K)
        values = self.decode(z.flatten(0, -2))
        with torch.autocast(x.device.type, enabled=False):
            costs = self._costs(x, values)  # (n, M)
            w = self._welcome(z, costs, gamma)  # (M,) or (n, M)
            found = weigh(z, w - costs.detach(), gamma)
            causes = self._causes(found)
            misfit = (found.weights * costs).sum(1).mean()
            regression = (code - found.mean).square().sum(1).mean()
            loss = misfit + regression + self.potential.loss(causes, gamma)
            if self.debias:
                loss = loss - 0.5 * self._own_transport(values, gamma)
        level = w.mean() if w.ndim == 1 else self.potential(causes.prior).mean()
        numbers = {"misfit": misfit, "regression": regression, "dual": level + found.free_energy.mean()}
        numbers |= {"spread": found.spread.mean(), "effective_size": found.effective_size.mean()}
        numbers |= {"critic_largest": w.abs().max(), "temperature": w.new_tensor(gamma)}
        if self.reference == "prior":
            numbers["marginal_error"] = (causes.share - 1.0 / len(causes.share)).abs().sum()
            numbers["information"] = torch.special.xlogy(found.weights, found.weights / causes.share).nansum(1).mean()
        return {"loss": loss} | {name: value.detach() for name, value in numbers.items()}

    def _candidates(self, code: Tensor) -> Tensor:
        """Draws from kappa: (M, K) from the prior, or (n, M, K) around the encoder's output."""
        if self.reference == "prior":
            return self.prior(self.candidates, self.streams["candidates"]).to(code.dtype)
        noise = self.prior(len(code) * self.candidates, self.streams["candidates"]).to(code.dtype)
        return code[:, None] + self.beta**-0.5 * noise.unflatten(0, (len(code), -1))

    def _costs(self, x: Tensor, values: Tensor) -> Tensor:
        """c of each observation with its candidates' values, (M, *shape) or (n M, *shape): shape (n, M)."""
        if self.reference == "prior":
            return self.lam * self.observation.costs(x, values)
        wide = x.repeat_interleave(self.candidates, dim=0)
        return self.lam * self.observation.misfit(wide, values).unflatten(0, (len(x), -1))

    @torch.no_grad()
    def _welcome(self, z: Tensor, costs: Tensor, gamma: float) -> Tensor:
        """w at the candidates, (M,) or (n, M), a constant."""
        if isinstance(self.potential, SinkhornCritic):
            return self.potential.solve(costs, gamma)
        return self.potential(z.flatten(0, -2)).to(costs.dtype).reshape(z.shape[:-1])

    def _causes(self, found: Reweighted) -> Causes:
        """What the critic learns from. Candidates from the prior serve as such too: then D is that of a discrete problem, and
        what the draws have by chance cancels in its derivative."""
        if self.reference == "prior":
            return Causes(found.z, found.z, found.weights.mean(0))
        prior = self.prior(self.candidates, self.streams["prior"]).to(found.z.dtype)
        return Causes(prior, found.z.flatten(0, 1), found.weights.flatten() / len(found.weights))

    def _own_transport(self, values: Tensor, gamma: float) -> Tensor:
        """Entropic transport from the decoder's values to themselves."""
        scaled = math.sqrt(self.lam) * values.flatten(1)
        settings = {"cost": "half_sqeuclidean", "epsilon": gamma, "tolerance": self.tolerance, "on_failure": "ignore"}
        return entropic_value(scaled, scaled, **settings)

    def fit(self, x: Batch, training: Training | None = None, **settings: Any) -> Self:
        """See `AbstractModel.fit`; then `calibrate`."""
        return super().fit(x, training, **settings).calibrate(x)

    @torch.no_grad()
    def calibrate(self, x: Batch) -> Self:
        """Solve for w at `points` with this decoder and these data; `fit` ends with it.

        Other critics than "sinkhorn" know w already. Memory O(n points); of more than 8192 observations as many are drawn.

        Args:
            x: Observations, as for `fit`.

        Returns:
            This model.
        """
        if isinstance(self.potential, SinkhornCritic):
            x = self.check_batch(x)
            if len(x) > MOST_CALIBRATED:
                x = x[torch.randperm(len(x), generator=self.streams["calibrate"])[:MOST_CALIBRATED].to(x.device)]
            points = self.potential.points
            self.potential.remember(self.lam * self.observation.costs(x, self.decode(points)), self.gamma)
        return self

    # Posteriors ----------------------------------------------------------------------------------------

    def posterior(self) -> Posterior:
        """q*(z|x) of this decoder, reference and critic, at temperature gamma; for packed observations.

        With critic="sinkhorn" the causes are the fixed `points`, and posteriors of the data that it was calibrated on are
        exactly the rows of the entropic plan between these and the points.

        Returns:
            For packed observations.

        Raises:
            RuntimeError: w has not been solved for.
        """
        if not isinstance(self.potential, SinkhornCritic):
            return super().posterior()
        if not self.potential.is_known:
            msg = "Posteriors with critic='sinkhorn' need w at the model's points: it has not been solved for. Call calibrate(x) with the data; `fit` does."
            raise RuntimeError(msg)
        points = SampleReference(self.potential.points)
        return Posterior(self.decode, points, self.potential.values, self.lam, self.gamma, self.observation)

    def posterior_sample(self, x: Batch, count: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Causes drawn from q*(z|x): candidates, drawn again by weight; shape (n, count, K).

        Args:
            x: Observations.
            count: Draws for each.
            generator: Source of randomness; the model's own stream "posterior" when left out.

        Returns:
            Shape (n, count, K). An `EffectiveSizeWarning` says where they rest on a handful of candidates.
        """
        generator = generator or self.streams["posterior"]
        return torch.cat([found.sample(count, generator=generator) for found in self._weighed(x, generator)])

    def posterior_mean(self, x: Batch, *, generator: torch.Generator | None = None) -> Tensor:
        """T*(x) by reweighting, shape (n, K); see `posterior_sample`."""
        return torch.cat([found.mean for found in self._weighed(x, generator or self.streams["posterior"])])

    def posterior_std(self, x: Batch, *, generator: torch.Generator | None = None) -> Tensor:
        """Standard deviations by reweighting, shape (n, K); see `posterior_sample`."""
        found = self._weighed(x, generator or self.streams["posterior"])
        return torch.cat([each.covariance.diagonal(dim1=1, dim2=2).sqrt() for each in found])

    def _weighed(self, x: Batch, generator: torch.Generator) -> list[Reweighted]:
        """Candidates and weights, some observations at a time."""
        posterior = self.posterior()
        count = None if isinstance(posterior.reference, SampleReference) else self.points
        parts = self.check_batch(x).split(max(1, AT_ONCE // self.points))
        return [posterior.reweight(part, count, generator=generator) for part in parts]
