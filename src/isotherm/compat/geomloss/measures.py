"""The call forms of a loss between samples: (x, y), (a, x, b, y), or with labels of clusters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Measures:
    """Two weighted clouds, or a batch of them.

    Attributes:
        a: Weights of the sources, shape (N,) or (B, N).
        x: Sources, shape (N, D) or (B, N, D).
        b: Weights of the targets, shape (M,) or (B, M).
        y: Targets, shape (M, D) or (B, M, D).
        shapes: Of the weights as they were given, so that potentials can have them.
    """

    a: Tensor
    x: Tensor
    b: Tensor
    y: Tensor
    shapes: tuple[torch.Size, torch.Size]

    @property
    def is_batch(self) -> bool:
        """Whether there is an axis of problems."""
        return self.x.ndim == 3

    def each(self) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """(a, x, b, y) of each problem."""
        parts = (self.a, self.x, self.b, self.y)
        return list(zip(*parts, strict=True)) if self.is_batch else [parts]


def read_measures(arguments: tuple[Any, ...], *, allows_labels: bool) -> Measures:
    """The measures behind the arguments of a call.

    Args:
        arguments: Two, four or six of them.
        allows_labels: Whether the backend asked for knows clusters.

    Returns:
        The measures.

    Raises:
        ValueError: Another number of arguments, or shapes that do not belong together.
        TypeError: Not tensors.
        NotImplementedError: Labels with a batch.
    """
    match arguments:
        case (x, y):
            labels, a, b = (None, None), None, None
        case (a, x, b, y):
            labels = (None, None)
        case (label_x, a, x, label_y, b, y):
            labels = (label_x, label_y)
        case _:
            msg = f"A SamplesLoss takes (x, y), (a, x, b, y) or (labels_x, a, x, labels_y, b, y): got {len(arguments)} arguments. Pass one of these."
            raise ValueError(msg)
    _check_clouds(x, y)
    weights = _weights(a, x, "a"), _weights(b, y, "b")
    for one, cloud, name in zip(labels, (x, y), "xy", strict=True):
        if one is not None:
            _check_labels(one, cloud, name, is_allowed=allows_labels)
    flat = [w.reshape(cloud.shape[:-1]) for w, cloud in zip(weights, (x, y), strict=True)]
    return Measures(flat[0], x, flat[1], y, (weights[0].shape, weights[1].shape))


def _check_clouds(x: Any, y: Any) -> None:
    for cloud, name in ((x, "x"), (y, "y")):
        if not isinstance(cloud, Tensor):
            msg = f"`{name}` must be a tensor: got {type(cloud).__name__}. Convert it with torch.as_tensor."
            raise TypeError(msg)
        if cloud.ndim not in (2, 3):
            msg = f"`{name}` must have shape (N, D), or (B, N, D) for a batch: got {tuple(cloud.shape)}. Points on a line are (N, 1)."
            raise ValueError(msg)
    if x.ndim != y.ndim or x.shape[-1] != y.shape[-1] or x.shape[:-2] != y.shape[:-2]:
        msg = f"`x` and `y` must agree in dimension and in size of the batch: got {tuple(x.shape)} and {tuple(y.shape)}. Make them alike."
        raise ValueError(msg)


def _weights(weights: Any, cloud: Tensor, name: str) -> Tensor:
    """Weights as they were given, after a check; equal ones when left out."""
    if weights is None:
        dtype = torch.float64 if cloud.dtype == torch.float64 else torch.float32  # half precision cannot hold 1 / N
        return torch.full(cloud.shape[:-1], 1.0 / cloud.shape[-2], dtype=dtype, device=cloud.device)
    if not isinstance(weights, Tensor):
        msg = f"`{name}` must be a tensor of weights: got {type(weights).__name__}. Convert it with torch.as_tensor."
        raise TypeError(msg)
    if weights.shape not in (cloud.shape[:-1], (*cloud.shape[:-1], 1)):
        msg = f"`{name}` must hold a weight for each point, shape {tuple(cloud.shape[:-1])}: got {tuple(weights.shape)}. Reshape or expand it."
        raise ValueError(msg)
    return weights


def _check_labels(labels: Tensor, cloud: Tensor, name: str, *, is_allowed: bool) -> None:
    if not is_allowed:
        msg = 'Labels of clusters go with backend "auto" or "multiscale" alone: got another one. Leave them out, or change it.'
        raise ValueError(msg)
    if cloud.ndim == 3:
        msg = "Labels of clusters go with single clouds: got a batch. Leave them out: they change no answer."
        raise NotImplementedError(msg)
    if labels.shape not in ((cloud.shape[0],), (cloud.shape[0], 1)):
        msg = f"`labels_{name}` must hold a label for each point, shape {(cloud.shape[0],)}: got {tuple(labels.shape)}. Pass one for each."
        raise ValueError(msg)
