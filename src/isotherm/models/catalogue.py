"""Every model by the name it has in a command and in a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isotherm.models.aae import AAE
from isotherm.models.evia import EVIA
from isotherm.models.evia_langevin import LangevinEVIA
from isotherm.models.generator import SinkhornGenerator
from isotherm.models.sinkhorn_autoencoder import SinkhornAutoencoder
from isotherm.models.vae import VAE
from isotherm.models.wae import WAE

if TYPE_CHECKING:
    from isotherm.models.model import AbstractModel

MODELS: dict[str, type[AbstractModel]] = {
    "vae": VAE,
    "wae": WAE,
    "aae": AAE,
    "sae": SinkhornAutoencoder,
    "evia": EVIA,
    "evia-langevin": LangevinEVIA,
    "generator": SinkhornGenerator,
}
