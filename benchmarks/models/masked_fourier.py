"""Digits of which half the frequencies were measured: families of answers, judged on digits that were held out.

    python -m benchmarks.models.masked_fourier [--seeds 0,1,2] [--gamma 0.03] [--only dual]

writes benchmarks/results/models-masked-fourier.json. All models have the same kind of networks, the same price of misfit and the
same temperature, and see masked observations only, except where a row says that it saw whole digits. Beside them stands what
needs no network: the Gaussian with the mean and the covariance of the whole digits, conditioned on what was measured.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from benchmarks.run import RESULTS, commit, processor_name
from isotherm.applications.inverse import Judgement, MaskedImages, families_of, judge, masked_digits
from isotherm.divergences import energy_distance
from isotherm.models import EVIA, AbstractModel, LangevinEVIA, Training
from isotherm.models.networks import Flat
from isotherm.posterior import FourierMask
from isotherm.posterior.observation import hartley

SHAPE, WIDTHS = (8, 8), (128, 128)
LAM, GAMMA, GAMMA_START = 1.0, 0.04, 0.5  # the temperature of all unless --gamma says otherwise
STEPS, BATCH, RATE = 1000, 200, 2e-3
DRAWS = 200
PENALTY = 10.0  # of the Wasserstein autoencoder, on the energy distance of its codes to the prior
OPERATOR = FourierMask()

Draw = Callable[[Tensor, torch.Generator], Tensor]  # packed observations -> images (n, DRAWS, 8, 8)


class MaskedVAE(AbstractModel):
    """A variational autoencoder that pays for misfit where something was measured."""

    def __init__(self, latent: int, gamma: float, seed: int) -> None:
        super().__init__(SHAPE, latent, seed)
        self.gamma = gamma
        start = self.streams["start"]
        self.encoder = Flat((2, *SHAPE), WIDTHS, (2 * latent,), start)
        self.decoder = Flat((latent,), WIDTHS, SHAPE, start)

    def check_batch(self, batch: Any) -> Tensor:
        """Packed."""
        return OPERATOR.pack(batch)

    def step(self, batch: Any, *, progress: float = 1.0, index: Tensor | None = None) -> dict[str, Tensor]:
        """The bound, in units of cost."""
        mean, log_variance = self.encoder(batch).chunk(2, dim=1)
        z = mean + (0.5 * log_variance).exp() * self.prior(len(batch), self.streams["noise"])
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).sum(1).mean()
        gamma = GAMMA_START * (self.gamma / GAMMA_START) ** progress
        return {"loss": LAM * OPERATOR.misfit(batch, self.decoder(z)).mean() + gamma * divergence}

    def decode(self, z: Tensor) -> Tensor:
        """A(z)."""
        return self.decoder(z)

    def codes(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Draws from the Gaussian posterior, shape (n, DRAWS, K)."""
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        noise = torch.randn(len(x), DRAWS, self.latent, generator=generator)
        return mean[:, None] + (0.5 * log_variance).exp()[:, None] * noise


