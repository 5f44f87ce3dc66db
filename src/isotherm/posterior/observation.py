"""What is seen of a cause: everything, or with each observation another part of its Fourier plane."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from isotherm._checks import check_finite

FROM_DIFFERENCES = "donot_use_mm_for_euclid_dist"  # of `torch.cdist`: near points keep their digits
FEW_FEATURES = 8  # up to which differences cost no more than products do

Batch = Tensor | tuple[Tensor, ...]  # observations, with whatever else is known of each


class AbstractObservation(ABC):
    """Linear operators O_i, one for each observation y_i = O_i u_i + noise of something whole u_i of shape (...).

    A batch of observations travels as one tensor x, first dimension n: `pack` makes it, and everything else takes it.
    """

    @abstractmethod
    def pack(self, batch: Batch) -> Tensor:
        """One tensor (n, ...) that holds the observations and their operators; what is packed already stays as it is."""

    @abstractmethod
    def packed_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Shape of one packed observation, for wholes of the shape given."""

    @abstractmethod
    def seen(self, x: Tensor) -> Tensor:
        """y, shape (n, ...)."""

    @abstractmethod
    def apply(self, x: Tensor, whole: Tensor) -> Tensor:
        """O_i u_i, shape (n, ...), for wholes of shape (n, ...)."""

    @abstractmethod
    def adjoint(self, x: Tensor, y: Tensor) -> Tensor:
        """O_i' y_i, shape (n, ...)."""

    @abstractmethod
    def costs(self, x: Tensor, wholes: Tensor) -> Tensor:
        """|y_i - O_i u_m|^2 / 2 of every observation with every whole (M, ...): shape (n, M), in memory O(n M)."""

    def misfit(self, x: Tensor, wholes: Tensor) -> Tensor:
        """|y_i - O_i u_i|^2 / 2, shape (n,), for as many wholes as observations."""
        return 0.5 * (self.seen(x) - self.apply(x, wholes)).square().flatten(1).sum(1)


@dataclass(frozen=True)
class Direct(AbstractObservation):
    """Everything is seen, as it is: O = 1, and x = y.

    Costs are computed from differences up to eight features; above from products, about the mean of the wholes, with an error
    of a few roundings of the largest square.

    Example:
        >>> Direct().costs(torch.zeros(1, 2), torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor([[12.5000,  0.0000]])
    """

    def pack(self, batch: Batch) -> Tensor:
        """See `AbstractObservation.pack`."""
        return batch if isinstance(batch, Tensor) else batch[0]

    def packed_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """See `AbstractObservation.packed_shape`."""
        return tuple(shape)

    def seen(self, x: Tensor) -> Tensor:
        """See `AbstractObservation.seen`."""
        return x

    def apply(self, x: Tensor, whole: Tensor) -> Tensor:
        """See `AbstractObservation.apply`."""
        return whole

    def adjoint(self, x: Tensor, y: Tensor) -> Tensor:
        """See `AbstractObservation.adjoint`."""
        return y

    def costs(self, x: Tensor, wholes: Tensor) -> Tensor:
        """See `AbstractObservation.costs`."""
        x, wholes = x.flatten(1), wholes.flatten(1)
        if x.shape[1] <= FEW_FEATURES:
            return 0.5 * torch.cdist(x, wholes, compute_mode=FROM_DIFFERENCES).square()
        centre = wholes.detach().mean(0)
        x, wholes = x - centre, wholes - centre
        return 0.5 * (x.square().sum(1)[:, None] + wholes.square().sum(1)) - x @ wholes.T


