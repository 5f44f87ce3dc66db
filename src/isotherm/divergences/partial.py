"""Partial derivatives of a function of a term, themselves differentiable: what custom derivatives are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from isotherm.divergences.term import Term


def keep(ctx: Any, *values: Any) -> None:
    """Save values of which some are tensors for a derivative."""
    ctx.save_for_backward(*(value for value in values if isinstance(value, Tensor)))
    ctx.rest = tuple(None if isinstance(value, Tensor) else (value,) for value in values)


def kept(ctx: Any) -> tuple[Any, ...]:
    """What was saved by `keep`, in its order."""
    saved = iter(ctx.saved_tensors)
    return tuple(next(saved) if rest is None else rest[0] for rest in ctx.rest)


def partials(
    function: Callable[..., Tensor], term: Term, inputs: tuple[Any, ...], others: tuple[Tensor, ...]
) -> tuple[tuple[Tensor | None, ...], tuple[Tensor | None, ...]]:
    """Derivatives of function(term at inputs, *others) by each argument alone, all others held.

    Where grad mode is on, what comes out can be differentiated again, by everything that went in: an argument's own
    history is cut off only while the partial derivatives are taken.

    Args:
        function: Maps a term and `others` to a scalar.
        term: Which problem.
        inputs: In the order of `term.inputs`; numbers have no derivative.
        others: Tensors.

    Returns:
        One derivative for each of the inputs and each of the others; None where none is asked for.
    """
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        gate = [False]
        seen = len(inputs) - len(term.hidden)  # a function goes on using what it hides
        alias = (*(_alias(t, gate, again=again) for t in inputs[:seen]), *inputs[seen:])
        moved = tuple(_alias(t if again else t.detach().requires_grad_(), gate, again=again) for t in others)
        at = term.at(alias)
        arguments = (*at.inputs, *moved)
        value = function(at, *moved)
        places = [i for i, t in enumerate(arguments) if isinstance(t, Tensor) and t.requires_grad]
        # Parts of a user's cost may share a graph with other calls: it is kept, and goes with the last reference.
        wanted = [arguments[i] for i in places]
        found = torch.autograd.grad(value, wanted, create_graph=again, retain_graph=True, allow_unused=True)
        gate[0] = True
    out: list[Tensor | None] = [None] * len(arguments)
    for i, derivative in zip(places, found, strict=True):
        out[i] = derivative
    return tuple(out[: len(inputs)]), tuple(out[len(inputs) :])


def _alias(value: Any, gate: list[bool], *, again: bool) -> Any:
    """The same numbers without their history: for good, or only until the gate opens."""
    if not isinstance(value, Tensor):
        return value
    if again and value.requires_grad:
        return _Gate.apply(gate, value)
    return value.detach().requires_grad_(value.requires_grad)


class _Gate(torch.autograd.Function):
    """The identity; its derivative passes only while the gate is open."""

    @staticmethod
    def forward(ctx: Any, gate: list[bool], value: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.gate = gate
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return None, (grads[0] if ctx.gate[0] else None)
