"""Which loss keeps the variance? Trained and in closed form; writes benchmarks/results/models-variance.json.

    python -m benchmarks.models.variance                    # about two minutes
    python -m benchmarks.models.variance --quick            # whether it runs

Trio: a generator A(z) = s z learns normal data of variance S on a line, with each loss that goes by Sinkhorn's name, cost
|x - y|^2. The variance s^2 that it takes on should be S - epsilon/2 (raw), S - epsilon^2 / (16 S) (sharp), S (debiased, unrolled, halves).

Codes: a Sinkhorn autoencoder with a normal prior in 64 dimensions, at the temperature of [Patrini2020], epsilon = 10. The
variance of a coordinate of its codes should be 1, and is with "halves", which compares different points everywhere; with
"debiased" each of a few points in many dimensions is its own nearest neighbour.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.models.gather import gather, parser
from benchmarks.models.results import heading
from isotherm.models import SinkhornAutoencoder, SinkhornGenerator
from isotherm.models.streams import Streams
from isotherm.models.training import Training

RESULT = "models-variance.json"
TRUE, EPSILON = 1.4, 0.6
EXPECTED = {
    "raw": TRUE - EPSILON / 2.0,
    "sharp": TRUE - EPSILON**2 / (16.0 * TRUE),
    "debiased": TRUE,
    "unrolled": TRUE,
    "halves": TRUE,
}
SHRINKING = ("debiased", "sharp", "raw")
LINE = {"steps": 400, "batch_size": 384, "learning_rate": 0.02, "schedule": "cosine"}
OBSERVATIONS, CODED = 2048, 8192
CODES = {"latent": 64, "widths": (64,), "lam": 1.0, "weight": 10.0, "epsilon": 10.0}
CODE_TRAINING = {"steps": 600, "batch_size": 256, "learning_rate": 3e-3, "schedule": "cosine"}


class Scale(nn.Module):
    """z -> s z."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, z: Tensor) -> Tensor:
        """Shape (n, 1)."""
        return self.scale * z


def normal_quantiles(count: int, variance: float) -> Tensor:
    """A sample of N(0, variance) without luck: values at equal steps of probability, of exactly that variance; (count, 1)."""
    steps = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    x = torch.special.ndtri(steps)
    return (x / x.square().mean().sqrt() * math.sqrt(variance)).float()[:, None]


def on_a_line(loss: str, *, seed: int, training: dict[str, Any]) -> dict[str, Any]:
    """The variance that a generator takes on."""
    scale = Scale()
    model = SinkhornGenerator((1,), 1, loss=loss, epsilon=EPSILON, epsilon_unit="cost", decoder=scale, seed=seed)
    model.fit(normal_quantiles(OBSERVATIONS, TRUE), Training(**training, seed=seed))
    return {
        "what": "line",
        "loss": loss,
        "seed": seed,
        "expected": EXPECTED[loss],
        "found": float(scale.scale.detach() ** 2),
    }


def of_codes(divergence: str, *, seed: int, training: dict[str, Any]) -> dict[str, Any]:
    """The variance of the codes of an autoencoder of normal data in 64 dimensions."""
    x = torch.randn(CODED, 64, generator=Streams(seed)["observations"])
    encoder, decoder = nn.Linear(64, 64), nn.Linear(64, 64)
    with torch.no_grad():
        for layer in (encoder, decoder):
            layer.weight.copy_(torch.eye(64))
            layer.bias.zero_()
    model = SinkhornAutoencoder((64,), **CODES, divergence=divergence, seed=seed, encoder=encoder, decoder=decoder)
    model.fit(x, Training(**training, seed=seed))
    codes = model.encode(x).detach()
    return {
        "what": "codes",
        "loss": divergence,
        "seed": seed,
        "expected": 1.0 if divergence == "halves" else None,
        "found": float(codes.var(0).mean()),
        "data": float(x.var(0).mean()),
    }


def main(arguments: list[str] | None = None) -> None:
    """Run both."""
    options = parser("variance", "Which loss keeps it?", seeds="0,1,2,3,4", result=RESULT).parse_args(arguments)
    result = heading(
        "models-variance", {"true": TRUE, "epsilon": EPSILON, "line": LINE, "codes": {**CODES, **CODE_TRAINING}}
    )
    short = {"steps": 2} if options.quick else {}
    cases = [("line", loss) for loss in EXPECTED] + [("codes", divergence) for divergence in ("halves", *SHRINKING)]
    tasks = [(what, loss, seed, short) for seed in options.seeds for what, loss in cases]
    gather(result, run, tasks, options=options, name=RESULT, told=told)


def run(what: str, loss: str, seed: int, training: dict[str, Any]) -> dict[str, Any]:
    """One training."""
    if what == "line":
        return on_a_line(loss, seed=seed, training={**LINE, **training})
    return of_codes(loss, seed=seed, training={**CODE_TRAINING, **training})


def told(row: dict[str, Any]) -> str:
    """A row in a line."""
    expected = "" if row["expected"] is None else f", expected {row['expected']:.3f}"
    return f"{row['what']}, {row['loss']}, seed {row['seed']}: variance {row['found']:.3f}{expected}"


if __name__ == "__main__":
    main()
