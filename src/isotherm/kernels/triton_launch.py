"""How a Triton kernel is started: its costs, tile sizes, and the reasons why it cannot be.

Imports no Triton: this file answers on every machine.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import os
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from types import ModuleType
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from isotherm.kernels.compiled import asks_for_derivative, is_eager, is_transformed
from isotherm.kernels.source import CostSource, Formula, formula_of

Kind = Literal["sqeuclidean", "euclidean", "dot", "stored"]
KINDS = get_args(Kind)
DOT_PRECISIONS = {"float32": "tf32x3", "tf32": "tf32"}  # three TF32 products keep float32's digits, one does not
NOT_INSTALLED = "triton is not installed: pip install 'isotherm[triton]'"
MAX_DIFFERENCE_DIMENSION = 8  # up to here squared distances come from differences: no cancellation


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


class Deferred(ModuleType):
    """A module with Triton kernels that is imported when one of them is first asked for.

    Importing Triton takes time and fails where it is not installed; whether its kernels can run is known without.

    Args:
        name: The module's name.
        is_operator: Whether its reduction is an operator of torch or made of operators.
    """

    def __init__(self, name: str, *, is_operator: bool = False) -> None:
        super().__init__(name)
        self.is_operator = is_operator

    def why_not(self, costs: CostSource, *tensors: Tensor | None) -> list[str]:
        """Reasons against the module's reduction on these inputs."""
        return (why_no_operator if self.is_operator else why_not)(costs, *tensors)

    def why_not_cost(self, costs: CostSource, *tensors: Tensor | None) -> list[str]:
        """Reasons against `plan_cost`, which is no operator though it stands beside one."""
        return why_not(costs, *tensors)

    def __getattr__(self, attribute: str) -> object:
        """Look the name up in the module itself; by then the operators that it may call are registered."""
        importlib.import_module("isotherm.kernels.triton_operators")
        return getattr(importlib.import_module(self.__name__), attribute)


def as_formula(costs: CostSource | Formula) -> Formula:
    """The formula of some costs; only after `why_not` found no reason against them."""
    formula = costs if isinstance(costs, Formula) else formula_of(costs)
    assert formula is not None, "this is our bug: why_not() was not asked"
    return formula


def sizes(formula: Formula) -> tuple[int, int, int]:
    """N, M and D of some costs; D is 1 for a stored matrix."""
    if formula.y is None:
        return formula.x.shape[0], formula.x.shape[1], 1
    return formula.x.shape[0], formula.y.shape[0], formula.x.shape[1]


def takes_products(formula: Formula) -> bool:
    """Whether the costs come from matrix products, not differences or memory."""
    return formula.kind == "dot" or (formula.kind == "sqeuclidean" and formula.x.shape[1] > MAX_DIFFERENCE_DIMENSION)


def default_tiles(formula: Formula) -> Tiles:
    """Tile sizes by the form of the cost.

    Chosen so that the compiler for sm_90 keeps a tile in registers with four programs of 4 warps on a multiprocessor
    (by differences) or two (by products); not timed. `benchmarks/gpu.py --tune` measures others on the machine at hand.

    Args:
        formula: The costs.

    Returns:
        The sizes.
    """
    if formula.x.dtype == torch.float64:
        return Tiles(32, 32, 16) if takes_products(formula) else Tiles(16, 64)
    return Tiles(64, 64, 32) if takes_products(formula) else Tiles(32, 64)


def product_tiles(formula: Formula) -> Tiles:
    """Tile sizes of kernels that also multiply the plan with a matrix: that product wants registers too.

    Args:
        formula: The costs.

    Returns:
        The sizes.
    """
    if formula.x.dtype == torch.float64:
        return Tiles(32, 32, 16) if takes_products(formula) else Tiles(16, 32)
    return Tiles(64, 32, 32) if takes_products(formula) else Tiles(32, 32)


def feature_tile(size: int, largest: int) -> int:
    """The power of two that covers `size` features, from 16 to `largest`."""
    return max(16, min(largest, 1 << max(0, size - 1).bit_length()))


def dot_precision(precision: str) -> str:
    """What Triton calls a precision of inner products.

    Args:
        precision: "float32", or "tf32" where about three digits will do.

    Returns:
        A value for `input_precision` of tl.dot; it has no effect in float64.

    Raises:
        ValueError: Another name.
    """
    if precision not in DOT_PRECISIONS:
        msg = f"`precision` must be one of {', '.join(DOT_PRECISIONS)}: got {precision!r}. Leave it out for float32."
        raise ValueError(msg)
    return DOT_PRECISIONS[precision]


