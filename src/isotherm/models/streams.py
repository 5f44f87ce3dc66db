"""Randomness with one generator per purpose, so that a change in one place leaves the draws of all others as they were."""

from __future__ import annotations

import hashlib
from typing import Any

import torch

from isotherm._checks import check_count


class Streams:
    """Generators by purpose, all from one root seed.

    Args:
        seed: The root.
        device: Where the generators live.

    Example:
        >>> streams = Streams(0)
        >>> first = torch.rand(2, generator=streams["noise"])
        >>> bool((torch.rand(2, generator=Streams(0)["noise"]) == first).all())
        True
        >>> bool((torch.rand(2, generator=streams["prior"]) == first).any())
        False
    """

    def __init__(self, seed: int, device: torch.device | str = "cpu") -> None:
        self.seed = check_count(seed, "seed", minimum=0)
        self.device = torch.device(device)
        self._generators: dict[str, torch.Generator] = {}

    def __getitem__(self, purpose: str) -> torch.Generator:
        """The generator of a purpose, seeded by the root and the purpose's name at its first use."""
        if purpose not in self._generators:
            digest = hashlib.sha256(f"{self.seed} {purpose}".encode()).digest()
            seed = int.from_bytes(digest[:7], "little")
            self._generators[purpose] = torch.Generator(self.device).manual_seed(seed)
        return self._generators[purpose]

    def state_dict(self) -> dict[str, Any]:
        """Root and the state of every generator in use."""
        return {"seed": self.seed, "states": {name: g.get_state() for name, g in self._generators.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken.

        Args:
            state: What `state_dict` gave.
        """
        self.seed, self._generators = int(state["seed"]), {}
        for purpose, each in state["states"].items():
            self[purpose].set_state(each.cpu())
