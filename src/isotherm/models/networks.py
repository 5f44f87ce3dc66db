"""Small networks for encoders, decoders and critics, and what adversaries need: one network held still inside another's loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


def perceptron(inputs: int, widths: Sequence[int], outputs: int, generator: torch.Generator) -> nn.Sequential:
    """A multilayer perceptron with SiLU, from vectors to vectors.

    Args:
        inputs: Features that come in.
        widths: Of the hidden layers; none makes it linear.
        outputs: Features that go out.
        generator: Initial weights are drawn from it, never from the global state.

    Returns:
        Layers, (n, inputs) -> (n, outputs).

    Example:
        >>> perceptron(4, (8,), 2, torch.Generator().manual_seed(0))(torch.zeros(3, 4)).shape
        torch.Size([3, 2])
    """
    layers: list[nn.Module] = []
    for ins, outs in pairwise((inputs, *widths, outputs)):
        layers += [linear(ins, outs, generator), nn.SiLU()]
    return nn.Sequential(*layers[:-1])


def linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """`nn.Linear` with its usual initial law, uniform within 1 / sqrt(inputs), drawn from a generator."""
    layer = nn.Linear(inputs, outputs, device="meta").to_empty(device="cpu")  # nothing is drawn
    bound = 1.0 / math.sqrt(max(inputs, 1))
    with torch.no_grad():
        for parameter in (layer.weight, layer.bias):
            parameter.copy_((2.0 * torch.rand(parameter.shape, generator=generator) - 1.0) * bound)
    return layer


def held_still(network: nn.Module, *inputs: Tensor) -> Tensor:
    """The network's value, differentiable in its inputs alone: its own parameters get no derivative.

    One loss can then move two adversaries in opposite directions, each by its own term.

    Args:
        network: Any module.
        *inputs: What it takes.

    Returns:
        Its value.

    Example:
        >>> layer, x = nn.Linear(1, 1), torch.ones(1, 1, requires_grad=True)
        >>> held_still(layer, x).sum().backward()
        >>> layer.weight.grad is None, x.grad is None
        (True, False)
    """
    still = {name: value.detach() for name, value in (*network.named_parameters(), *network.named_buffers())}
    return torch.func.functional_call(network, still, inputs)


class Flat(nn.Module):
    """A perceptron between arrays of any shape: flattens what comes in, shapes what goes out.

    Args:
        inputs: Shape of what comes in, without the batch.
        widths: Of the hidden layers.
        outputs: Shape of what goes out.
        generator: For the initial weights.

    Example:
        >>> Flat((8, 8), (16,), (2,), torch.Generator().manual_seed(0))(torch.zeros(3, 8, 8)).shape
        torch.Size([3, 2])
    """

    def __init__(
        self, inputs: Sequence[int], widths: Sequence[int], outputs: Sequence[int], generator: torch.Generator
    ) -> None:
        super().__init__()
        self.outputs = tuple(outputs)
        self.layers = perceptron(math.prod(inputs), widths, math.prod(outputs), generator)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (n, *outputs)."""
        return self.layers(x.flatten(1)).unflatten(1, self.outputs)
