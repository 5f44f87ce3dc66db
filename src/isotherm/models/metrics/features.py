"""Where to measure: in the last hidden layer of a small network that tells the classes apart."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from isotherm._optional import require
from isotherm.models.metrics.inputs import vectors

ROUNDS = 500  # of training; the network of the digits protocol stops earlier on its own


@dataclass(frozen=True, eq=False)
class ClassFeatures:
    """A function from observations to features.

    Attributes:
        weights: Of the hidden layers, shapes (inputs, outputs), float64.
        biases: Of each, shape (outputs,).
        accuracy: Share of held-out observations that the network classifies rightly; None where it was not measured.
    """

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]
    accuracy: float | None = None

    def __call__(self, x: Any) -> Tensor:
        """Activations of the last hidden layer, shape (n, features), float64."""
        hidden = vectors(x, "x")
        for weight, bias in zip(self.weights, self.biases, strict=True):
            hidden = (hidden @ weight.to(hidden.device) + bias.to(hidden.device)).relu()
        return hidden


def class_features(
    train: Any,
    labels: Any,
    *,
    test: Any = None,
    test_labels: Any = None,
    widths: Sequence[int] = (64, 32),
    seed: int = 0,
) -> ClassFeatures:
    """Fit scikit-learn's perceptron to classes and keep all but its last layer.

    Args:
        train: Observations, shape (n, *shape).
        labels: Class of each, shape (n,).
        test: Held out, to know the accuracy.
        test_labels: Class of each of those.
        widths: Of the hidden layers; the last is the number of features.
        seed: Of its initial weights and batches.

    Returns:
        A function, the same for the same arguments.

    Raises:
        ImportError: scikit-learn is missing.

    Example:
        >>> x = torch.linspace(-1, 1, 40)[:, None]
        >>> class_features(x, (x[:, 0] > 0).long(), widths=(4, 2))(x).shape
        torch.Size([40, 2])
    """
    networks = require("sklearn.neural_network", extra="train", why="fit the network whose features are compared")
    network = networks.MLPClassifier(tuple(widths), random_state=seed, max_iter=ROUNDS)
    converging = require("sklearn.exceptions", extra="train", why="fit that network").ConvergenceWarning
    with warnings.catch_warnings():  # features are features; the accuracy says how good
        warnings.simplefilter("ignore", converging)
        network.fit(vectors(train, "train").cpu().numpy(), torch.as_tensor(labels).cpu().numpy())
    accuracy = None
    if test is not None and test_labels is not None:
        held = vectors(test, "test").cpu().numpy()
        accuracy = float(network.score(held, torch.as_tensor(test_labels).cpu().numpy()))
    weights, biases = (
        tuple(torch.from_numpy(part) for part in parts[:-1]) for parts in (network.coefs_, network.intercepts_)
    )
    return ClassFeatures(weights, biases, accuracy)
