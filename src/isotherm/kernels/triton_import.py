"""Triton where it is installed; else a stand-in, so that the base install imports every file of kernels."""

from __future__ import annotations

import importlib.util
from typing import Any, NoReturn

from isotherm._optional import require


class MissingKernel:
    """What becomes of a kernel without Triton: asking for a launch says how to install it."""

    def __getitem__(self, grid: object) -> NoReturn:
        """Raise the ImportError of `require`."""
        require("triton", extra="triton", why="run kernels on a GPU")
        msg = "this is our bug: the stand-in was used although triton is installed"
        raise AssertionError(msg)


class MissingTriton:
    """The two names of Triton that are used outside of kernels."""

    def jit(self, function: object) -> MissingKernel:
        """A kernel that cannot be launched."""
        del function
        return MissingKernel()

    def cdiv(self, size: int, tile: int) -> int:
        """Number of tiles that cover a size."""
        return -(-size // tile)


triton: Any = MissingTriton()
tl: Any = None
if importlib.util.find_spec("triton") is not None:
    triton = require("triton", extra="triton", why="run kernels on a GPU")
    tl = require("triton.language", extra="triton", why="run kernels on a GPU")
