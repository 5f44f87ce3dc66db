"""Entropic variational inference auto-encoding with chains: posteriors by Langevin dynamics, whole families of causes."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from isotherm._checks import check_choice, check_count, check_positive
from isotherm.models.boltzmann import AbstractBoltzmann
from isotherm.models.critics import Causes, Critic, DualCritic, NoCritic, RatioCritic
from isotherm.posterior import AbstractObservation, Chains, Langevin, Posterior

if TYPE_CHECKING:
    from isotherm.models.model import Batch

BEST_ACCEPTANCE = 0.574  # of MALA, in many dimensions
COOLINGS = 16  # temperatures on the way down, in the warm-up
KEPT = 50  # draws of each chain, outside training
LARGEST_R_HAT = 1.1


class ChainsWarning(UserWarning):
    """Chains of one observation have not met: they stand for different parts of its posterior."""


class LangevinEVIA(AbstractBoltzmann):
    """EVIA whose posteriors are sampled by Langevin chains: a family of causes for each observation.

        z <- z - step/2 grad U(z) + sqrt(step) noise,    U(z) = (c(x, z) - w(z)) / gamma - log kappa(z|x)

    The problem is that of `EVIA`, and so are derivatives; means under q* are over the ends of N chains for each observation
    instead of over weighted candidates. Nothing has to be found by chance: it works where K is large or the temperature low, as
    far as chains mix. The decoder lowers the misfit at the ends, the critic rises at draws from the prior and falls at the
    ends, and the encoder learns their mean.

    Time of a step: N n derivatives of A for each of the chains' steps.

    Args:
        shape: Of one observation.
        latent: K.
        widths: Hidden layers of the networks that are made here.
        lam: Price of misfit.
        gamma: Temperature.
        gamma_start: Temperature at the beginning of a geometric schedule; gamma when left out.
        critic: Whence w: "dual", "ratio" or "none"; see `EVIA`.
        critic_rate: Learning rate of w over that of encoder and decoder.
        discriminator_rate: That of the discriminator with "ratio".
        penalty: Of w^2 with "dual".
        reference: kappa: "prior", or "encoder" for N(e(x), 1/beta).
        beta: Precision of kappa with reference="encoder".
        chains: N.
        chain_steps: Of each chain in one step of training.
        chain_step: Length of one of them; see `Langevin`. With "mala" it is where the adaptation to the acceptance begins.
        method: "mala", exact; or "ula", which never stands still and samples a law that is slightly too wide.
        clip: Longest gradient of U; none when left out.
        preconditioner: "none", or "gauss-newton": steps are taken in the geometry of each posterior as A's derivatives at
            e(x) have it, see `Posterior.covariance_at`. Needed where K is large and gamma low: `chain_step` is then near 1,
            and time that of K more derivatives of A for each observation.
        start: Where chains begin: "encoder", at e(x); "prior"; or "replay", where the chains of this row of the data ended.
        memory: Rows of the data, with start="replay".
        answer_warm_up: Steps that chains take and forget, outside training; with gamma_start they cool down from there.
        answer_steps: Steps that they take then.
        observe: What is seen of A(z); see `EVIA`.
        seed: Root of all randomness.
        encoder: Packed observations -> (n, K); a perceptron when left out.
        decoder: z -> (n, *shape); a perceptron when left out.
        critic_network: w, (n, K) -> (n, 1); a perceptron when left out.
        discriminator: With "ratio", (n, K) -> (n, 1); a perceptron when left out.

    Raises:
        ValueError: A setting is out of range, or "replay" without memory.

    Example:
        >>> model = LangevinEVIA((2,), 1, widths=(8,), chains=2, chain_steps=3)
        >>> x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
        >>> sorted(model.fit(x, steps=5, batch_size=25).step(x))[:3]
        ['acceptance', 'chain_step', 'critic_largest']

    References:
        [WellingTeh2011], [RobertsTweedie1996], [Nijkamp2020]; docs/evia.md
    """

    pace: Tensor  # (), of the chains: length of their step over `chain_step`
    replay: Tensor  # (memory, N, K)

    def __init__(
        self,
        shape: Sequence[int],
        latent: int = 8,
        *,
        widths: Sequence[int] = (256, 256),
        lam: float = 1.0,
        gamma: float = 0.1,
        gamma_start: float | None = None,
        critic: str = "dual",
        critic_rate: float = 1.0,
        discriminator_rate: float = 4.0,
        penalty: float = 0.01,
        reference: str = "prior",
        beta: float = 1.0,
        chains: int = 4,
        chain_steps: int = 20,
        chain_step: float = 0.05,
        method: str = "mala",
        clip: float | None = None,
        preconditioner: str = "none",
        start: str = "encoder",
        memory: int = 0,
        answer_warm_up: int = 200,
        answer_steps: int = 1000,
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
        self.critic = check_choice(critic, "critic", ("dual", "ratio", "none"))
        self.penalty = penalty
        self.chains, self.chain_steps = check_count(chains, "chains"), check_count(chain_steps, "chain_steps")
        self.chain_step = check_positive(chain_step, "chain_step")
        self.method = check_choice(method, "method", ("mala", "ula"))
        self.clip = None if clip is None else check_positive(clip, "clip")
        self.preconditioner = check_choice(preconditioner, "preconditioner", ("none", "gauss-newton"))
        self.start = check_choice(start, "start", ("encoder", "prior", "replay"))
        self.memory = check_count(memory, "memory", minimum=1 if start == "replay" else 0)
        self.answer_warm_up = check_count(answer_warm_up, "answer_warm_up", minimum=0)
        self.answer_steps = check_count(answer_steps, "answer_steps", minimum=8)
        self.potential = self._made(critic_network, discriminator)
        replay = self.prior(self.memory * self.chains, self.streams["replay"])
        self.register_buffer("replay", replay.view(self.memory, self.chains, latent))
        self.register_buffer("pace", torch.ones((), dtype=replay.dtype))

    def _made(self, network: nn.Module | None, discriminator: nn.Module | None) -> Critic:
        """The critic, with networks of its own where none are given."""
        if self.critic == "none":
            return NoCritic()
        network = network or self.scalar_network()
        if self.critic == "dual":
            return DualCritic(network, self.penalty)
        return RatioCritic(network, discriminator or self.scalar_network())

    # Training ------------------------------------------------------------------------------------------

    def step(self, batch: Batch, *, progress: float = 1.0, index: Tensor | None = None) -> dict[str, Tensor]:
        """See `AbstractModel.step`. Beside the loss, means over the batch:

        - "misfit" at the chains' ends; "regression": of the encoder; "spread": variance between chains, all directions;
        - "acceptance" and "chain_step", the length in use;
        - "critic_rise": E_prior[w] - E_q*[w], which is zero at the end; "critic_largest": of |w|; "temperature".
        """
        x = self.check_batch(batch)
        gamma = self.temperature(progress)
        code = self.encoder(x).to(x.dtype)
        with torch.autocast(x.device.type, enabled=False):  # whether a proposal is taken hangs on small differences
            z, acceptance = self._ends(x, code.detach(), gamma, index)  # (N, n, K)
        wide = x.expand(len(z), *x.shape).flatten(0, 1)
        values = self.decode(z.flatten(0, 1))
        causes = self._causes(z)
        with torch.autocast(x.device.type, enabled=False):
            misfit = self.lam * self.observation.misfit(wide, values).mean()
            regression = (code - z.mean(0)).square().sum(1).mean()
            loss = misfit + regression + self.potential.loss(causes, gamma)
            rise, largest = self._critic_numbers(causes)
        numbers = {
            "misfit": misfit,
            "regression": regression,
            "spread": z.var(0).sum(1).mean() if len(z) > 1 else z.new_zeros(()),
            "acceptance": acceptance,
            "chain_step": self.chain_step * self.pace,
            "critic_rise": rise,
            "critic_largest": largest,
            "temperature": z.new_tensor(gamma),
        }
        return {"loss": loss} | {name: value.detach() for name, value in numbers.items()}

    @torch.no_grad()
    def _critic_numbers(self, causes: Causes) -> tuple[Tensor, Tensor]:
        """E_prior[w] - E_q*[w], and the largest |w| from its mean."""
        w = self.potential(causes.prior)
        return w.mean() - self.potential(causes.posterior).mean(), (w - w.mean()).abs().max()

    def _ends(self, x: Tensor, code: Tensor, gamma: float, index: Tensor | None) -> tuple[Tensor, Tensor]:
        """Where chains end, (N, n, K), and the share of proposals that they took."""
        rows = self._rows(x, index) if self.start == "replay" else None
        start = self._starts(code, self.chains) if rows is None else self.replay[rows].transpose(0, 1)
        posterior = self.posterior().at(gamma)
        shape = self._geometry(posterior, code, x)
        settings = self._langevin(shape, steps=self.chain_steps, thin=self.chain_steps)
        chains = posterior.langevin(x, settings, start=start.to(x.dtype), generator=self.streams["chains"])
        acceptance = chains.acceptance.mean()
        if self.method == "mala":
            self.pace *= torch.exp(0.1 * (acceptance - BEST_ACCEPTANCE)).to(self.pace)
        if rows is not None:
            self.replay[rows] = chains.last.transpose(0, 1).to(self.replay)
        return chains.last, acceptance

    def _cooled(self, x: Tensor, code: Tensor, start: Tensor, generator: torch.Generator) -> Tensor:
        """Where chains end that are warmed up from gamma_start down to gamma, (C, n, K): while it is hot they get everywhere."""
        each = math.ceil(self.answer_warm_up / COOLINGS)
        for stage in range(COOLINGS):
            posterior = self.posterior().at(self.temperature(stage / (COOLINGS - 1)))
            settings = self._langevin(self._geometry(posterior, code, x), steps=each, thin=each)
            start = posterior.langevin(x, settings, start=start, generator=generator).last
        return start

    def _geometry(self, posterior: Posterior, code: Tensor, x: Tensor) -> Tensor | None:
        """The chains' preconditioner at e(x), (n, K, K): it depends on x alone, and chains stay exact."""
        return None if self.preconditioner == "none" else posterior.covariance_at(code, x)

    def _langevin(self, shape: Tensor | None, *, steps: int, thin: int, warm_up: int = 0) -> Langevin:
        return Langevin(
            step=self.chain_step * float(self.pace),
            steps=steps,
            thin=thin,
            warm_up=warm_up,
            method=self.method,
            preconditioner=shape,
            clip=self.clip,
        )

    def _starts(self, code: Tensor, chains: int) -> Tensor:
        """At the encoder's output, or drawn from the prior, shape (chains, n, K)."""
        if self.start == "encoder":
            return code.expand(chains, *code.shape)
        return self.prior(chains * len(code), self.streams["starts"]).view(chains, *code.shape)

    def _rows(self, x: Tensor, index: Tensor | None) -> Tensor:
        if index is None or len(index) != len(x) or int(index.max()) >= self.memory:
            came = "none" if index is None else f"{len(index)}, the largest {int(index.max())}"
            msg = f"start='replay' needs `index`, a row of the data below memory = {self.memory} for each of the {len(x)} observations: got {came}. Pass it to `step`, or raise `memory` to the rows there are."
            raise ValueError(msg)
        return index.to(self.replay.device)

    def _causes(self, z: Tensor) -> Causes:
        """What the critic learns from: as many draws from the prior as there are chains."""
        ends = z.flatten(0, 1)
        prior = self.prior(len(ends), self.streams["prior"]).to(ends)
        return Causes(prior, ends, ends.new_full((len(ends),), 1.0 / len(ends)))

    # Posteriors ----------------------------------------------------------------------------------------

    def posterior_sample(self, x: Batch, count: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Causes drawn from q*(z|x) by chains that start anew, at least four for each observation.

        Args:
            x: Observations.
            count: Draws for each, from all chains and steps together.
            generator: Source of randomness; the model's own stream "posterior" when left out.

        Returns:
            Shape (n, count, K). A `ChainsWarning` says where chains have not met.
        """
        check_count(count, "count")
        generator = generator or self.streams["posterior"]
        draws = self.posterior_chains(x, generator=generator).draws.flatten(0, 1)  # (S C, n, K)
        chosen = torch.randint(len(draws), (count, draws.shape[1]), generator=generator, device=generator.device)
        return draws.gather(0, chosen.to(draws.device)[..., None].expand(-1, -1, draws.shape[2])).transpose(0, 1)

    def posterior_mean(self, x: Batch, *, generator: torch.Generator | None = None) -> Tensor:
        """T*(x), shape (n, K), by chains; see `posterior_sample`."""
        return self.posterior_chains(x, generator=generator).mean

    def posterior_std(self, x: Batch, *, generator: torch.Generator | None = None) -> Tensor:
        """Standard deviations by chains, shape (n, K); see `posterior_sample`."""
        return self.posterior_chains(x, generator=generator).covariance.diagonal(dim1=1, dim2=2).sqrt()

    @torch.no_grad()
    def posterior_chains(self, x: Batch, *, generator: torch.Generator | None = None) -> Chains:
        """The chains themselves, with R-hat, effective sizes and acceptance.

        They start at the encoder's output with start="encoder", else at draws from the prior.

        Args:
            x: Observations.
            generator: Source of randomness; the model's own stream "posterior" when left out.

        Returns:
            Fifty draws, or as many as there are steps, of at least four chains for each observation.
        """
        packed = self.check_batch(x)
        code, thin = self.encoder(packed), math.ceil(self.answer_steps / KEPT)
        generator = generator or self.streams["posterior"]
        start, warm_up = self._starts(code, max(4, self.chains)), self.answer_warm_up
        if self.gamma_start is not None and warm_up:
            start, warm_up = self._cooled(packed, code, start, generator), 0
        shape = self._geometry(self.posterior(), code, packed)
        settings = self._langevin(shape, steps=self.answer_steps, thin=thin, warm_up=warm_up)
        chains = self.posterior().langevin(packed, settings, start=start, generator=generator)
        worst = chains.r_hat.amax(1)  # (n,)
        apart = ~(worst < LARGEST_R_HAT)  # chains that never moved have none
        if apart.any():
            warnings.warn(
                f"Chains of {int(apart.sum())} of {len(packed)} observations have not met: R-hat up to {float(worst.max()):.2f}, and "
                f"{LARGEST_R_HAT} is the most to trust. Raise `answer_warm_up` and `answer_steps`, or `gamma`.",
                ChainsWarning,
                stacklevel=3,  # past no_grad
            )
        return chains
