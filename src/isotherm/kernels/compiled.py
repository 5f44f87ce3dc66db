"""The compiled extension, and what every CPU kernel asks of its inputs."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch
from torch.autograd import forward_ad
from torch.utils.dlpack import to_dlpack  # pyright: ignore[reportPrivateImportUsage] - documented there

from isotherm.kernels.pattern import CELL
from isotherm.kernels.source import formula_of

if TYPE_CHECKING:
    from torch import Tensor

    from isotherm.kernels.source import CostSource, Formula

# A tensor as the extension reads and writes it. Handed over as it is, torch's `__dlpack__` would run in between: Python
# code, where the extension's reader swallows an interrupt.
handed = to_dlpack

extension: Any = None
_missing = ""
try:
    extension = import_module("isotherm.kernels._cpu")
except ImportError as error:  # the package was installed without a compiler
    _missing = f"the compiled extension is missing: {error}. Install a C++ compiler and reinstall isotherm"
else:
    if _name := os.environ.get("ISOTHERM_INSTRUCTION_SET"):
        extension.choose_instruction_set(_name)


def why_missing() -> list[str]:
    """Why there are no compiled kernels at all; empty where there are."""
    return [_missing] if _missing else []


def why_not(costs: CostSource, *tensors: Tensor | None) -> list[str]:
    """Reasons against the compiled kernels for these inputs, where the kernel records no derivative.

    Args:
        costs: The costs reduced over.
        *tensors: The other inputs, None where left out.

    Returns:
        Phrases for an error message; empty if the kernels can run.
    """
    if not _missing and torch.compiler.is_compiling():
        return ["torch.compile traces this call and does not look into compiled kernels"]
    reasons = why_no_operator(costs, *tensors)
    if not reasons and asks_for_derivative(*tensors, *known_formula(costs).tensors):
        reasons.append("a derivative is asked for, which this kernel does not record")
    return reasons


def why_no_operator(costs: CostSource, *tensors: Tensor | None) -> list[str]:
    """Reasons against the compiled kernels that are operators of torch: differentiable, and seen by torch.compile.

    Args:
        costs: The costs reduced over.
        *tensors: The other inputs, None where left out.

    Returns:
        Phrases for an error message; empty if the kernels can run.
    """
    if _missing:
        return [_missing]
    reasons, dtype, device = [], costs.dtype, costs.device
    if device.type != "cpu":
        reasons.append(f"the costs are on {device}, not in the CPU's memory")
    if dtype not in {torch.float32, torch.float64}:
        reasons.append(f"the costs are {dtype}, not float32 or float64")
    given = [tensor for tensor in tensors if tensor is not None]
    if any(tensor.dtype != dtype or tensor.device != device for tensor in given):
        reasons.append("dtype or device differ between costs and potentials")
    formula = formula_of(costs)
    if formula is None:
        name = repr(costs).splitlines()[0]
        reasons.append(f"{name} is not a formula the kernels know: |x - y|^2, |x - y|, x.y or a stored matrix")
    elif is_transformed(*given, *formula.tensors):
        reasons.append(
            "torch.func or forward-mode differentiation looks into this call, which these kernels do not show"
        )
    return reasons


def asks_for_derivative(*tensors: Tensor | None) -> bool:
    """Whether autograd would record an operation on these tensors."""
    return torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)


def is_eager(*tensors: Tensor | None) -> bool:
    """Whether nothing but numbers is asked for, so that a kernel of any backend may be called past torch's dispatcher."""
    if torch.compiler.is_compiling() or asks_for_derivative(*tensors):
        return False
    return all(tensor is None or type(tensor) in _PLAIN for tensor in tensors)


_PLAIN = (torch.Tensor, torch.nn.Parameter)


def is_transformed(*tensors: Tensor) -> bool:
    """Whether a torch.func transform wraps a tensor, or it carries a tangent; no public question asks for the first."""
    if torch.compiler.is_compiling():
        return False
    if any(map(torch._C._functorch.is_functorch_wrapped_tensor, tensors)):  # pyright: ignore[reportAttributeAccessIssue]
        return True
    if forward_ad._current_level < 0:
        return False
    return any(forward_ad.unpack_dual(tensor).tangent is not None for tensor in tensors)


def known_formula(costs: CostSource) -> Formula:
    """The formula of the costs; only after `why_not` found no reason against them."""
    formula = formula_of(costs)
    assert formula is not None, "this is our bug: why_not() was not asked"
    return formula


def bind(costs: CostSource) -> Any:
    """The costs as the extension takes them; only after `why_not` found no reason against it."""
    return bind_formula(known_formula(costs))


def bind_formula(formula: Formula) -> Any:
    """A formula as the extension takes it."""
    if formula.kind == "stored":
        return extension.Costs("stored", handed(formula.x.detach()), None, formula.scale, formula.offset)
    assert formula.y is not None, "this is our bug: only a stored matrix stands alone"
    x, y, settings = by_rows(formula, formula.x), by_columns(formula, formula.y), (formula.scale, formula.offset)
    if formula.pattern is None:
        return extension.Costs(formula.kind, x, y, *settings)
    return extension.Costs(formula.kind, x, y, *settings, formula.pattern.starts, formula.pattern.blocks, CELL)


def by_rows(formula: Formula, values: Tensor) -> Any:
    """Values of the sources as the extension takes them: next to each other in memory, in the order of the cells."""
    return plain(values if formula.pattern is None else values[formula.pattern.row_order])


def by_columns(formula: Formula, values: Tensor) -> Any:
    """Values of the targets as the extension takes them."""
    return plain(values if formula.pattern is None else values[formula.pattern.column_order])


def from_rows(formula: Formula, values: Tensor) -> Tensor:
    """Values of the sources as the extension left them, in the user's order."""
    if formula.pattern is None:
        return values
    return torch.empty_like(values).index_copy_(0, formula.pattern.row_order, values)


def from_columns(formula: Formula, values: Tensor) -> Tensor:
    """Values of the targets as the extension left them, in the user's order."""
    return from_rows(formula.transpose(), values)


def plain(tensor: Tensor) -> Any:
    """Numbers next to each other in memory, outside every autograd graph, as the extension reads them."""
    return handed(tensor.detach().contiguous())
