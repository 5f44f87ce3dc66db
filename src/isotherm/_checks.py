"""Every check of public input, with its message: what was expected, what came, what to do."""

from __future__ import annotations

import difflib
import math
import os
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

REAL, INTEGRAL = (float, int, Real), (int, Integral)  # the usual first: an abstract class takes longer to ask
MASS_TOLERANCE = 1e-5  # relative: what weights normalised in float32 may miss, whatever dtype they are in now


def check_points(points: Tensor, name: str) -> Tensor:
    """A finite, non-empty point cloud of shape (N, D); a vector is read as N points on a line."""
    if points.ndim == 1:
        points = points[:, None]
    if points.ndim == 0:
        msg = f"`{name}` must have shape (points, features): got a single number. Pass an array with one row per point."
        raise ValueError(msg)
    if points.ndim != 2:
        msg = f"`{name}` must have shape (points, features): got {tuple(points.shape)}. Flatten the other axes first."
        raise ValueError(msg)
    if points.shape[0] == 0 or points.shape[1] == 0:
        msg = f"`{name}` must hold at least one point with one feature: got shape {tuple(points.shape)}. Check how it was selected."
        raise ValueError(msg)
    check_finite(points, name)
    return points


def all_finite(values: Tensor) -> bool:
    """Whether all entries are numbers. Their sum tells, in one pass; only where it overflows are they looked at."""
    return math.isfinite(values.detach().sum()) or bool(values.isfinite().all())


def check_finite(values: Tensor, name: str) -> None:
    """Reject NaN and infinity, saying where the first one is."""
    if not all_finite(values):
        bad = ~values.isfinite()
        first = tuple(bad.nonzero()[0].tolist())
        msg = (
            f"`{name}` must be finite: got {int(bad.sum())} NaN or infinite entries, the first at index {first}. "
            f"Remove or impute them."
        )
        raise ValueError(msg)


def check_same_features(x: Tensor, y: Tensor, names: tuple[str, str] = ("x", "y")) -> None:
    """Both clouds must live in the same space."""
    if x.shape[1] != y.shape[1]:
        msg = (
            f"`{names[0]}` and `{names[1]}` must have the same number of features: got {x.shape[1]} and {y.shape[1]}. "
            f"Project both to one space, or pass the cost between them as CostMatrix(C)."
        )
        raise ValueError(msg)


def check_same_array_kind(x: Tensor, y: Tensor, names: tuple[str, str] = ("x", "y")) -> None:
    """One dtype and one device; converting silently would hide a loss of precision or a copy."""
    if x.dtype != y.dtype:
        msg = (
            f"`{names[0]}` and `{names[1]}` must have the same dtype: got {x.dtype} and {y.dtype}. Convert one of them."
        )
        raise TypeError(msg)
    if x.device != y.device:
        msg = f"`{names[0]}` and `{names[1]}` must be on the same device: got {x.device} and {y.device}. Move one of them."
        raise TypeError(msg)


def check_squares_fit(largest: float, dtype: torch.dtype) -> None:
    """Reject clouds whose squared distances overflow."""
    if not 4.0 * largest < torch.finfo(dtype).max:
        msg = (
            f"Squared distances between `x` and `y` must fit {dtype}: got points up to {largest**0.5:.2g} from their "
            f"centre. Rescale the points, or use float64."
        )
        raise ValueError(msg)


def check_matrix(matrix: Tensor, name: str) -> Tensor:
    """A finite, non-empty matrix."""
    if matrix.ndim != 2 or 0 in matrix.shape:
        msg = f"`{name}` must have shape (sources, targets), both at least 1: got {tuple(matrix.shape)}. Pass a two-dimensional array."
        raise ValueError(msg)
    check_finite(matrix, name)
    return matrix


def check_weights(weights: Tensor, name: str, size: int) -> Tensor:
    """Non-negative, finite, not all zero, one per point."""
    if weights.shape != (size,):
        msg = f"`{name}` must have one weight per point, shape ({size},): got {tuple(weights.shape)}. Leave it out for equal weights."
        raise ValueError(msg)
    total = float(weights.detach().sum())
    if not math.isfinite(total):
        check_finite(weights, name)  # the sum alone may have overflowed
    if weights.min() < 0:
        msg = f"`{name}` must be non-negative: got {float(weights.min()):.4g}. Clip or shift the weights so that they measure mass."
        raise ValueError(msg)
    if not total > 0:
        msg = f"`{name}` must have a positive total mass: got all zeros. Leave it out for equal weights."
        raise ValueError(msg)
    return weights


def check_equal_masses(a: Tensor, b: Tensor) -> None:
    """Balanced transport needs as much mass on one side as on the other."""
    mass_a, mass_b = float(a.sum(dtype=torch.float64)), float(b.sum(dtype=torch.float64))
    if abs(mass_a - mass_b) > MASS_TOLERANCE * max(mass_a, mass_b):
        msg = (
            f"`a` must sum to the same mass as `b`: got {mass_a:.9g} and {mass_b:.9g}. "
            f"Normalise both, or pass rho_a and rho_b for unbalanced transport."
        )
        raise ValueError(msg)