@dataclass(frozen=True)
class FourierMask(AbstractObservation):
    """Part of the Fourier transform is seen, with each observation another: y = F^-1 M F u, images, volumes or signals.

        |y - F^-1 M F u|^2 = |y|^2 - 2 <M F y, F u> + <M^2, |F u|^2>

    so that costs are two products of matrices, n M D multiplications each, however many different masks there are. F is
    orthonormal. A batch is (y, mask), both of shape (n, *shape): y real, the measured frequencies alone turned back into an image
    (what they lack is zero); mask real, zero where nothing was measured, in the order of `torch.fft.fftn`, and the same at k
    and -k, as an image is real. Entries other than zero and one are a transfer function. Packed shape: (2, *shape).

    Example:
        >>> u, mask = torch.rand(3, 8, 8), wedge_mask(8, torch.tensor([0.0, 30.0, 60.0]), opening=90.0)
        >>> x = FourierMask().pack((torch.zeros(3, 8, 8), mask))
        >>> y = FourierMask().apply(x, u)
        >>> bool(FourierMask().misfit(FourierMask().pack((y, mask)), u).max() < 1e-10)
        True
    """

    def pack(self, batch: Batch) -> Tensor:
        """See `AbstractObservation.pack`.

        Args:
            batch: (y, mask), or what is packed already.

        Returns:
            Shape (n, 2, *shape).

        Raises:
            ValueError: A mask of another shape than its image, or that tells k from -k.
        """
        if isinstance(batch, Tensor):
            return batch
        if len(batch) < 2 or batch[0].shape != batch[1].shape:
            shapes = [tuple(part.shape) for part in batch]
            msg = f"A batch of masked images must be (y, mask), of the same shape (n, ...): got shapes {shapes}. Pass a mask for each image."
            raise ValueError(msg)
        y, mask = batch[0], batch[1].to(batch[0])
        check_finite(mask, "mask")
        if not torch.allclose(mask, mirrored(mask)):
            msg = "A mask must be the same at k and -k: got one that is not, and images are real. Symmetrise it: torch.minimum(mask, mirrored(mask))."
            raise ValueError(msg)
        return torch.stack([y, mask], dim=1)

    def packed_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """See `AbstractObservation.packed_shape`."""
        return (2, *shape)

    def seen(self, x: Tensor) -> Tensor:
        """See `AbstractObservation.seen`."""
        return x[:, 0]

    def mask(self, x: Tensor) -> Tensor:
        """Of each observation, shape (n, *shape)."""
        return x[:, 1]

    def apply(self, x: Tensor, whole: Tensor) -> Tensor:
        """See `AbstractObservation.apply`."""
        return hartley(self.mask(x) * hartley(whole))

    def adjoint(self, x: Tensor, y: Tensor) -> Tensor:
        """See `AbstractObservation.adjoint`; the operator itself, which is symmetric."""
        return self.apply(x, y)

    def costs(self, x: Tensor, wholes: Tensor) -> Tensor:
        """See `AbstractObservation.costs`."""
        mask = self.mask(x).flatten(1)  # (n, D)
        u = hartley(wholes).flatten(1)  # (M, D)
        centre = u.detach().mean(0)
        y = hartley(self.seen(x)).flatten(1) - mask * centre  # both centred: no digits are lost on a common mean
        u = u - centre
        return 0.5 * (y.square().sum(1)[:, None] + mask.square() @ u.square().T) - (mask * y) @ u.T


def hartley(image: Tensor) -> Tensor:
    """Real and imaginary part of the orthonormal Fourier transform as one real array, Re - Im; its own inverse.

    Masks that are the same at k and -k act on it as on the transform itself.

    Args:
        image: Shape (n, ...), real.

    Returns:
        The same shape.
    """
    transform = torch.fft.fftn(image, dim=tuple(range(1, image.ndim)), norm="ortho")
    return transform.real - transform.imag


def mirrored(mask: Tensor) -> Tensor:
    """The mask's values at -k, in the order of `torch.fft.fftn`; shape (n, ...)."""
    every = tuple(range(1, mask.ndim))
    return mask.flip(every).roll((1,) * len(every), every)


def wedge_mask(size: int, angles: Tensor, *, opening: float) -> Tensor:
    """Masks that leave out a double wedge of the Fourier plane, as a tilt series does.

    Args:
        size: Side of the square image.
        angles: Direction of the middle of the missing wedge for each mask, degrees, shape (n,).
        opening: Full opening of the missing wedge, degrees: 90 leaves out about half the plane, 0 nothing.

    Returns:
        Ones where something is measured, the mean of the image always, shape (n, size, size), in the order of `torch.fft.fftn`.

    Example:
        >>> float(wedge_mask(33, torch.tensor([20.0]), opening=90.0).mean().round(decimals=2))
        0.5
    """
    k = torch.fft.fftfreq(size, dtype=angles.dtype, device=angles.device)
    direction = torch.rad2deg(torch.atan2(k[:, None], k[None, :]))  # (size, size)
    away = (direction - angles[:, None, None] + 90.0).remainder(180.0) - 90.0  # lines, not arrows
    mask = (away.abs() >= 0.5 * opening).to(angles.dtype)
    mask[:, 0, 0] = 1.0
    return torch.minimum(mask, mirrored(mask))  # an even side has frequencies that are their own opposites