def kernel_costs(formula: Formula, epsilon: float | None = None) -> dict[str, object]:
    """The arguments by which every kernel learns of the costs; points become contiguous, a matrix keeps its strides."""
    n, m, dimension = sizes(formula)
    x = formula.x if formula.y is None else formula.x.contiguous()
    y = x if formula.y is None else formula.y.contiguous()
    arguments: dict[str, object] = {
        "x": x,
        "y": y,
        "n": n,
        "m": m,
        "x_row": x.stride(0),
        "x_column": x.stride(1),
        "scale": float(formula.scale),
        "D": dimension,
        "KIND": formula.kind,
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


def why_not(costs: CostSource | Formula, *tensors: Tensor | None) -> list[str]:
    """Reasons against the Triton kernels for these inputs, where the kernel records no derivative.

    Args:
        costs: The costs reduced over.
        *tensors: The other inputs, None where left out.

    Returns:
        Phrases for an error message; empty if the kernels can run.
    """
    reasons = _why_no_launch(costs, *tensors)
    if not reasons and asks_for_derivative(*tensors, *as_formula(costs).tensors):
        reasons.append("a derivative is asked for, which this kernel does not record")
    return reasons


def why_no_operator(costs: CostSource | Formula, *tensors: Tensor | None) -> list[str]:
    """Reasons against the Triton kernels that are operators of torch: differentiable, and seen by torch.compile.

    Args:
        costs: The costs reduced over.
        *tensors: The other inputs, None where left out.

    Returns:
        Phrases for an error message; empty if the kernels can run.
    """
    reasons = _why_no_launch(costs, *tensors)
    if not reasons and costs.device.type == "cpu" and not is_eager(*tensors, *as_formula(costs).tensors):
        reasons.append("a derivative is asked for, or a trace, and on the CPU operators run the compiled kernels")
    return reasons


@cache
def _is_installed() -> bool:
    """Whether Triton can be imported; a search of the path costs more than a pass over a small problem."""
    return importlib.util.find_spec("triton") is not None


def _why_no_launch(costs: CostSource | Formula, *tensors: Tensor | None) -> list[str]:
    """Reasons against any Triton kernel for these inputs."""
    reasons = [] if _is_installed() else [NOT_INSTALLED]
    formula = costs if isinstance(costs, Formula) else formula_of(costs)
    if formula is None:
        return [*reasons, f"{costs} is not a formula the kernels know: |x - y|^2, |x - y|, x.y or a stored matrix"]
    given = [tensor for tensor in (*formula.tensors, *tensors) if tensor is not None]
    if formula.pattern is not None:
        reasons.append("a list of pairs is given, which these kernels do not read")
    if formula.kind not in KINDS:
        reasons.append(f"the cost is {formula.kind!r}, not one of {', '.join(KINDS)}")
    if (formula.y is None) != (formula.kind == "stored"):
        reasons.append(f"a {formula.kind!r} cost came {'without' if formula.y is None else 'with'} targets")
    devices = sorted({str(tensor.device) for tensor in given})
    if len(devices) > 1:
        reasons.append(f"tensors are on several devices: {', '.join(devices)}")
    elif not given[0].is_cuda and not (is_interpreted() and given[0].device.type == "cpu"):
        reasons.append(f"tensors are on {devices[0]}; Triton kernels need CUDA (or TRITON_INTERPRET=1)")
    dtypes = sorted({str(tensor.dtype) for tensor in given})
    if len(dtypes) > 1 or given[0].dtype not in {torch.float32, torch.float64}:
        reasons.append(f"dtypes are {', '.join(dtypes)}, not one of float32 and float64")
    if is_transformed(*given):
        reasons.append(
            "torch.func or forward-mode differentiation looks into this call, which these kernels do not show"
        )
    return reasons


def why_missing() -> list[str]:
    """Why there are no Triton kernels at all; empty where there are."""
    if not _is_installed():
        return [NOT_INSTALLED]
    if not torch.cuda.is_available() and not is_interpreted():
        return ["no CUDA device was found (and TRITON_INTERPRET=1 is not set)"]
    return []
