"""Small problems with every tensor asking for a derivative."""

from typing import NamedTuple

import torch
from torch import Tensor

EXACT = {"tolerance": 1e-13, "solver": "log", "on_failure": "ignore"}  # to the last digits that rounding leaves


class Given(NamedTuple):
    """Points, logarithms of unnormalised weights, temperature and prices."""

    x: Tensor
    y: Tensor
    u: Tensor
    v: Tensor
    epsilon: Tensor
    rho_a: Tensor
    rho_b: Tensor


def given(n: int = 4, m: int = 3, d: int = 2, *, seed: int = 0, needs_grad: bool = True) -> Given:
    """Random clouds in float64; the weights are u.softmax(0) where they have to be normalised, else u.exp()."""
    generator = torch.Generator().manual_seed(seed)
    sizes = ((n, d), (m, d), (n,), (m,))
    drawn = [torch.randn(size, generator=generator, dtype=torch.float64) for size in sizes]
    numbers = [torch.tensor(value, dtype=torch.float64) for value in (0.7, 1.3, 2.1)]
    return Given(*(t.requires_grad_(needs_grad) for t in (*drawn, *numbers)))
