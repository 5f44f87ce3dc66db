"""What to say when training leaves the numbers: which temperature, which cost, and what to change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from isotherm.models.model import AbstractModel

TEMPERATURES = ("gamma", "epsilon")


@torch.no_grad()
def explain(model: AbstractModel, x: Tensor, *, step: int, back: int, learning_rate: float, failure: str) -> str:
    """One error for a loss or a gradient that is not finite.

    Args:
        model: Already back at its last good weights.
        x: Observations of the step, shape (n, *shape).
        step: The step that failed.
        back: The step whose weights the model has now.
        learning_rate: In force.
        failure: Which number it was.

    Returns:
        The message: where, at which temperatures and which scale of the cost, and what to do.
    """
    settings = model.settings()
    lam = float(settings.get("lam", 1.0))
    misfit = float(0.5 * lam * (x - x.mean(0)).square().flatten(1).sum(1).mean())
    heat = {name: settings[name] for name in TEMPERATURES if isinstance(settings.get(name), (int, float))}
    shares = [
        f"{name} = {value:g} ({value / misfit:.1e} of it)" if misfit else f"{name} = {value:g}"
        for name, value in heat.items()
    ]
    raised = " or ".join(heat)
    advice = (
        f", a larger {raised} where it is below a thousandth of the cost, or data divided by their scale"
        if raised
        else ", or data divided by their scale"
    )
    return (
        f"Training must stay among finite numbers: {failure} of step {step} is not, and the model is back at step {back}. "
        f"The cost's scale, the mean misfit lam/2 |x - A(z)|^2 when A(z) is the mean of the data, is {misfit:.3g}"
        f"{'; ' + ', '.join(shares) if shares else ''}. "
        f"Take a smaller learning_rate (now {learning_rate:g}), clip=1{advice}."
    )
