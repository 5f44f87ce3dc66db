"""How good is a model? Every number beside its floor: what the best possible model would get."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from isotherm._checks import check_count
from isotherm.models.metrics import (
    Interval,
    PosteriorForm,
    bootstrap_interval,
    class_features,
    frechet_distance,
    imq_discrepancy,
    memorisation,
    posterior_form,
    principal_error,
    reconstruction_error,
    support,
    transport_distance,
)
from isotherm.models.model import AbstractModel
from isotherm.models.streams import Streams

if TYPE_CHECKING:
    from isotherm.models.data import DataSet


@runtime_checkable
class HasPosterior(Protocol):
    """A model that draws causes of an observation."""

    def posterior_sample(self, x: Tensor, count: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Causes, shape (n, count, K)."""
        ...


Generate = Callable[[int, torch.Generator], Tensor]  # how many, source of randomness -> observations
Features = Callable[[Tensor], Tensor]

METRICS = {
    "w2": "exact W2 of observations",
    "frechet": "Fréchet distance of observations",
    "frechet_features": "Fréchet distance of features",
    "mmd": "squared MMD, inverse multiquadric",
    "precision": "share of the generated that are plausible",
    "recall": "share of the real that lie near generated ones",
    "density": "real neighbourhoods that a generated one lies in, over their usual number",
    "coverage": "share of real neighbourhoods that are reached",
    "memorisation": "distance to the training data, over that of held-out data",
    "copies": "share nearer to the training data than 99 % of held-out data",
    "reconstruction": "mean squared distance to the reconstruction",
    "codes": "exact W2 of codes to the prior",
}
FLOORS = {
    "memorisation": "held-out data",
    "copies": "held-out data",
    "reconstruction": "as many principal components",
    "codes": "another sample of the prior",
}
SUBSET = "a part of the training data"  # the floor of all others
POSTERIOR_OBSERVATIONS, POSTERIOR_DRAWS = 100, 200


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One metric of a model.

    Attributes:
        name: A key of `METRICS`.
        draws: Its value for each set of generated observations.
        interval: Mean and 95 % interval over these sets, of reconstructions over observations; of one training, not of the
            method.
        floor: What the floor gets, in the mean.
        floor_is: What the floor is.
    """

    name: str
    draws: tuple[float, ...]
    interval: Interval
    floor: float
    floor_is: str

    @property
    def value(self) -> float:
        """The mean."""
        return self.interval.value


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What was measured of a model.

    Attributes:
        data: Name of the data.
        generated: Observations in each set, and of the data compared with.
        seed: Root of all randomness.
        measured: One for each metric, in the order of `METRICS`.
        posterior: What posteriors look like; None where the model has none.
        accuracy: Of the classifier whose features are compared; None for other features, or none.
    """

    data: str
    generated: int
    seed: int
    measured: tuple[Measured, ...]
    posterior: PosteriorForm | None = None
    accuracy: float | None = None

    def __getitem__(self, name: str) -> Measured:
        """The metric of that name."""
        return {each.name: each for each in self.measured}[name]

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and words for JSON; NaN becomes None."""
        plain = asdict(self)
        plain["measured"] = {each.pop("name"): each for each in plain["measured"]}
        return _json_ready(plain)


def evaluate(
    model: AbstractModel | Generate,
    data: DataSet,
    *,
    draws: int = 5,
    most: int = 1000,
    seed: int = 0,
    features: Features | None = None,
    floors: dict[str, float] | None = None,
) -> Evaluation:
    """Measure a model against observations it has not seen.

    As many observations are generated as there are held out, several times over. A part of the training data, of the
    same size, goes through the same metrics: its numbers are the floor, and a difference below its own spread says
    nothing. Time O(most^3) at worst, for the exact transport.

    Args:
        model: A model, or a function (count, generator) -> observations.
        data: What it was trained on, and what was held out.
        draws: Sets of generated observations.
        most: Largest number of observations on a side; more are thinned out at random.
        seed: Root of all randomness.
        features: Where the second Fréchet distance is taken, (n, *shape) -> (n, F); the last hidden layer of a
            classifier when left out, if the data have labels.
        floors: What `measure_floors` gave for the same data and settings; measured here when left out.

    Returns:
        Every metric with interval and floor. For models with an encoder also reconstruction and codes, on the held-out
        observations; with posteriors also their form.

    Raises:
        ValueError: Generated observations of another shape, or that are not finite.

    Example:
        >>> from isotherm.models.data import load_data
        >>> data = load_data("2d:gaussian", count=150)
        >>> def good(count, generator):
        ...     return torch.randn(count, 2, generator=generator)
        >>> found = evaluate(good, data, draws=2)
        >>> found["coverage"].value > 0.8, found["w2"].floor_is
        (True, 'a part of the training data')
    """
    judge = _judge(data, most=most, seed=seed, features=features)
    streams, rows = Streams(seed), list[dict[str, float]]()
    generate = _generator(model)
    for _ in range(check_count(draws, "draws")):
        made = generate(len(judge.test), streams["generated"]).detach().cpu()
        if made.shape != judge.test.shape:
            msg = f"The model must generate observations like the data, shape {tuple(judge.test.shape)}: got {tuple(made.shape)}. Train it on these data."
            raise ValueError(msg)
        rows.append(judge.distances(made))
    floors, posterior, intervals = floors or _floors(judge, streams, draws), None, streams["intervals"]
    known = dict[str, Interval]()
    if isinstance(model, AbstractModel) and has_encoder(model):
        codes = _codes(model, judge.test, draws, streams["posterior"])  # (n, draws, K)
        priors = [model.prior(len(codes), streams["prior"]).detach().cpu() for _ in range(draws + 1)]
        for row, z, prior in zip(rows, codes.unbind(1), priors, strict=False):
            row["codes"] = transport_distance(z, prior)
        rebuilt = model.reconstruct(judge.test.to(_device(model))).detach().cpu()
        errors = (rebuilt - judge.test).double().square().flatten(1).sum(1)
        known["reconstruction"] = bootstrap_interval(errors, generator=intervals)
        rows[0]["reconstruction"] = reconstruction_error(judge.test, rebuilt)
        floors = floors | {
            "reconstruction": principal_error(data.train, judge.test, model.latent),
            "codes": transport_distance(*priors[-2:]),
        }
        posterior = _form(model, judge.test, streams["posterior"])
    measured = tuple(
        Measured(
            name=name,
            draws=(values := tuple(row[name] for row in rows if name in row)),
            interval=known.get(name) or bootstrap_interval(values, generator=intervals),
            floor=floors[name],
            floor_is=FLOORS.get(name, SUBSET),
        )
        for name in METRICS
        if name in rows[0]
    )
    return Evaluation(
        data=data.name,
        generated=len(judge.test),
        seed=seed,
        measured=measured,
        posterior=posterior,
        accuracy=getattr(judge.features, "accuracy", None),
    )


def measure_floors(
    data: DataSet, *, draws: int = 5, most: int = 1000, seed: int = 0, features: Features | None = None
) -> dict[str, float]:
    """What a part of the training data gets, as large as what is held out: nothing that generalises gets better.

    Args:
        data: Both parts.
        draws: Parts drawn.
        most: As in `evaluate`.
        seed: Root of all randomness.
        features: As in `evaluate`.

    Returns:
        Metric to mean. For the comparison with the training data itself, what held-out data get.
    """
    return _floors(_judge(data, most=most, seed=seed, features=features), Streams(seed), draws)


def has_encoder(model: AbstractModel) -> bool:
    """Whether a model has codes of observations."""
    return type(model).encode is not AbstractModel.encode


@dataclass(frozen=True, eq=False)
class _Judge:
    """What generated observations are compared with."""

    train: Tensor
    test: Tensor
    features: Features | None

    def distances(self, made: Tensor) -> dict[str, float]:
        """Every metric that needs generated observations alone."""
        near, copied = support(made, self.test, k=min(5, len(self.test) - 1)), memorisation(made, self.train, self.test)
        found = {
            "w2": transport_distance(made, self.test),
            "frechet": frechet_distance(made, self.test),
            "mmd": imq_discrepancy(made, self.test),
            **asdict(near),
            "memorisation": copied.ratio,
            "copies": copied.copies,
        }
        if self.features is not None:
            found["frechet_features"] = frechet_distance(self.features(made), self.features(self.test))
        return found


def _judge(data: DataSet, *, most: int, seed: int, features: Features | None) -> _Judge:
    check_count(most, "most", minimum=3)
    if features is None and data.train_labels is not None:
        features = class_features(data.train, data.train_labels, test=data.test, test_labels=data.test_labels)
    # As many are compared as the floor can draw from the training data.
    count = min(len(data.test), len(data.train), most)
    order = torch.randperm(len(data.test), generator=Streams(seed)["held out"])[:count].sort().values
    return _Judge(data.train, data.test[order], features)


def _floors(judge: _Judge, streams: Streams, draws: int) -> dict[str, float]:
    count, rows = len(judge.test), list[dict[str, float]]()
    for _ in range(draws):
        part = torch.randperm(len(judge.train), generator=streams["floor"])[:count]
        rows.append(judge.distances(judge.train[part]))
    new = memorisation(judge.test, judge.train, judge.test)
    means = {name: sum(row[name] for row in rows) / draws for name in rows[0]}
    return means | {"memorisation": new.ratio, "copies": new.copies}


def _generator(model: AbstractModel | Generate) -> Generate:
    if isinstance(model, AbstractModel):
        model.eval()
        return lambda count, generator: model.sample(count, generator=generator)
    return model


def _codes(model: AbstractModel, x: Tensor, draws: int, generator: torch.Generator) -> Tensor:
    """Codes of the crowd, shape (n, draws, K): from posteriors where there are any, else what the encoder says."""
    x = x.to(_device(model))
    if isinstance(model, HasPosterior):
        return model.posterior_sample(x, draws, generator=generator).detach().cpu()
    return model.encode(x).detach().cpu()[:, None].expand(-1, draws, -1)


def _form(model: AbstractModel, x: Tensor, generator: torch.Generator) -> PosteriorForm:
    return posterior_form(_codes(model, x[:POSTERIOR_OBSERVATIONS], POSTERIOR_DRAWS, generator))


def _device(model: AbstractModel) -> torch.device:
    return next(model.parameters()).device


def _json_ready(data: Any) -> Any:
    """NaN as None, tuples as lists, at any depth."""
    if isinstance(data, dict):
        return {key: _json_ready(value) for key, value in data.items()}
    if isinstance(data, (tuple, list)):
        return [_json_ready(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data
