"""Arrays in, arrays out: NumPy users get NumPy back, tensors stay on their device in their dtype."""

from __future__ import annotations

from enum import Enum
from typing import Any

import numpy as np
import torch
from torch import Tensor

ArrayLike = Any  # Tensor, numpy.ndarray, or nested sequence of numbers


class Namespace(Enum):
    """The array library a user speaks; results are exported to it."""

    NUMPY = "numpy"
    TORCH = "torch"

    def export(self, tensor: Tensor) -> Any:
        """The tensor in the user's library: itself, a NumPy array, or a NumPy scalar for rank 0."""
        if self is Namespace.TORCH:
            return tensor
        return tensor.detach().cpu().numpy()[()]


def namespace_of(array: ArrayLike) -> Namespace:
    """Which library an input belongs to; everything that is not a tensor counts as NumPy."""
    return Namespace.TORCH if isinstance(array, Tensor) else Namespace.NUMPY


def to_tensor(array: ArrayLike, name: str, *, dtype: torch.dtype | None = None, device: Any = None) -> Tensor:
    """Convert an input to a floating-point tensor without copying where that is possible.

    Args:
        array: Tensor, NumPy array or nested sequence of numbers.
        name: How the caller calls it; used in messages.
        dtype: Target dtype; by default float32 and float64 are kept, integers become float64 (NumPy) or the
            torch default dtype (tensors).
        device: Target device; by default the array's own.

    Returns:
        A tensor that may share memory with the input. It is never written to.

    Raises:
        TypeError: The input does not hold real numbers, or has a floating dtype other than float32 and float64.
    """
    if isinstance(array, Tensor):
        tensor = array
        integer_dtype = torch.get_default_dtype()
    else:
        tensor = _numpy_to_tensor(array, name)
        integer_dtype = torch.float64
    if tensor.dtype in (torch.float16, torch.bfloat16):
        msg = (
            f"`{name}` must be float32 or float64: got {tensor.dtype}. Transport is not computed in half precision; "
            f"convert it with {name}.float()."
        )
        raise TypeError(msg)
    if tensor.is_complex():
        msg = f"`{name}` must hold real numbers: got {tensor.dtype}. Pass its real part, or stack real and imaginary parts as features."
        raise TypeError(msg)
    if dtype is None and not tensor.is_floating_point():
        dtype = integer_dtype
    return tensor.to(dtype=dtype, device=device)


def to_indices(indices: ArrayLike, name: str, *, device: Any) -> Tensor:
    """Integer indices as an int64 tensor; a TypeError for floats, masks and words."""
    try:
        values = indices.cpu().numpy() if isinstance(indices, Tensor) else np.asarray(indices)
    except ValueError as error:  # ragged nested sequences
        msg = f"`{name}` must hold integer indices: got {type(indices).__name__} of unequal rows. Pass a rectangular array."
        raise TypeError(msg) from error
    if values.dtype.kind not in "iu":
        msg = f"`{name}` must hold integer indices: got dtype {values.dtype}. Convert masks with nonzero()."
        raise TypeError(msg)
    return torch.from_numpy(np.atleast_1d(values.astype(np.int64))).reshape(values.shape).to(device)


def _numpy_to_tensor(array: ArrayLike, name: str) -> Tensor:
    """Tensor sharing memory with a NumPy array, after a check that it holds numbers."""
    try:
        values = np.asarray(array)
    except ValueError as error:  # ragged nested sequences
        msg = f"`{name}` must be a rectangular array of numbers: got {type(array).__name__} of unequal rows. Pad or select rows of one length."
        raise TypeError(msg) from error
    if values.dtype.kind not in "fiub" or values.dtype.itemsize > 8:
        msg = f"`{name}` must hold real numbers: got an array of dtype {values.dtype}. Convert it with .astype(float)."
        raise TypeError(msg)
    if values.dtype.kind == "u" and values.dtype.itemsize > 1:  # torch reads no wide unsigned integers
        values = values.astype(np.float64)
    if not values.flags.writeable or any(stride < 0 for stride in values.strides) or not values.dtype.isnative:
        values = np.array(values, dtype=values.dtype.newbyteorder("="))
    return torch.from_numpy(values) if values.ndim else torch.tensor(values[()])
