"""Optional packages are imported where they are used, with a message that says how to get them."""

from __future__ import annotations

import importlib
from typing import Any


def require(module: str, *, extra: str, why: str) -> Any:
    """Import an optional package, or say which extra installs it.

    Args:
        module: Importable name, for instance `"ot"` or `"scipy.optimize"`.
        extra: Name of the extra of this package that brings it.
        why: What the caller needs it for, completing "needed to ...".

    Returns:
        The imported module.

    Raises:
        ImportError: The package is absent; the message gives the pip command.

    Example:
        >>> require("math", extra="none", why="add").sqrt(4.0)
        2.0
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        msg = (
            f"The package `{module.partition('.')[0]}` is needed to {why}, and it is not installed. "
            f"Install it with: pip install 'isotherm[{extra}]'"
        )
        raise ImportError(msg) from error