class MaskedWAE(MaskedVAE):
    """A Wasserstein autoencoder: one code for each observation, all of them together like the prior."""

    def step(self, batch: Any, *, progress: float = 1.0, index: Tensor | None = None) -> dict[str, Tensor]:
        """Misfit and the energy distance between codes and prior."""
        code = self.encoder(batch)[:, : self.latent]
        away = energy_distance(code, self.prior(len(batch), self.streams["prior"]))
        return {"loss": LAM * OPERATOR.misfit(batch, self.decoder(code)).mean() + PENALTY * away}

    def codes(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """The code, again and again."""
        return self.encoder(x)[:, None, : self.latent].expand(-1, DRAWS, -1)


def trained(model: AbstractModel, data: MaskedImages, seed: int) -> AbstractModel:
    """All by the same loop."""
    batch = OPERATOR.pack(data.batch)
    Training(steps=STEPS, batch_size=BATCH, learning_rate=RATE, seed=seed).run(model, batch)
    return model.calibrate(batch) if isinstance(model, EVIA) else model


def whole(data: MaskedImages, seed: int) -> MaskedImages:
    """The same digits, all frequencies measured."""
    noise = data.noise * torch.randn(data.truth.shape, generator=torch.Generator().manual_seed(seed))
    return MaskedImages(y=data.truth + noise, mask=torch.ones_like(data.mask), truth=data.truth, noise=data.noise)


def decoded(model: AbstractModel, codes: Draw) -> Draw:
    """Images of codes."""

    def draw(x: Tensor, generator: torch.Generator) -> Tensor:
        z = codes(x, generator)
        return model.decode(z.flatten(0, 1)).unflatten(0, z.shape[:2])

    return draw


def gaussian(data: MaskedImages, held: MaskedImages) -> Draw:
    """Draws from the Gaussian with the moments of whole digits, given what was measured."""
    flat = data.truth.flatten(1).double()
    mean, covariance = flat.mean(0), torch.cov(flat.T)
    basis = hartley(torch.eye(64, dtype=torch.float64).view(64, *SHAPE)).view(64, 64)  # rows are transforms of pixels

    def draw(x: Tensor, generator: torch.Generator) -> Tensor:
        images = []
        for y, mask in zip(OPERATOR.seen(x).double(), OPERATOR.mask(x), strict=True):
            rows = basis[mask.flatten() == 1.0]
            inner = rows @ covariance @ rows.T + held.noise**2 * torch.eye(len(rows), dtype=torch.float64)
            gain = torch.linalg.solve(inner, rows @ covariance).T
            left = covariance - gain @ rows @ covariance
            values, vectors = torch.linalg.eigh(0.5 * (left + left.T))
            noise = torch.randn(DRAWS, 64, generator=generator, dtype=torch.float64)
            away = noise * values.clamp(min=0.0).sqrt() @ vectors.T
            images.append((mean + gain @ rows @ (y.flatten() - mean) + away).view(DRAWS, *SHAPE).float())
        return torch.stack(images)

    return draw


def tasks(
    train: MaskedImages, held: MaskedImages, gamma: float, seed: int
) -> dict[str, Callable[[], tuple[Draw, float]]]:
    """Name to what trains it and gives how to draw, with the standard deviation of images around what is drawn."""
    noise = math.sqrt(gamma / LAM)
    common = {"lam": LAM, "gamma": gamma, "gamma_start": GAMMA_START, "widths": WIDTHS, "observe": "fourier_mask"}

    def evia(data: MaskedImages, **settings: Any) -> tuple[Draw, float]:
        model = EVIA(SHAPE, 6, candidates=1024, seed=seed, **common, **settings)
        trained(model, data, seed)
        return decoded(model, lambda x, g: model.posterior_sample(x, DRAWS, generator=g)), noise

    def chains() -> tuple[Draw, float]:
        settings = {"chains": 2, "chain_steps": 6, "start": "replay", "memory": len(train.y)}
        model = LangevinEVIA(SHAPE, 8, seed=seed, **settings, **common)
        trained(model, train, seed)
        return decoded(model, lambda x, g: model.posterior_sample(x, DRAWS, generator=g)), noise

    def encoder(model: MaskedVAE) -> tuple[Draw, float]:
        trained(model, train, seed)
        return decoded(model, model.codes), noise

    return {
        "EVIA, sinkhorn": lambda: evia(train),
        "EVIA, dual": lambda: evia(train, critic="dual"),
        "EVIA, w = 0": lambda: evia(train, critic="none"),
        "EVIA, Langevin": chains,
        "VAE": lambda: encoder(MaskedVAE(8, gamma, seed)),
        "WAE": lambda: encoder(MaskedWAE(8, gamma, seed)),
        "EVIA, sinkhorn, whole digits seen": lambda: evia(whole(train, seed)),
        "Gaussian, whole digits seen": lambda: (gaussian(train, held), 0.0),
    }


@torch.no_grad()
def judged(draw: Draw, noise: float, held: MaskedImages, seed: int) -> Judgement:
    """Numbers of one model."""
    generator = torch.Generator().manual_seed(seed)
    images = draw(OPERATOR.pack(held.batch), generator)
    return judge(families_of(images, held, model_noise=noise, generator=generator), held)


def main() -> None:
    """All rows, each seed after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0", help="comma-separated")
    parser.add_argument("--gamma", type=float, default=GAMMA)
    parser.add_argument("--only", default="", help="rows whose name contains this; nothing is written")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for seed in map(int, options.seeds.split(",")):
        train, held = masked_digits(seed=seed)
        for name, make in tasks(train, held, options.gamma, seed).items():
            if options.only not in name:
                continue
            began = time.process_time()
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                draw, noise = make()
                seconds = time.process_time() - began
                found = judged(draw, noise, held, seed)
            told = sorted({str(each.message) for each in caught})
            rows.append(
                {"model": name, "seed": seed, "training_cpu_s": round(seconds, 1), **asdict(found), "warnings": told}
            )
            print(line(name, found, seconds), *told, sep="\n    ")
    if not options.only:
        path = RESULTS / "models-masked-fourier.json"
        path.write_text(
            json.dumps(heading(options.gamma) | {"rows": rows}, indent=1, allow_nan=False) + "\n", encoding="utf-8"
        )
        print(path)


def line(name: str, found: Judgement, seconds: float) -> str:
    """One row for a person."""
    return (
        f"{name:<34} residual {found.residual:.3f}  spread {found.spread_measured:.3f} | {found.spread_missing:.3f}  "
        f"error {found.error_missing:.3f} (zero {found.error_zero:.3f})  90 %: {found.coverage[0.9]:.3f}, "
        f"decoder alone {found.decoded_coverage[0.9]:.3f}, pixels {found.pixel_coverage[0.9]:.3f}, width {found.width:.2f}  "
        f"{seconds:.0f} s"
    )


def heading(gamma: float) -> dict[str, Any]:
    """Machine, versions, date, settings."""
    packages = ("isotherm", "torch", "numpy", "scikit-learn")
    return {
        "schema": 1,
        "kind": "models-masked-fourier",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": {"processor": processor_name(), "cores": os.cpu_count()},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "settings": {
            "lam": LAM,
            "gamma": gamma,
            "gamma_start": GAMMA_START,
            "steps": STEPS,
            "draws": DRAWS,
            "threads": 1,
        },
    }


if __name__ == "__main__":
    main()
