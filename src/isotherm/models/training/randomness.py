"""All randomness of a training: the streams of the model, and torch's own for dropout, each process with draws of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from isotherm.models.streams import Streams


def streams_of(model: nn.Module) -> dict[str, Streams]:
    """Every `streams` of a model and of its parts, by the part's name."""
    found = ((name, getattr(part, "streams", None)) for name, part in model.named_modules())
    return {name: streams for name, streams in found if isinstance(streams, Streams)}


def set_apart(model: nn.Module, rank: int) -> None:
    """Give the streams of a process another root, so that no two draw the same noise; the first one keeps its own.

    Args:
        model: Changed in place.
        rank: Which process.
    """
    for streams in streams_of(model).values() if rank else ():
        digest = hashlib.sha256(f"{streams.seed} process {rank}".encode()).digest()
        streams.load_state_dict({"seed": int.from_bytes(digest[:7], "little"), "states": {}})


@contextmanager
def own_global_state(seed: int, rank: int, device: torch.device) -> Iterator[None]:
    """Networks with dropout draw from torch's global state: seed it within the block, and leave it as it was.

    Args:
        seed: Root.
        rank: Which process.
        device: Where networks compute.

    Yields:
        Nothing.
    """
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        root = Streams(seed)[f"dropout {rank}"].initial_seed()
        torch.default_generator.manual_seed(root)  # torch.manual_seed would reach GPUs that are not ours
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(root)
        yield


def randomness(model: nn.Module, device: torch.device) -> dict[str, Any]:
    """Where every generator stands."""
    state: dict[str, Any] = {name: streams.state_dict() for name, streams in streams_of(model).items()}
    on_gpu = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    return {"streams": state, "global": torch.get_rng_state(), "gpu": on_gpu}


def go_on(model: nn.Module, device: torch.device, state: dict[str, Any]) -> None:
    """Set every generator to where it stood.

    Args:
        model: Whose streams.
        device: Where networks compute.
        state: What `randomness` gave.
    """
    for name, streams in streams_of(model).items():
        streams.load_state_dict(state["streams"][name])
    torch.set_rng_state(state["global"].cpu())
    if state["gpu"] is not None and device.type == "cuda":
        torch.cuda.set_rng_state(state["gpu"].cpu(), device)
