"""What is tried for each model before its settings are chosen: the model's settings, and what its training has beside `TRAINING`."""

from __future__ import annotations

from typing import Any

Candidate = tuple[dict[str, Any], dict[str, Any]]

COSINE = {"schedule": "cosine"}
LARGE = {"steps": 2400, "batch_size": 512, "learning_rate": 3e-3}  # batches that hold most of the data
EVIA = {"debias": True, "candidates": 512}
CHAINS = {"chains": 2, "chain_steps": 10, "answer_steps": 200, "answer_warm_up": 100}
SHORT = {"steps": 600, "batch_size": 128}

CANDIDATES: dict[str, tuple[Candidate, ...]] = {
    "EVIA": (
        ({"gamma": 0.5, **EVIA}, {}),
        ({"gamma": 0.5, **EVIA}, COSINE),
        ({"gamma": 1.0, **EVIA}, COSINE),
        ({"gamma": 2.0, **EVIA}, COSINE),
        ({"gamma": 1.0, **EVIA}, {"steps": 1500, "batch_size": 512, "learning_rate": 3e-3, **COSINE}),
    ),
    "Sinkhorn generator": (
        ({"epsilon": 0.25}, LARGE),
        ({"epsilon": 0.1}, {**LARGE, **COSINE}),
        ({"epsilon": 0.25, "loss": "halves"}, LARGE),
        ({"epsilon": 0.25, "loss": "halves"}, {**LARGE, **COSINE}),
        ({"epsilon": 0.1, "loss": "halves"}, {**LARGE, **COSINE}),
        ({"epsilon": 0.05, "loss": "halves"}, {**LARGE, **COSINE}),
    ),
    "VAE": (
        ({"gamma": 0.05}, {}),
        ({"gamma": 0.05}, COSINE),
        ({"gamma": 0.02}, COSINE),
        ({"gamma": 0.1}, COSINE),
    ),
    "WAE": (
        ({"weight": 50.0}, {}),
        ({"weight": 50.0}, COSINE),
        ({"weight": 100.0}, COSINE),
    ),
    "WAE-OT": (
        ({"penalty": "ot", "weight": 10.0, "epsilon": 1.0}, {}),
        ({"penalty": "ot", "weight": 10.0, "epsilon": 1.0}, COSINE),
        ({"penalty": "ot", "weight": 5.0, "epsilon": 1.0}, COSINE),
    ),
    "AAE": (
        ({"weight": 0.2, "flatness": 1.0, "pace": 2.0}, {}),
        ({"weight": 0.2, "flatness": 1.0, "pace": 2.0}, COSINE),
        ({"weight": 0.5, "flatness": 1.0, "pace": 2.0}, COSINE),
        ({"weight": 0.5, "flatness": 5.0, "pace": 2.0}, COSINE),
    ),
    "SAE": (
        ({"weight": 5.0, "epsilon": 2.0}, {}),
        ({"weight": 5.0, "epsilon": 2.0}, COSINE),
        ({"weight": 10.0, "epsilon": 2.0}, COSINE),
        ({"weight": 5.0, "epsilon": 1.0}, COSINE),
    ),
    "EVIA by chains": (
        ({"gamma": 0.2, **CHAINS}, SHORT),
        ({"gamma": 0.2, **CHAINS}, {**SHORT, **COSINE}),
        ({"gamma": 0.1, **CHAINS}, {**SHORT, **COSINE}),
    ),
}
