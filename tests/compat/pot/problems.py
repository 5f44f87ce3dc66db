"""Problems that the tests of the drop-in share, and how arrays are made in either library."""

import numpy as np
import torch

LIBRARIES = ["numpy", "torch"]


def arrays(library: str, *values, dtype: str = "float64"):
    """Arrays of a library and dtype."""
    if library == "numpy":
        made = [np.asarray(value, dtype=dtype) for value in values]
    else:
        made = [torch.tensor(np.asarray(value), dtype=getattr(torch, dtype)) for value in values]
    return made[0] if len(made) == 1 else made


def random_costs(sources: int = 7, targets: int = 5, seed: int = 0):
    """Unequal weights of mass one and costs between random points in the plane, NumPy and float64."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(sources, 2)), rng.normal(size=(targets, 2)) + 0.5
    a, b = rng.random(sources) + 0.2, rng.random(targets) + 0.2
    return a / a.sum(), b / b.sum(), ((x[:, None] - y) ** 2).sum(-1), x, y


def as_numpy(array):
    """A result as a NumPy array."""
    return array.detach().numpy() if isinstance(array, torch.Tensor) else np.asarray(array)
