"""Give one photograph the colours of another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from isotherm._checks import check_count
from isotherm.coupling import AbstractCoupling, EntropicCoupling
from isotherm.geometry import Relative, merge_equal_points
from isotherm.solvers import solve

if TYPE_CHECKING:
    from isotherm.solution import Solution
    from isotherm.solvers import AbstractSolver
    from isotherm.solvers.stopping import Callback

Progress = Callable[[float], None]  # called with the share that is done, in [0, 1]

DEFAULT_SAMPLES = 3000
CHUNK = 8192  # distinct colours mapped between two looks at the progress


@dataclass(frozen=True, eq=False, kw_only=True)
class Recoloured:
    """A picture in the colours of another, and the coupling that did it.

    Attributes:
        image: The recoloured picture, shape (H, W, 3), uint8.
        solution: Coupling of the distinct colours among the sampled pixels, weighted by how many have them; converged
            or not: look at its `status`.
        source_pixels: Which pixels of the source picture were sampled, flat indices in rising order.
        target_pixels: Which pixels of the target picture were sampled.
    """

    image: np.ndarray
    solution: Solution
    source_pixels: np.ndarray
    target_pixels: np.ndarray


def recolour(  # noqa: PLR0913 - the front door of the application: two pictures, a sample, a solve, two listeners
    source_image: np.ndarray,
    target_image: np.ndarray,
    *,
    epsilon: float | Relative = Relative(0.05),
    samples: int = DEFAULT_SAMPLES,
    generator: torch.Generator | None = None,
    solver: AbstractSolver | str | None = None,
    tolerance: float | None = None,
    callback: Callback | None = None,
    progress: Progress | None = None,
) -> Recoloured:
    """Give one photograph the colours of another.

    Colours are points in [0, 1]^3. A sample of each picture's pixels is coupled at squared Euclidean cost; then every
    pixel of the source picture, sampled or not, moves to the mean of the colours that it is coupled with:

        T(x) = sum_j b_j exp((g_j - |x - y_j|^2) / epsilon) y_j / sum_j b_j exp((g_j - |x - y_j|^2) / epsilon)

    Cold, the new picture has the colours of the target and sharp edges between them; hot, it fades to their mean. Time
    O(K^2) per iteration for K distinct colours among the samples, and O(K) per distinct colour of the picture.

    Args:
        source_image: Picture to change, shape (H, W, 3), uint8.
        target_image: Picture whose colours it takes, any size, uint8.
        epsilon: Temperature in units of squared colour distance, or a share of its mean.
        samples: Pixels drawn from each picture without replacement; all of a picture that has fewer.
        generator: Source of randomness; seeded with 0 when left out, so that the same pictures give the same result.
        solver: A solver object or its name; `Auto()` when left out.
        tolerance: L1 error of the marginals, per unit of mass; the solver's own when left out.
        callback: Called with a `Check` at each look at the residual of the solve.
        progress: Called with the share of the picture that is recoloured, in [0, 1].

    Returns:
        The picture, the solution, and which pixels were sampled. Not converging raises and warns nothing.

    Raises:
        TypeError: A picture is not an array of 8-bit colours.
        ValueError: A picture has another shape or no pixels; bad settings.

    Example:
        >>> dusk = np.full((2, 2, 3), 10, dtype=np.uint8)
        >>> noon = np.full((4, 3, 3), 200, dtype=np.uint8)
        >>> recolour(dusk, noon, epsilon=0.1).image[0, 0]
        array([200, 200, 200], dtype=uint8)

    References:
        [PooladianNilesWeed2021, eq. 4]
    """
    if generator is None:
        generator = torch.Generator().manual_seed(0)
    check_picture(source_image, "source_image")
    check_picture(target_image, "target_image")
    source_pixels, x = sample_colours(source_image, samples, generator=generator)
    target_pixels, y = sample_colours(target_image, samples, generator=generator)
    source, target = merge_equal_points(x), merge_equal_points(y)
    solution = solve(
        source.points,
        target.points,
        source.weights,
        target.weights,
        epsilon=epsilon,
        solver=solver,
        tolerance=tolerance,
        on_failure="ignore",
        callback=callback,
    )
    return Recoloured(
        image=map_colours(solution.coupling, source_image, progress=progress),
        solution=solution,
        source_pixels=source_pixels,
        target_pixels=target_pixels,
    )


def sample_colours(
    image: np.ndarray, samples: int, *, generator: torch.Generator, dtype: Any = np.float32
) -> tuple[np.ndarray, np.ndarray]:
    """Colours of some pixels, drawn without replacement.

    Args:
        image: Shape (H, W, 3), uint8.
        samples: How many; every pixel, in order, where the picture has no more.
        generator: Source of randomness.
        dtype: Floating dtype of the colours.

    Returns:
        Flat indices of the pixels in rising order, shape (N,), and their colours in [0, 1], shape (N, 3).
    """
    pixels = check_picture(image, "image").reshape(-1, 3)
    chosen = np.arange(len(pixels))
    if check_count(samples, "samples") < len(pixels):
        chosen = np.sort(torch.randperm(len(pixels), generator=generator)[:samples].numpy())
    return chosen, pixels[chosen].astype(dtype) / 255


def map_colours(coupling: AbstractCoupling, image: np.ndarray, *, progress: Progress | None = None) -> np.ndarray:
    """Move every pixel of a picture through the map of a coupling of colours.

    Args:
        coupling: Coupling of colours in [0, 1]^3 at positive temperature, made from NumPy arrays; its `transpose()`
            moves a picture the other way.
        image: Shape (H, W, 3), uint8; its colours need not be among those coupled. Never written to.
        progress: Called with the share of the distinct colours that are mapped, in [0, 1].

    Returns:
        The new picture, same shape, uint8. Each distinct colour is mapped once.

    Raises:
        ValueError: The coupling is exact: a matching says nothing about colours that it has not seen.
    """
    if not isinstance(coupling, EntropicCoupling):
        msg = (
            "A map for new colours needs a positive temperature: got the exact plan, epsilon = 0. Use a small epsilon."
        )
        raise ValueError(msg)
    pixels = check_picture(image, "image").reshape(-1, 3).astype(np.uint32)
    packed = pixels[:, 0] << 16 | pixels[:, 1] << 8 | pixels[:, 2]
    distinct, where = np.unique(packed, return_inverse=True)
    colours = np.stack([distinct >> 16, distinct >> 8 & 255, distinct & 255], axis=1) / 255  # (K, 3)
    mapped = np.empty(colours.shape, dtype=np.uint8)
    for start in range(0, len(colours), CHUNK):
        chunk = slice(start, start + CHUNK)
        mapped[chunk] = np.rint(np.clip(coupling.map(colours[chunk]), 0, 1) * 255)
        if progress is not None:
            progress(min(1.0, (start + CHUNK) / len(colours)))
    return mapped[where].reshape(image.shape)


def check_picture(image: Any, name: str) -> np.ndarray:
    """A picture of 8-bit colours with at least one pixel.

    Args:
        image: What should be one.
        name: How the caller calls it; used in messages.

    Returns:
        The picture, untouched.

    Raises:
        TypeError: Not a NumPy array of dtype uint8.
        ValueError: Not of shape (H, W, 3), or empty.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        got = f"an array of dtype {image.dtype}" if isinstance(image, np.ndarray) else type(image).__name__
        msg = f"`{name}` must be a NumPy array of dtype uint8: got {got}. Scale colours to 0..255 and convert them."
        raise TypeError(msg)
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        msg = f"`{name}` must have shape (height, width, 3), not empty: got {image.shape}. Convert it to RGB first."
        raise ValueError(msg)
    return image
