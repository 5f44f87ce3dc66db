"""Laws in the plane whose shape everybody knows: what a model gets wrong can be seen."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from isotherm._checks import check_choice, check_count

Drawn = tuple[Tensor, Tensor]  # points (n, 2) and the part of the law that each comes from (n,)


def _uniform(count: int, generator: torch.Generator) -> Tensor:
    return torch.rand(count, generator=generator, dtype=torch.float64)


def _normal(count: int, scale: float, generator: torch.Generator) -> Tensor:
    return scale * torch.randn(count, 2, generator=generator, dtype=torch.float64)


def _part(count: int, parts: int, generator: torch.Generator) -> Tensor:
    return torch.randint(parts, (count,), generator=generator)


def gaussian(count: int, generator: torch.Generator) -> Drawn:
    """N(0, I)."""
    return _normal(count, 1.0, generator), torch.zeros(count, dtype=torch.int64)


def eight_gaussians(count: int, generator: torch.Generator) -> Drawn:
    """Eight Gaussians of standard deviation 1 on a circle of radius 5, as in [Tong2024]."""
    part = _part(count, 8, generator)
    angle = 0.25 * math.pi * part.double()
    return 5.0 * torch.stack([angle.cos(), angle.sin()], dim=1) + _normal(count, 1.0, generator), part


def moons(count: int, generator: torch.Generator) -> Drawn:
    """Two half circles of radius 2, each with an end within the other, noise 0.1; as in [Tong2024]."""
    part, t = _part(count, 2, generator), math.pi * _uniform(count, generator)
    outer = torch.stack([t.cos(), t.sin()], dim=1)
    inner = torch.stack([1.0 - t.cos(), 0.5 - t.sin()], dim=1)
    x = torch.where(part[:, None] == 0, outer, inner) + _normal(count, 0.05, generator)
    return 2.0 * x - torch.tensor([1.0, 0.0], dtype=torch.float64), part


def s_curve(count: int, generator: torch.Generator) -> Drawn:
    """The letter S, three units wide and six high, noise 0.075; as in [Tong2024]."""
    t = 3.0 * math.pi * (_uniform(count, generator) - 0.5)
    x = torch.stack([t.sin(), t.sign() * (t.cos() - 1.0)], dim=1) + _normal(count, 0.05, generator)
    return 1.5 * x, (t > 0).long()


def checkerboard(count: int, generator: torch.Generator) -> Drawn:
    """Uniform on the eight black fields of a board with 4 x 4 fields of side 2, centred."""
    part = _part(count, 8, generator)
    row, column = part // 2, 2 * (part % 2) + (part // 2) % 2
    corner = torch.stack([column, row], dim=1).double()
    within = torch.rand(count, 2, generator=generator, dtype=torch.float64)
    return 2.0 * (corner + within) - 4.0, part


def spirals(count: int, generator: torch.Generator) -> Drawn:
    """Two arms that wind one and a half times around the origin to radius pi, noise 0.1."""
    part, turn = _part(count, 2, generator), 3.0 * math.pi * _uniform(count, generator).sqrt()
    arm = turn[:, None] / 3.0 * torch.stack([-turn.cos(), turn.sin()], dim=1)
    return torch.where(part[:, None] == 0, arm, -arm) + _normal(count, 0.1, generator), part


def circles(count: int, generator: torch.Generator) -> Drawn:
    """Two circles around the origin, radii 1 and 2, with equal mass, noise 0.1."""
    part, angle = _part(count, 2, generator), 2.0 * math.pi * _uniform(count, generator)
    ring = (1.0 + part.double())[:, None] * torch.stack([angle.cos(), angle.sin()], dim=1)
    return ring + _normal(count, 0.1, generator), part


PLANAR: dict[str, Callable[[int, torch.Generator], Drawn]] = {
    "8gaussians": eight_gaussians,
    "checkerboard": checkerboard,
    "circles": circles,
    "gaussian": gaussian,
    "moons": moons,
    "scurve": s_curve,
    "spirals": spirals,
}


def planar(name: str, count: int, *, generator: torch.Generator) -> Drawn:
    """Draw points from a law in the plane.

    Args:
        name: One of `PLANAR`.
        count: How many points.
        generator: Source of randomness.

    Returns:
        Points, shape (count, 2), float64, and the part of the law that each comes from, shape (count,), int64.

    Raises:
        ValueError: An unknown name, or no points.

    Example:
        >>> points, part = planar("moons", 5, generator=torch.Generator().manual_seed(0))
        >>> points.shape, int(part.max())
        (torch.Size([5, 2]), 1)
    """
    check_choice(name, "name", PLANAR)
    check_count(count, "count")
    return PLANAR[name](count, generator)
