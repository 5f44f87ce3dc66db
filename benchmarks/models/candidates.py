"""What is tried for each model before its settings are chosen: the model's settings, and what its training has beside `TRAINING`."""

from __future__ import annotations

from typing import Any

Candidate = tuple[dict[str, Any], dict[str, Any]]

LARGE = {"batch_size": 512, "learning_rate": 3e-3}  # batches that hold most of the data
LONG = {"steps": 3000}
EVIA = {"debias": True, "candidates": 512}
CHAINS = {"chains": 2, "chain_steps": 10, "answer_steps": 200, "answer_warm_up": 100}
SHORT = {"steps": 600, "batch_size": 128}

CANDIDATES: dict[str, tuple[Candidate, ...]] = {
    "EVIA": (
        ({"gamma": 0.5, **EVIA}, {}),
        ({"gamma": 1.0, **EVIA}, {}),
        ({"gamma": 2.0, **EVIA}, {}),
        ({"gamma": 0.5, **EVIA}, LARGE),
        ({"gamma": 1.0, **EVIA}, LARGE),
        ({"gamma": 0.3, **EVIA}, LARGE),
        ({"gamma": 0.5, "debias": True, "candidates": 1024}, LARGE),
    ),
    "Sinkhorn generator": (
        ({"epsilon": 0.25}, LARGE),
        ({"epsilon": 0.1}, LARGE),
        ({"epsilon": 0.25, "loss": "halves"}, LARGE),
        ({"epsilon": 0.1, "loss": "halves"}, LARGE),
        ({"epsilon": 0.05, "loss": "halves"}, LARGE),
        ({"epsilon": 0.1, "loss": "halves"}, {**LARGE, **LONG}),
    ),
    "VAE": (
        ({"gamma": 0.02}, {}),
        ({"gamma": 0.05}, {}),
        ({"gamma": 0.1}, {}),
        ({"gamma": 0.2}, {}),
    ),
    "WAE": (
        ({"weight": 20.0}, {}),
        ({"weight": 50.0}, {}),
        ({"weight": 100.0}, {}),
        ({"weight": 200.0}, {}),
    ),
    "WAE-OT": (
        ({"penalty": "ot", "weight": 5.0, "epsilon": 1.0}, {}),
        ({"penalty": "ot", "weight": 10.0, "epsilon": 1.0}, {}),
        ({"penalty": "ot", "weight": 20.0, "epsilon": 1.0}, {}),
    ),
    "AAE": (
        ({"weight": 0.2, "flatness": 1.0, "pace": 2.0}, {}),
        ({"weight": 0.5, "flatness": 1.0, "pace": 2.0}, {}),
        ({"weight": 0.5, "flatness": 5.0, "pace": 2.0}, {}),
    ),
    "SAE": (  # at epsilon = 1 it is WAE-OT
        ({"weight": 5.0, "epsilon": 2.0}, {}),
        ({"weight": 10.0, "epsilon": 2.0}, {}),
        ({"weight": 5.0, "epsilon": 4.0}, {}),
    ),
    "EVIA by chains": (
        ({"gamma": 0.1, **CHAINS}, SHORT),
        ({"gamma": 0.2, **CHAINS}, SHORT),
        ({"gamma": 0.4, **CHAINS}, SHORT),
    ),
}
