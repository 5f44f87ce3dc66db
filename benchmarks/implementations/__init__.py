"""Who competes, one file each; loaded by name, so that a peer that is not installed is missed only where it is asked for.

Every file has `versions() -> dict[str, str]` and `prepare(case, inputs)`, which returns a function without arguments
that computes the case's outputs, or raises NotImplementedError for what the library does not offer.
"""

NAMES = ("isotherm", "reference", "torch", "geomloss")
PEERS = ("geomloss",)  # need benchmarks/peers.txt
DESCRIPTIONS = {
    "isotherm": "isotherm, compiled",
    "reference": "isotherm, plain torch",
    "torch": "torch.logsumexp in blocks",
    "geomloss": "GeomLoss online (KeOps)",
}
