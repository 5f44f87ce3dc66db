"""NumPy or torch in, the same out: library, dtype and device of the caller's arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isotherm._arrays import ArrayLike, Namespace, to_tensor


@dataclass(frozen=True)
class ArrayKind:
    """What the caller's arrays are; results are exported to it.

    Attributes:
        namespace: NumPy or torch.
        dtype: Floating dtype that all arrays of the call promote to.
        device: Where its tensors live; the CPU for NumPy.
    """

    namespace: Namespace
    dtype: torch.dtype
    device: torch.device

    def tensor(self, array: ArrayLike, name: str) -> Tensor:
        """An array of the call as a tensor of this dtype, on this device; part of the autograd graph it came with."""
        return to_tensor(array, name, dtype=self.dtype, device=self.device)

    def array(self, array: ArrayLike, name: str) -> Any:
        """An array of the call in the caller's library, whatever sequence it came as."""
        return array if isinstance(array, Tensor) else self.export(self.tensor(array, name))

    def weights(self, array: ArrayLike | None, name: str, size: int) -> Tensor:
        """Weights as a tensor; None or an empty array means equal ones that sum to one, shape (size,)."""
        if array is None or len(array) == 0:
            return torch.full((size,), 1.0 / size, dtype=self.dtype, device=self.device)
        return self.tensor(array, name)

    def export(self, tensor: Tensor) -> Any:
        """A result in the caller's library and dtype: a tensor, an array, or a NumPy scalar for rank 0."""
        return self.namespace.export(tensor.to(self.dtype))


def kind_of(*arrays: ArrayLike | None) -> ArrayKind:
    """The one kind that all arrays of a call have; lists, numbers, None and empty arrays follow the others.

    Args:
        *arrays: The arrays of a call.

    Returns:
        Their kind; NumPy and float64 where nothing but lists and integers is given.

    Raises:
        TypeError: Arrays of another library, or of two libraries.

    Example:
        >>> kind_of(np.zeros(2, np.float32), [0.5, 0.5]).dtype
        torch.float32
    """
    given = [array for array in arrays if not (array is None or isinstance(array, list | tuple | int | float))]
    for array in given:
        if not isinstance(array, np.ndarray | np.generic | Tensor):
            library = type(array).__module__.partition(".")[0]
            msg = (
                f"`isotherm.compat.pot` takes NumPy arrays and torch tensors: got a {type(array).__name__} of {library}. "
                f"Convert it with numpy.asarray or torch.as_tensor first."
            )
            raise TypeError(msg)
    filled = [array for array in given if array.ndim == 0 or len(array) > 0] or given
    tensors = [array for array in filled if isinstance(array, Tensor)]
    if tensors and len(tensors) < len(filled):
        msg = "All arrays of one call must be of one library: got NumPy arrays and torch tensors. Convert one kind."
        raise TypeError(msg)
    namespace = Namespace.TORCH if tensors else Namespace.NUMPY
    dtypes = [to_tensor(array, "array").dtype for array in filled if _is_floating(array)]
    dtype = torch.float64 if not tensors else torch.get_default_dtype()
    if dtypes:
        dtype = torch.float64 if torch.float64 in dtypes else dtypes[0]
    return ArrayKind(namespace, dtype, tensors[0].device if tensors else torch.device("cpu"))


def _is_floating(array: np.ndarray | Tensor) -> bool:
    return array.is_floating_point() if isinstance(array, Tensor) else array.dtype.kind == "f"
