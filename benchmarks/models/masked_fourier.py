"""Digits of which half the frequencies were measured: families of answers, judged on digits that were held out.

    python -m benchmarks.models.masked_fourier [--seeds 0,1,2] [--gamma 0.04] [--only dual]

writes benchmarks/results/models-masked-fourier.json. All models see masked observations only, and have the same kind of networks.
Rows "hot" have six numbers for a digit, at a temperature that makes up for what these cannot say. The others have a texture
beside, 64 more numbers, and the temperature of the measurement's noise; so have the autoencoders. Rows "EVIA, ..., texture" and
"EVIA, ..., hot" are one training each. Last stands what needs no network: the mean and the variance of each coefficient where it
was measured, as if coefficients were independent; and the Gaussian with the mean and the covariance of the whole digits,
conditioned on what was measured.
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
from torch import Tensor, nn

from benchmarks.run import RESULTS, commit, processor_name
from isotherm.applications.inverse import (
    Judgement,
    MaskedImages,
    families_of,
    judge,
    masked_digits,
    textured,
    unexplained,
)
from isotherm.divergences import energy_distance
from isotherm.models import EVIA, AbstractModel, LangevinEVIA, Training
from isotherm.models.networks import Flat
from isotherm.posterior import FourierMask
from isotherm.posterior.observation import hartley

SHAPE, WIDTHS = (8, 8), (128, 128)
FEW, TEXTURE = 6, 64  # numbers of a cause: those that bend, and one for each pixel
LAM, GAMMA, GAMMA_START = 1.0, 0.04, 0.5  # GAMMA is that of the hot rows, unless --gamma says otherwise
STEPS, BATCH, RATE = 1000, 200, 2e-3
CHAINS = {"chains": 2, "chain_steps": 4, "chain_step": 0.8, "preconditioner": "gauss-newton", "start": "replay"}
CHAINS |= {"answer_warm_up": 400, "answer_steps": 800}
STEPS_BY_CHAINS = 400
DEVIATION = 0.2  # of textures that are learnt, at the start
DRAWS = 200
VALIDATED = 200  # digits held back from training, masked, to find what is unexplained
CANDIDATES = 16384  # outside training
PENALTY = 10.0  # of the Wasserstein autoencoder, on the energy distance of its codes to the prior
OPERATOR = FourierMask()

Draw = Callable[[Tensor, torch.Generator], Tensor]  # packed observations -> images (n, DRAWS, 8, 8)


class Textured(nn.Module):
    """A perceptron of the first numbers, and a white texture of the others; how strong it is is learnt."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.smooth = Flat((FEW,), WIDTHS, SHAPE, generator)
        self.log_deviation = nn.Parameter(torch.tensor(math.log(DEVIATION)))

    def forward(self, z: Tensor) -> Tensor:
        """Shape (n, 8, 8)."""
        return self.smooth(z[:, :FEW]) + self.log_deviation.exp() * z[:, FEW:].unflatten(1, SHAPE)


class MaskedVAE(AbstractModel):
    """A variational autoencoder that pays for misfit where something was measured."""

    def __init__(self, gamma: float, seed: int) -> None:
        super().__init__(SHAPE, FEW + TEXTURE, seed)
        self.gamma = gamma
        start = self.streams["start"]
        self.encoder = Flat((2, *SHAPE), WIDTHS, (2 * self.latent,), start)
        self.decoder = Textured(start)

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


def trained(model: AbstractModel, data: MaskedImages, seed: int, steps: int = STEPS) -> AbstractModel:
    """All by the same loop."""
    batch = OPERATOR.pack(data.batch)
    Training(steps=steps, batch_size=BATCH, learning_rate=RATE, seed=seed).run(model, batch)
    return model.calibrate(batch) if isinstance(model, EVIA) else model


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


def independent(data: MaskedImages) -> Draw:
    """Draws of coefficients that say nothing of each other, with their means and variances where they were measured."""
    count, seen = data.mask.sum(0), hartley(data.y)
    mean = seen.sum(0) / count
    variance = (data.mask * (seen - mean).square()).sum(0) / count
    signal = (variance - data.noise**2).clamp(min=0.0)

    def draw(x: Tensor, generator: torch.Generator) -> Tensor:
        mask = OPERATOR.mask(x)
        gain = mask * signal / variance  # (n, 8, 8)
        centre, left = mean + gain * (hartley(OPERATOR.seen(x)) - mean), (1.0 - gain) * signal
        noise = torch.randn(len(x), DRAWS, *SHAPE, generator=generator)
        return hartley((centre[:, None] + left.sqrt()[:, None] * noise).flatten(0, 1)).unflatten(0, (len(x), DRAWS))

    return draw


