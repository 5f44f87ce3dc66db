"""What every public loss does around its mathematics: no autocast inside, one graph break under torch.compile."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")


def loss(function: Callable[P, R]) -> Callable[P, R]:
    """A public loss: transport stays in the dtype of its points whatever autocast says.

    torch.compile does not look inside: solvers decide by numbers, which no trace can.

    Args:
        function: The loss.

    Returns:
        The same function.
    """

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        # Asking for the compiler imports it, five seconds: where it is not loaded, nothing is compiled.
        if "torch._dynamo" not in sys.modules:
            return _outside_autocast(function, *args, **kwargs)
        if not _uncompiled:
            _uncompiled.append(torch.compiler.disable(_outside_autocast))
        return _uncompiled[0](function, *args, **kwargs)

    return run


_uncompiled: list[Callable[..., Any]] = []  # `_outside_autocast`, once the compiler is there


def _outside_autocast(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    kinds = [kind for kind in ("cpu", "cuda") if torch.is_autocast_enabled(kind)]
    if not kinds:
        return function(*args, **kwargs)
    raised = tuple(_raised(value) for value in args)
    named = {name: _raised(value) for name, value in kwargs.items()}
    with torch.autocast(kinds[0], enabled=False), torch.autocast(kinds[-1], enabled=False):
        return function(*raised, **named)


def _raised(value: Any) -> Any:
    """Half precision, which autocast makes, as float32; everything else as it is."""
    if isinstance(value, list | tuple):
        return type(value)(map(_raised, value))
    is_half = isinstance(value, torch.Tensor) and value.dtype in (torch.float16, torch.bfloat16)
    return value.float() if is_half else value
