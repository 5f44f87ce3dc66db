"""Everything of a training that changes from step to step, and how it changes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from isotherm.models.streams import Streams
from isotherm.models.training.average import Average
from isotherm.models.training.order import Order
from isotherm.models.training.randomness import go_on, randomness
from isotherm.models.training.schedule import rate_factor

if TYPE_CHECKING:
    from isotherm.models.model import AbstractModel, Batch
    from isotherm.models.training.loop import Training
    from isotherm.models.training.processes import Processes

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
FORGETTING = 0.02  # of the smoothed loss: it is a mean over about fifty steps


class State:
    """Weights, optimiser, mean of weights, place in the data, and all generators.

    Args:
        training: The settings.
        model: On its device.
        data: Observations, or a tuple that begins with them.
        processes: This process among the others.

    Raises:
        ValueError: Fewer observations in a batch than processes.
    """

    def __init__(self, training: Training, model: AbstractModel, data: Batch, processes: Processes) -> None:
        self.training, self.model, self.processes = training, model, processes
        self.device = processes.device
        self.data = data
        size = len(data if isinstance(data, Tensor) else data[0])
        self.order = Order(size, training.batch_size, Streams(training.seed)["data"])
        if self.order.batch_size < processes.count:
            msg = f"Each process needs at least one observation of a batch: got {self.order.batch_size} for {processes.count} processes. Start fewer."
            raise ValueError(msg)
        groups = model.parameter_groups(training.learning_rate)
        self.rates = [group.get("lr", training.learning_rate) for group in groups]
        self.optimiser = torch.optim.Adam(groups, lr=training.learning_rate)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=training.precision == "float16")
        self.average = Average(model, training.ema) if training.ema else None
        if training.compile:
            for network in model.children():
                network.compile()
        self.wrapped = processes.wrap(model)
        self.step, self.seconds = 0, 0.0
        self.smoothed = torch.zeros((), device=self.device)

    def differentiate(self) -> dict[str, Tensor]:
        """Put the derivatives of the next batch's loss into place; the weights stay.

        Returns:
            What the model's step gave, with "learning_rate" and "gradient_norm" (before it is clipped).
        """
        training, index = self.training, self.processes.part(self.order.take()).to(self.device)
        with torch.autocast(self.device.type, PRECISIONS[training.precision], enabled=training.precision != "float32"):
            found = self.wrapped(self.batch(index), progress=self.step / training.steps, index=index)
        self.optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(found["loss"]).backward()
        self.scaler.unscale_(self.optimiser)
        length = math.inf if training.clip is None else training.clip
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), length)
        factor = rate_factor(self.step, steps=training.steps, schedule=training.schedule, warm_up=training.warm_up)
        for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        rate = torch.tensor(training.learning_rate * factor, dtype=torch.float64)
        found = {name: value.detach() for name, value in found.items()}
        return {**found, "learning_rate": rate, "gradient_norm": norm.detach()}

    def failure(self, found: dict[str, Tensor]) -> str:
        """Which number is not finite, in words; empty where all is well. Waits for a GPU."""
        if not math.isfinite(found["loss"]):
            return "the loss"
        if self.scaler.is_enabled():  # an overflow is the scaler's affair, until there is nothing left to scale
            return "" if self.scaler.get_scale() >= 1.0 else "the gradient in float16, whatever its scale,"
        return "" if math.isfinite(found["gradient_norm"]) else "the gradient"

    def move(self, found: dict[str, Tensor]) -> None:
        """Move the weights along their derivatives: the step is done.

        Args:
            found: What `differentiate` gave.
        """
        self.scaler.step(self.optimiser)
        self.scaler.update()
        if self.average is not None:
            self.average.update(self.step)
        self.step += 1
        self.smoothed.lerp_(found["loss"].to(self.smoothed), max(FORGETTING, 1.0 / self.step))

    def batch(self, index: Tensor) -> Batch:
        """Observations of some rows, on the device."""
        rows = index.to(self.data.device if isinstance(self.data, Tensor) else self.data[0].device)
        if isinstance(self.data, Tensor):
            return self.data[rows].to(self.device)
        return tuple(part[rows].to(self.device) for part in self.data)

    def state_dict(self) -> dict[str, Any]:
        """All of it; tensors are not copied. Every process has to ask."""
        mine = {"random": randomness(self.model, self.device)}
        if self.processes.rank:  # those of the first are the model's
            mine["buffers"] = {name: buffer.cpu() for name, buffer in self.model.named_buffers()}
        return {
            "step": self.step,
            "seconds": self.seconds,
            "smoothed": self.smoothed,
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": self.average.state_dict() if self.average is not None else None,
            "order": self.order.state_dict(),
            "processes": self.processes.gather(mine),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken.

        Args:
            state: What `state_dict` gave.

        Raises:
            ValueError: It was taken with other data, another model, or another number of processes.
        """
        everyone = state["processes"]
        if len(everyone) != self.processes.count:
            msg = f"Training goes on with as many processes as it began with: got {self.processes.count}, it began with {len(everyone)}. Start {len(everyone)}."
            raise ValueError(msg)
        self.order.load_state_dict(state["order"])
        try:
            self.model.load_state_dict(state["model"])
            self.optimiser.load_state_dict(state["optimiser"])
        except RuntimeError as error:
            msg = f"Training goes on with the model it began with: {error}. Make it with the same settings, or train anew."
            raise ValueError(msg) from error
        self.scaler.load_state_dict(state["scaler"])
        if self.average is not None and state["average"] is not None:
            self.average.load_state_dict(state["average"])
        self.step, self.seconds = int(state["step"]), float(state["seconds"])
        self.smoothed.copy_(state["smoothed"])
        mine = everyone[self.processes.rank]
        for name, buffer in self.model.named_buffers():
            if name in mine.get("buffers", {}):
                buffer.copy_(mine["buffers"][name])
        go_on(self.model, self.device, mine["random"])
