"""What is there to see in a model: samples, reconstructions, codes, families of causes, the dial."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch
from torch import Tensor

from isotherm.geometry import PointCloud
from isotherm.models.evaluation import HasPosterior, has_encoder
from isotherm.models.streams import Streams
from isotherm.posterior import EffectiveSizeWarning, Posterior, SampleReference
from isotherm.problem import Problem
from isotherm.solvers import temperature_path

if TYPE_CHECKING:
    from isotherm.models.data import DataSet
    from isotherm.models.model import AbstractModel

SAMPLES, POINTS, REBUILT, FAMILIES, DRAWS, CODES = 64, 500, 12, 4, 7, 1000
PAIRED = 400  # observations and generated ones whose coupling is solved for
TIMES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)  # a model's own temperature
SHARES = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003)  # of the mean cost, for couplings
CANDIDATES = 4000


@runtime_checkable
class HasBoltzmann(Protocol):
    """A model whose posterior can be had at any temperature."""

    gamma: float

    def posterior(self) -> Posterior:
        """q*(z|x) at the model's own temperature."""
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class Families:
    """Causes of a few observations, decoded.

    Attributes:
        x: The observations, shape (n, *shape).
        decoded: A(z) for causes z drawn given x, shape (n, draws, *shape).
    """

    x: Tensor
    decoded: Tensor


@dataclass(frozen=True, eq=False, kw_only=True)
class Heat:
    """One observation at one temperature.

    Attributes:
        gamma: Temperature.
        decoded: A(z) for causes drawn at it, shape (draws, *shape).
        spread: Root mean square deviation of decoded values from their mean, over observations and entries.
        effective_size: Least number of candidates that a posterior rests on.
    """

    gamma: float
    decoded: Tensor
    spread: float
    effective_size: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Portrait:
    """What there is to see; what a model does not have is None or empty.

    Attributes:
        samples: Generated observations, 64 pictures or 500 points.
        pairs: Held-out observations and their reconstructions, shape (n, *shape) each.
        codes: Of held-out observations, shape (m, K).
        prior: As many draws from the prior.
        labels: Of the observations with codes.
        families: Causes of a few held-out observations.
        sweep: One of these at several temperatures, cold first.
        entropies: Temperature, as a share of the mean cost, and normalised entropy of the coupling of held-out and
            generated observations: 0 one to one, 1 anything with anything.
    """

    samples: Tensor
    pairs: tuple[Tensor, Tensor] | None = None
    codes: Tensor | None = None
    prior: Tensor | None = None
    labels: Tensor | None = None
    families: Families | None = None
    sweep: tuple[Heat, ...] = ()
    entropies: tuple[tuple[float, float], ...] = field(default=())


def portray(model: AbstractModel, data: DataSet, *, seed: int = 0) -> Portrait:
    """Look at a model from all sides, in a few seconds.

    Args:
        model: Trained.
        data: What it was trained on; held-out observations are looked at.
        seed: Root of all randomness.

    Returns:
        Tensors on the CPU.

    Example:
        >>> from isotherm.models import VAE
        >>> from isotherm.models.data import load_data
        >>> seen = portray(VAE((2,), 1, widths=(8,)), load_data("2d:moons", count=100))
        >>> seen.samples.shape, seen.families.decoded.shape
        (torch.Size([500, 2]), torch.Size([4, 7, 2]))
    """
    model.eval()
    streams, device = Streams(seed), next(model.parameters()).device
    samples = model.sample(SAMPLES if len(model.shape) > 1 else POINTS, generator=streams["samples"]).cpu()
    entropies = _entropies(model, data, streams)
    if not has_encoder(model):
        return Portrait(samples=samples, entropies=entropies)
    order = torch.randperm(len(data.test), generator=streams["order"])
    held = data.test[order].to(device)
    with torch.no_grad():
        rebuilt = model.reconstruct(held[:REBUILT])
        codes = model.encode(held[:CODES])
        prior = model.prior(len(codes), streams["prior"])
    return Portrait(
        samples=samples,
        pairs=(held[:REBUILT].cpu(), rebuilt.cpu()),
        codes=codes.cpu(),
        prior=prior.cpu(),
        labels=None if data.test_labels is None else data.test_labels[order][:CODES],
        families=_families(model, held, streams["families"]),
        sweep=_sweep(model, held, streams["sweep"]),
        entropies=entropies,
    )


def _families(model: AbstractModel, held: Tensor, generator: torch.Generator) -> Families | None:
    if not isinstance(model, HasPosterior):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EffectiveSizeWarning)
        z = model.posterior_sample(held[:FAMILIES], DRAWS, generator=generator)  # (n, draws, K)
    with torch.no_grad():
        decoded = model.decode(z.flatten(0, 1)).unflatten(0, z.shape[:2])
    return Families(x=held[:FAMILIES].cpu(), decoded=decoded.cpu())


def _sweep(model: AbstractModel, held: Tensor, generator: torch.Generator) -> tuple[Heat, ...]:
    """The posterior of the first observation, and the spread for a few, at several temperatures."""
    if not isinstance(model, HasBoltzmann):
        return ()
    posterior, x = model.posterior(), held[:FAMILIES]
    count = None if isinstance(posterior.reference, SampleReference) else CANDIDATES
    seen = list[Heat]()
    for times in TIMES:
        gamma = times * model.gamma
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore", EffectiveSizeWarning)
            found = posterior.at(gamma).reweight(x, count, generator=generator)
            z = found.sample(50, generator=generator)  # (n, 50, K)
            decoded = model.decode(z.flatten(0, 1)).unflatten(0, z.shape[:2])  # (n, 50, *shape)
        spread = (decoded - decoded.mean(1, keepdim=True)).square().mean().sqrt()
        least = float(found.effective_size.min())
        seen.append(Heat(gamma=gamma, decoded=decoded[0, :DRAWS].cpu(), spread=float(spread), effective_size=least))
    return tuple(seen)


def _entropies(model: AbstractModel, data: DataSet, streams: Streams) -> tuple[tuple[float, float], ...]:
    """How sure it is, at each temperature, which generated observation stands for which held-out one."""
    order = torch.randperm(len(data.test), generator=streams["paired"])[:PAIRED]
    x = data.test[order].flatten(1).double()
    y = model.sample(len(x), generator=streams["pairing"]).cpu().flatten(1).double()
    geometry = PointCloud(x, y)
    even = torch.full((len(x),), 1.0 / len(x), dtype=x.dtype)
    mean = float(geometry.product_cost(even, even))
    if mean <= 0.0:  # nothing differs: every pairing is the same
        return ()
    path = temperature_path(Problem(geometry, epsilon=mean), [share * mean for share in SHARES])
    return tuple(
        (solution.epsilon / mean, solution.coupling.normalised_entropy())
        for solution in path
        if solution.status.is_converged
    )
