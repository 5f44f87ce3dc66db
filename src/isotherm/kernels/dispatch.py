"""Which backend runs a reduction: the fastest that can, or the one asked for, or an error that says why not."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from isotherm.kernels import compiled, triton_launch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from torch import Tensor

    from isotherm.kernels.source import CostSource

NAMES = ("cpu", "triton", "reference")
_forced: ContextVar[str | None] = ContextVar("isotherm_kernels_backend", default=None)


@contextmanager
def use(name: str) -> Iterator[None]:
    """Run every reduction inside the block on one backend; for debugging and comparisons.

    Holds for the current thread (or task) only. A reduction that the backend cannot do raises, with its reasons. A
    function compiled by torch.compile keeps the backend it was first traced with.

    Args:
        name: "cpu" (compiled, fused), "triton" (on a GPU) or "reference" (plain torch, the definition).

    Yields:
        Nothing.

    Raises:
        ValueError: No backend has this name.

    Example:
        >>> import torch
        >>> from isotherm.geometry import PointCloud
        >>> with use("reference"):
        ...     PointCloud(torch.zeros(1, 2), torch.zeros(3, 2)).softmin(torch.zeros(3), epsilon=1.0)
        tensor([-1.0986])
    """
    if name not in NAMES:
        msg = f"A backend must be one of {', '.join(NAMES)}: got {name!r}. See isotherm.kernels.backends()."
        raise ValueError(msg)
    token = _forced.set(name)
    try:
        yield
    finally:
        _forced.reset(token)


def backends() -> dict[str, list[str]]:
    """Backends by name, fastest first, each with the reasons why it cannot be used here; none means it can.

    Returns:
        Reasons by name. A reduction may still be out of reach for one problem: its cost, dtype or device.

    Example:
        >>> backends()["reference"]
        []
    """
    return {"cpu": compiled.why_missing(), "triton": triton_launch.why_missing(), "reference": []}


def _current() -> str | None:
    """The forced backend, if any."""
    return _forced.get()


# torch.compile (2.13) does not follow context variables: it takes what it finds as constant. This is what
# torch.compiler.assume_constant_result(_current) sets; calling that would import the compiler, five seconds.
_current._dynamo_marked_constant = True  # pyright: ignore[reportFunctionMemberAccess]


def choose(
    modules: tuple[ModuleType, ...], costs: CostSource, *tensors: Tensor | None, rule: str = "why_not"
) -> ModuleType:
    """The module that runs a reduction on these inputs.

    Args:
        modules: One module for each backend, fastest first; each answers `why_not(costs, *tensors)`.
        costs: The costs reduced over.
        *tensors: The other inputs, None where left out.
        rule: Name of the function to ask, where a module holds reductions with different answers.

    Returns:
        The first module without a reason against it, or the forced one.

    Raises:
        RuntimeError: The forced backend cannot run this.
    """
    forced = _current()
    reasons: dict[str, list[str]] = {}
    for module in modules:
        name = module.__name__.rpartition(".")[2]
        if forced not in {None, name}:
            continue
        if name == "triton" and forced is None and triton_launch.is_interpreted():
            reasons[name] = ["Triton's interpreter is slow; ask for it with use('triton')"]
            continue
        reasons[name] = getattr(module, rule, module.why_not)(costs, *tensors)
        if not reasons[name]:
            return module
    operation = modules[0].__name__.split(".")[-2]
    told = "; ".join(f"{name}: {', and '.join(why)}" for name, why in reasons.items()) or f"it has no {forced} version"
    msg = f"No backend can run {operation} here ({told}). Leave the choice open, or change the inputs as told."
    raise RuntimeError(msg)