def with_texture(model: EVIA, data: MaskedImages, seed: int) -> Draw:
    """Images of the model's causes and of a texture for what it leaves unexplained in data that were held back."""
    posterior = textured(model, unexplained(model, data, seed=seed), data.noise)

    def draw(x: Tensor, generator: torch.Generator) -> Tensor:
        z = posterior.sample(x, DRAWS, count=CANDIDATES, generator=generator)
        return posterior.forward(z.flatten(0, 1)).unflatten(0, z.shape[:2])

    return draw


def tasks(
    train: MaskedImages, held: MaskedImages, gamma: float, seed: int
) -> dict[str, Callable[[], dict[str, tuple[Draw, float]]]]:
    """What trains a model and gives how to draw, by row, with the standard deviation of images around what is drawn."""
    cold = LAM * train.noise**2
    networks = {"widths": WIDTHS, "gamma_start": GAMMA_START, "observe": "fourier_mask", "lam": LAM, "seed": seed}

    def evia(critic: str) -> dict[str, tuple[Draw, float]]:
        model = EVIA(SHAPE, FEW, gamma=gamma, critic=critic, candidates=1024, points=CANDIDATES // 4, **networks)
        trained(model, train.first(len(train.y) - VALIDATED), seed)
        hot = decoded(model, lambda x, g: model.posterior_sample(x, DRAWS, generator=g))
        rows = {f"EVIA, {critic}, hot": (hot, math.sqrt(gamma / LAM))}
        if critic != "sinkhorn":  # whose w is known at points
            rows[f"EVIA, {critic}, texture"] = (with_texture(model, train.last(VALIDATED), seed), train.noise)
        return rows

    def chains() -> dict[str, tuple[Draw, float]]:
        decoder = Textured(torch.Generator().manual_seed(seed))
        settings = {"critic": "none", "memory": len(train.y), "decoder": decoder, **CHAINS}
        model = LangevinEVIA(SHAPE, FEW + TEXTURE, gamma=cold, **settings, **networks)
        trained(model, train, seed, STEPS_BY_CHAINS)
        draw = decoded(model, lambda x, g: model.posterior_sample(x, DRAWS, generator=g))
        return {"EVIA, none, chains": (draw, train.noise)}

    def encoder(name: str, model: MaskedVAE) -> dict[str, tuple[Draw, float]]:
        trained(model, train, seed)
        return {name: (decoded(model, model.codes), train.noise)}

    return {
        "EVIA, dual": lambda: evia("dual"),
        "EVIA, none": lambda: evia("none"),
        "EVIA, sinkhorn": lambda: evia("sinkhorn"),
        "EVIA, none, chains": chains,
        "VAE": lambda: encoder("VAE", MaskedVAE(cold, seed)),
        "WAE": lambda: encoder("WAE", MaskedWAE(cold, seed)),
        "Coefficients": lambda: {"Coefficients independent": (independent(train), train.noise)},
        "Gaussian": lambda: {"Gaussian, whole digits seen": (gaussian(train, held), 0.0)},
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
    parser.add_argument("--seeds", default="0,1,2", help="comma-separated")
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
            answers = make()
            seconds = time.process_time() - began
            for row, (draw, noise) in answers.items():
                rows.append(measured(row, draw, noise, held, seed) | {"training_cpu_s": round(seconds, 1)})
    if not options.only:
        path = RESULTS / "models-masked-fourier.json"
        path.write_text(
            json.dumps(heading(options.gamma) | {"rows": rows}, indent=1, allow_nan=False) + "\n", encoding="utf-8"
        )
        print(path)


def measured(name: str, draw: Draw, noise: float, held: MaskedImages, seed: int) -> dict[str, Any]:
    """One row, told on the way."""
    began = time.process_time()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = judged(draw, noise, held, seed)
    seconds, told = time.process_time() - began, sorted({str(each.message) for each in caught})
    print(line(name, found, seconds), *told, sep="\n    ", flush=True)
    return {"model": name, "seed": seed, "answers_cpu_s": round(seconds, 1), **asdict(found), "warnings": told}


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
            "steps_by_chains": STEPS_BY_CHAINS,
            "validated": VALIDATED,
            "candidates": CANDIDATES,
            "draws": DRAWS,
            "threads": 1,
        },
    }


if __name__ == "__main__":
    main()