def check_epsilon(epsilon: Any) -> float:
    """A finite number of at least zero; zero is the cold end and left to `Exact`."""
    if isinstance(epsilon, bool) or not isinstance(epsilon, REAL):
        msg = f"`epsilon` must be a number in units of cost, or Relative(0.05): got {epsilon!r}. Pass one of the two."
        raise TypeError(msg)
    value = float(epsilon)
    if math.isnan(value) or value < 0 or math.isinf(value):
        msg = (
            f"`epsilon` must be positive and finite: got {value}. It is a temperature in units of cost; "
            f"Relative(0.05) sets it to 5 % of the mean cost."
        )
        raise ValueError(msg)
    return value


def check_warm(epsilon: float) -> None:
    """Entropic solvers need a temperature above zero."""
    if epsilon <= 0:
        msg = (
            f"`epsilon` must be positive for an entropic solver: got {epsilon}. "
            f"For exact transport, the cold end of the dial, pass solver=Exact()."
        )
        raise ValueError(msg)


def check_positive(value: Any, name: str, *, allow_infinity: bool = False) -> float:
    """A positive number."""
    if isinstance(value, bool) or not isinstance(value, REAL):
        msg = f"`{name}` must be a positive number: got {value!r}. Pass an int or a float."
        raise TypeError(msg)
    number = float(value)
    if not number > 0 or (math.isinf(number) and not allow_infinity):
        msg = f"`{name}` must be positive{'' if allow_infinity else ' and finite'}: got {number}. Leave it out for the default."
        raise ValueError(msg)
    return number


def check_count(value: Any, name: str, *, minimum: int = 1) -> int:
    """A whole number of at least `minimum`."""
    if isinstance(value, bool) or not isinstance(value, INTEGRAL):
        msg = f"`{name}` must be a whole number: got {value!r}. Pass an int."
        raise TypeError(msg)
    if value < minimum:
        msg = f"`{name}` must be at least {minimum}: got {value}. Pass a larger number."
        raise ValueError(msg)
    return int(value)


def check_reference(reference: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """A non-negative matrix that leaves every point with mass somewhere to go."""
    shape = (a.shape[0], b.shape[0])
    if tuple(reference.shape) != shape:
        msg = f"`reference` must have shape (sources, targets) = {shape}: got {tuple(reference.shape)}. Transpose it, or select the same points."
        raise ValueError(msg)
    check_finite(reference, "reference")
    if (reference < 0).any():
        msg = (
            f"`reference` must be non-negative: got {float(reference.min()):.4g}. It is a coupling, a measure on pairs."
        )
        raise ValueError(msg)
    reachable = reference[:, b > 0].sum(1) > 0, reference[a > 0].sum(0) > 0
    for side, weights, reached in (("source", a, reachable[0]), ("target", b, reachable[1])):
        stranded = (weights > 0) & ~reached
        if stranded.any():
            msg = (
                f"`reference` must connect every {side} that has mass: {side} {int(stranded.nonzero()[0])} has mass "
                f"and an all-zero {'row' if side == 'source' else 'column'}. Give it some reference mass."
            )
            raise ValueError(msg)
    return reference


def check_choice(value: Any, name: str, choices: Iterable[str]) -> str:
    """One of some names, with the nearest one suggested."""
    options = sorted(choices)
    if value not in options:
        near = difflib.get_close_matches(str(value).lower(), options, n=1, cutoff=0.5)
        hint = f"Did you mean {near[0]!r}?" if near else "Choose one of these names."
        msg = f"`{name}` must be one of {', '.join(map(repr, options))}: got {value!r}. {hint}"
        raise ValueError(msg)
    return value


def check_indices(indices: Tensor, size: int, name: str) -> Tensor:
    """Indices of points that exist; negative ones count from the end."""
    if indices.numel() and not (-size <= int(indices.min()) and int(indices.max()) < size):
        msg = (
            f"`{name}` must lie in [0, {size}): got indices from {int(indices.min())} to {int(indices.max())}. "
            f"Count from 0; negative ones count from the end."
        )
        raise IndexError(msg)
    return indices.long() % size


def check_values(values: Tensor, size: int, name: str) -> Tensor:
    """Finite values, one entry (of any shape) per point."""
    if values.ndim == 0 or values.shape[0] != size:
        msg = f"`{name}` must have one entry per point, shape ({size},) or ({size}, K): got {tuple(values.shape)}. Check which side it belongs to."
        raise ValueError(msg)
    check_finite(values, name)
    return values


def check_known(points: Tensor | None) -> Tensor:
    """Coordinates to be averaged, refused where the problem has none."""
    if points is None:
        msg = "Coordinates of the targets are needed: got a problem given as costs. Pass `values`, one per target, to be averaged."
        raise ValueError(msg)
    return points


def check_dense_fits(rows: int, columns: int, dtype: torch.dtype, device: torch.device, what: str) -> None:
    """Refuse a dense matrix that would not fit in the memory that is free now."""
    needed = rows * columns * torch.finfo(dtype).bits // 8
    free = available_memory(device)
    if needed > free:
        msg = (
            f"{what} of {rows} x {columns} needs {needed / 2**30:.1f} GiB of memory and {free / 2**30:.1f} GiB are free. "
            f"Use the lazy operations (apply, barycentric_map, sample, top_k, to_sparse), or fewer points."
        )
        raise MemoryError(msg)


def available_memory(device: torch.device) -> int:
    """Free memory of a device in bytes."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:  # noqa: PTH123 - a kernel interface, not a path
            fields = dict(line.split(":") for line in lines)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
