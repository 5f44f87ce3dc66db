"""What the Triton kernels are asked for: pairs, tile sizes, and the reasons why they cannot run.

Imports no Triton: this file answers on every machine.
"""

from __future__ import annotations

import importlib.util
import math
import os
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor

KINDS = ("sqeuclidean", "euclidean", "dot", "stored")
DOT_PRECISIONS = {"float32": "tf32x3", "tf32": "tf32"}  # three TF32 products keep float32's digits, one does not
MAX_DIFFERENCE_DIMENSION = 8  # up to here squared distances come from differences: no cancellation


class Pairs(NamedTuple):
    """Costs C_ij = scale * base_ij + offset between N sources and M targets.

    Attributes:
        kind: What base is: "sqeuclidean" |x - y|^2, "euclidean" |x - y|, "dot" x.y, "stored" the matrix itself.
        x: Sources, shape (N, D), centred; or the stored matrix, shape (N, M), any strides.
        y: Targets, shape (M, D); None where the matrix is stored.
        scale: Factor, cost per unit of base.
        offset: Constant, units of cost.
    """

    kind: str
    x: Tensor
    y: Tensor | None = None
    scale: float = 1.0
    offset: float = 0.0

    @property
    def shape(self) -> tuple[int, int]:
        """Number of sources and of targets, (N, M)."""
        return self.x.shape[0], self.x.shape[1] if self.y is None else self.y.shape[0]

    @property
    def dimension(self) -> int:
        """Coordinates of a point, D; 1 for a stored matrix."""
        return 1 if self.y is None else self.x.shape[1]

    def transpose(self) -> Pairs:
        """The same costs seen from the targets; a view."""
        if self.y is None:
            return self._replace(x=self.x.T)
        return self._replace(x=self.y, y=self.x)


class Tiles(NamedTuple):
    """How the pairs are cut: powers of two, at least 16 where matrix units multiply.

    Attributes:
        rows: Sources per program.
        columns: Targets per step of a program's loop.
        features: Coordinates (or columns of V) per matrix product.
        warps: Warps per program.
    """

    rows: int
    columns: int
    features: int = 32
    warps: int = 4


def default_tiles(pairs: Pairs) -> Tiles:
    """Tile sizes by the form of the cost.

    Chosen so that a tile's intermediate values stay in registers at 4 or 8 warps; `benchmarks/gpu.py --tune`
    measures others on the machine at hand.

    Args:
        pairs: The costs.

    Returns:
        The sizes.
    """
    uses_products = pairs.kind == "dot" or (pairs.kind == "sqeuclidean" and pairs.dimension > MAX_DIFFERENCE_DIMENSION)
    is_double = pairs.x.dtype == torch.float64
    if uses_products:
        return Tiles(32, 32, 16) if is_double else Tiles(64, 64, 32)
    return Tiles(16, 64) if is_double else Tiles(32, 128)


def product_tiles(pairs: Pairs) -> Tiles:
    """Tile sizes of kernels that also multiply the plan with something: narrower where points are near free.

    Args:
        pairs: The costs.

    Returns:
        The sizes.
    """
    tiles = default_tiles(pairs)
    return tiles._replace(columns=32) if pairs.x.dtype == torch.float64 else tiles._replace(columns=64)


def feature_tile(size: int, largest: int) -> int:
    """The power of two that covers `size` features, from 16 to `largest`."""
    return max(16, min(largest, 1 << max(0, size - 1).bit_length()))


def kernel_costs(pairs: Pairs, epsilon: float | None = None) -> dict[str, object]:
    """The arguments by which every kernel learns of the costs; points become contiguous, a matrix keeps its strides."""
    n, m = pairs.shape
    x = pairs.x if pairs.y is None else pairs.x.contiguous()
    y = x if pairs.y is None else pairs.y.contiguous()
    arguments: dict[str, object] = {
        "x": x,
        "y": y,
        "n": n,
        "m": m,
        "x_row": x.stride(0),
        "x_column": x.stride(1),
        "scale": float(pairs.scale),
        "D": pairs.dimension,
        "KIND": pairs.kind,
    }
    if epsilon is not None:
        arguments["inverse"] = math.log2(math.e) / epsilon
    return arguments


def on_device(tensor: Tensor) -> AbstractContextManager[object]:
    """A context in which kernels start on the tensor's device."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()


def is_interpreted() -> bool:
    """Whether kernels run in Triton's interpreter, on the CPU: TRITON_INTERPRET=1."""
    return os.environ.get("TRITON_INTERPRET", "0") not in {"", "0", "false", "off"}


def why_not(pairs: Pairs, *vectors: Tensor) -> list[str]:
    """Reasons why the Triton kernels cannot take these inputs; empty where they can.

    Args:
        pairs: The costs.
        *vectors: Potentials, values, weights.

    Returns:
        One sentence a reason.
    """
    tensors = [t for t in (pairs.x, pairs.y, *vectors) if t is not None]
    reasons = []
    if importlib.util.find_spec("triton") is None:
        reasons.append("triton is not installed: pip install 'isotherm[triton]'")
    if pairs.kind not in KINDS:
        reasons.append(f"the cost is {pairs.kind!r}; Triton kernels know {', '.join(KINDS)}")
    if (pairs.y is None) != (pairs.kind == "stored"):
        reasons.append(f"a {pairs.kind!r} cost came {'without' if pairs.y is None else 'with'} targets")
    devices = sorted({str(t.device) for t in tensors})
    if len(devices) > 1:
        reasons.append(f"tensors are on several devices: {', '.join(devices)}")
    elif not tensors[0].is_cuda and not (is_interpreted() and tensors[0].device.type == "cpu"):
        reasons.append(f"tensors are on {devices[0]}; Triton kernels need CUDA (or TRITON_INTERPRET=1)")
    dtypes = sorted({str(t.dtype) for t in tensors})
    if len(dtypes) > 1 or tensors[0].dtype not in {torch.float32, torch.float64}:
        reasons.append(f"dtypes are {', '.join(dtypes)}; Triton kernels take one dtype, float32 or float64")
    return reasons
