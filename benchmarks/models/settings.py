"""What each model is trained with, on digits: one row each; the same networks and codes of eight numbers for all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from isotherm.models import AAE, EVIA, VAE, WAE, AbstractModel, LangevinEVIA, SinkhornAutoencoder, SinkhornGenerator

LATENT, WIDTHS = 8, (256, 256)
TRAINING = {"steps": 1500, "batch_size": 256, "learning_rate": 2e-3, "schedule": "cosine"}


@dataclass(frozen=True)
class Row:
    """A model with its settings.

    Attributes:
        kind: Its class.
        settings: Of the model, beside shape, latent, widths and seed.
        training: Of the training, where it differs from `TRAINING`.
        prior_match: How the codes are held to the prior, in words, for the family table.
        temperature: What gamma is in it.
    """

    kind: type[AbstractModel]
    settings: dict[str, Any]
    prior_match: str
    temperature: str
    training: dict[str, Any] = field(default_factory=dict)

    def make(self, shape: tuple[int, ...], seed: int) -> AbstractModel:
        """A new model."""
        made: Any = self.kind
        return made(shape, **{"latent": LATENT, "widths": WIDTHS, **self.settings}, seed=seed)

    def trained_with(self, seed: int) -> dict[str, Any]:
        """Settings of its training."""
        return {**TRAINING, **self.training, "seed": seed}


DIGITS: dict[str, Row] = {  # chosen by benchmarks.models.choose
    "VAE": Row(VAE, {"gamma": 0.1}, "each posterior pays KL to the prior", "price of that KL"),
    "WAE": Row(WAE, {"weight": 200.0}, "MMD of all codes together", "0"),
    "WAE-OT": Row(WAE, {"penalty": "ot", "weight": 5.0, "epsilon": 1.0}, "Sinkhorn divergence of all codes", "0"),
    "AAE": Row(AAE, {"weight": 0.5, "flatness": 1.0, "pace": 2.0}, "a discriminator of codes and draws", "0"),
    "SAE": Row(SinkhornAutoencoder, {"weight": 5.0, "epsilon": 2.0}, "Sinkhorn divergence, in halves", "0"),
    "EVIA": Row(
        EVIA,
        {"gamma": 0.5, "debias": True, "candidates": 1024},
        "potential w of transport to the prior",
        "of each posterior",
        {"batch_size": 512, "learning_rate": 3e-3},
    ),
    "EVIA by chains": Row(
        LangevinEVIA,
        {"gamma": 0.2, "chains": 2, "chain_steps": 10, "answer_steps": 200, "answer_warm_up": 100},
        "potential w, climbing the dual",
        "of each posterior",
        {"steps": 600, "batch_size": 128},
    ),
    "Sinkhorn generator": Row(
        SinkhornGenerator,
        {"epsilon": 0.1, "loss": "halves"},
        "no codes",
        "of the plan",
        {"batch_size": 512, "learning_rate": 3e-3},
    ),
}
