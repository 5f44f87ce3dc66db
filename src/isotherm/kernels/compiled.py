"""The compiled extension, and what every CPU kernel asks of its inputs."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch

from isotherm.kernels.source import formula_of

if TYPE_CHECKING:
    from torch import Tensor

    from isotherm.kernels.source import CostSource, Formula

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
    """Reasons against the compiled kernels for these inputs.

    Args:
        costs: The costs reduced over.
        *tensors: The other inputs, None where left out.

    Returns:
        Phrases for an error message; empty if the kernels can run.
    """
    if _missing:
        return [_missing]
    if torch.compiler.is_compiling():
        return ["torch.compile traces this call and does not look into compiled kernels"]
    reasons = []
    if costs.device.type != "cpu":
        reasons.append(f"the costs are on {costs.device}, not in the CPU's memory")
    if costs.dtype not in {torch.float32, torch.float64}:
        reasons.append(f"the costs are {costs.dtype}, not float32 or float64")
    given = [tensor for tensor in tensors if tensor is not None]
    if any(tensor.dtype != costs.dtype or tensor.device != costs.device for tensor in given):
        reasons.append("dtype or device differ between costs and potentials")
    formula = formula_of(costs)
    if formula is None:
        name = repr(costs).splitlines()[0]
        reasons.append(f"{name} is not a formula the kernels know: |x - y|^2, |x - y|, x.y or a stored matrix")
    elif torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (*given, *formula.tensors)):
        reasons.append("a derivative is asked for, which these kernels do not record")
    return reasons


def bind(costs: CostSource) -> Any:
    """The costs as the extension takes them; only after `why_not` found no reason against it."""
    formula = formula_of(costs)
    assert formula is not None, "this is our bug: why_not() was not asked"
    return bind_formula(formula)


def bind_formula(formula: Formula) -> Any:
    """A formula as the extension takes it."""
    if formula.kind == "stored":
        return extension.Costs("stored", formula.x.detach(), None, formula.scale, formula.offset)
    y = None if formula.y is None else plain(formula.y)
    return extension.Costs(formula.kind, plain(formula.x), y, formula.scale, formula.offset)


def plain(tensor: Tensor) -> Tensor:
    """Numbers next to each other in memory, outside every autograd graph."""
    return tensor.detach().contiguous()
