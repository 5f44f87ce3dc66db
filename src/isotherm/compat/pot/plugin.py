"""A pytest plugin: POT's own tests, with its names pointing at ours.

POT's tests reach everything as attributes of the installed `ot`, and so do its modules among themselves. The plugin
replaces each function that we provide wherever POT keeps it, deselects tests that do not touch one, and marks as expected
the failures that `DEVIATIONS` explains. `python -m isotherm.compat.pot` runs it.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

from isotherm._optional import require
from isotherm.compat.pot import (
    bregman,
    da,
    emd,
    emd2,
    solve,
    solve_batch,
    solve_sample,
    solve_sample_batch,
    unbalanced,
    utils,
)
from isotherm.solvers import exact

OURS: dict[str, tuple[Callable[..., Any], ...]] = {
    "ot.batch": (solve_batch, solve_sample_batch),
    "ot.bregman": tuple(getattr(bregman, name) for name in bregman.__all__ if name != "screenkhorn"),
    "ot.da": (da.SinkhornTransport,),
    "ot.lp": (emd, emd2),
    "ot.solvers": (solve, solve_sample),
    "ot.unbalanced": (unbalanced.sinkhorn_unbalanced, unbalanced.sinkhorn_unbalanced2),
    "ot.utils": (utils.dist, utils.unif),
}  # by the module in which POT defines them
LIBRARIES = ("numpy", "torch")  # whose arrays we take

DEVIATIONS: dict[str, str] = {
    r"test_unbalanced_relaxation_parameters\[.*inf": "infinite prices and masses that differ have no plan: an error here",
    r"test_emd2?_sparse_(vs_dense|gradients)": "sparse cost matrices are refused",
    r"test_ot\.py::test_warnings": "emd always goes to the optimum: numItermax has no effect",
    r"test_free_support_barycenter_generic_costs_auto_ground_bary": "Adam stops where two float32 costs happen to be equal: "
    "at another step when squared distances are rounded correctly",
    r"test_solve_sample_methods\[.*'(gaussian|gaussian_hd|factored|lowrank|nystroem)'": "methods that solve other "
    "problems: refused by name",
    r"test_solve_sample_bsp": "a method among those that solve other problems: refused by name",
    r"test_solve_sample_NotImplemented\[.*'lazy': True, 'reg': 1, 'unbalanced': 1": "lazy unbalanced transport is provided here",
    r"test_solve_bary_sample\[": "POT's own function asks solve_sample for penalties other than KL, which are refused",
}  # patterns of test ids; each is explained in the documentation's "Drop-in use"


def provided_names() -> list[str]:
    """Names of POT's functions that ours stand in for.

    Returns:
        The names, sorted.

    Example:
        >>> "sinkhorn2" in provided_names()
        True
    """
    return sorted({function.__name__ for functions in OURS.values() for function in functions})


def replace_names() -> Iterator[tuple[ModuleType, str, Any]]:
    """Replace POT's functions in every module of the installed package that holds them; later ones find them replaced.

    Yields:
        Module, name and the original, for each that was replaced.
    """
    ot = require("ot", extra="exact", why="run POT's tests")
    # Our exact solver uses POT's network simplex: it keeps the original.
    kept = SimpleNamespace(emd=ot.emd)
    original_require = exact.require
    exact.require = lambda module, **words: kept if module == "ot" else original_require(module, **words)
    originals = {
        id(getattr(sys.modules[home], function.__name__)): function
        for home, functions in OURS.items()
        for function in functions
    }
    modules = [module for name, module in sorted(sys.modules.items()) if name.partition(".")[0] == "ot"]
    for module in modules:
        for name, value in list(vars(module).items()):
            if id(value) in originals:
                setattr(module, name, originals[id(value)])
                yield module, name, value


def pytest_configure(config: Any) -> None:
    """Replace the names, and give POT's tests the decorators that its conftest defines."""
    del config
    pytest = importlib.import_module("pytest")
    list(replace_names())
    if not hasattr(pytest, "skip_arg"):
        pytest.skip_arg = skip_arg  # pyright: ignore[reportAttributeAccessIssue]
        pytest.skip_backend = functools.partial(skip_arg, "nx", getter=str)  # pyright: ignore[reportAttributeAccessIssue]


def skip_arg(arg: Any, value: Any, reason: str | None = None, getter: Any = lambda x: x) -> Callable[..., Any]:
    """POT's decorator: skip a test where its arguments have these values.

    Args:
        arg: Name of an argument, or several.
        value: Its value, or one for each.
        reason: Said when skipping.
        getter: What is compared with the value, of the argument; or one for each.

    Returns:
        A decorator.
    """
    names = arg if isinstance(arg, tuple | list) else (arg,)
    values = value if len(names) > 1 else (value,)
    getters = getter if isinstance(getter, tuple | list) else [getter] * len(names)

    def decorate(test: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(test)
        def run(*args: Any, **kwargs: Any) -> Any:
            if all(n in kwargs and get(kwargs[n]) == v for n, v, get in zip(names, values, getters, strict=True)):
                importlib.import_module("pytest").skip(reason or f"{names} is {values}")
            return test(*args, **kwargs)

        return run

    return decorate


def pytest_generate_tests(metafunc: Any) -> None:
    """Run tests of any backend on those whose arrays we take; POT's conftest would run them on all that are installed."""
    if "nx" in metafunc.fixturenames:
        backends = importlib.import_module("ot.backend").get_backend_list()
        chosen = [backend for backend in backends if backend.__name__ in LIBRARIES]
        metafunc.parametrize("nx", chosen, ids=[backend.__name__ for backend in chosen])


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    """Deselect tests that call nothing of ours; expect the failures that are explained."""
    mark = importlib.import_module("pytest").mark
    ours = re.compile(rf"\b(?:ot|bregman|lp|unbalanced|utils)\.(?:{'|'.join(provided_names())})\(")
    kept, left = [], []
    for item in items:
        (kept if ours.search(_source(item)) else left).append(item)
        for pattern, reason in DEVIATIONS.items():
            if re.search(pattern, item.nodeid):
                item.add_marker(mark.xfail(reason=reason, strict=False))
    config.hook.pytest_deselected(items=left)
    items[:] = kept


def _source(item: Any) -> str:
    function = getattr(item, "function", None)
    return "" if function is None else inspect.getsource(inspect.unwrap(function))
