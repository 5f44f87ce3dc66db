"""Warnings that point at the user's line, however deep in the facade they arise."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable
from pathlib import Path

import torch

OURS = (str(Path(__file__).parent), str(Path(torch.__file__).parent))  # torch.no_grad stands between our functions


def warn_user(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the first caller outside this folder.

    Args:
        message: What to say.
        category: Kind of warning.
    """
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(OURS):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def warn_unknown(arguments: Iterable[str], known: Iterable[str]) -> None:
    """Say which arguments have no effect; POT's functions swallow what they do not know, and its own modules count on it.

    Args:
        arguments: What was given beyond the signature.
        known: What another method of POT would take.
    """
    if unknown := sorted(set(arguments) - set(known)):
        warn_user(
            f"Unknown arguments {', '.join(unknown)} have no effect: expected those of POT's methods. Check their spelling."
        )
