"""Every model by the name it has in a command and in a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isotherm.models.vae import VAE

if TYPE_CHECKING:
    from isotherm.models.model import AbstractModel

MODELS: dict[str, type[AbstractModel]] = {
    "vae": VAE,
}
