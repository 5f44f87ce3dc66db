"""What a model of digits has to beat: laws that are fitted in a second. Each is a function (count, generator) -> observations."""

from __future__ import annotations

from collections.abc import Callable

import torch
from sklearn.mixture import GaussianMixture
from torch import Tensor

Generate = Callable[[int, torch.Generator], Tensor]


def training_data(train: Tensor, seed: int) -> Generate:
    """A part of the training data: the floor."""
    return lambda count, generator: train[torch.randperm(len(train), generator=generator)[:count]]


def gaussian(train: Tensor, seed: int) -> Generate:
    """Mean and covariance."""
    x = train.flatten(1).double()
    values, axes = torch.linalg.eigh(torch.cov(x.T))
    return lambda count, generator: _shaped(x.mean(0) + _normal(count, values, generator) @ axes.T, train)


def principal(train: Tensor, seed: int, latent: int = 16) -> Generate:
    """Probabilistic principal components, means of the decoder."""
    x = train.flatten(1).double()
    values, axes = torch.linalg.eigh(torch.cov(x.T))
    noise = values[:-latent].mean()
    axes, spread = axes[:, -latent:], values[-latent:] - noise
    return lambda count, generator: _shaped(x.mean(0) + _normal(count, spread, generator) @ axes.T, train)


def mixture(train: Tensor, seed: int) -> Generate:
    """Ten Gaussians with full covariances, variances raised by 1e-3."""
    fitted = GaussianMixture(10, reg_covar=1e-3, random_state=seed).fit(train.flatten(1).double().numpy())
    means, roots = (torch.from_numpy(part) for part in (fitted.means_, fitted.precisions_cholesky_))
    weights = torch.from_numpy(fitted.weights_)

    def generate(count: int, generator: torch.Generator) -> Tensor:
        part = torch.multinomial(weights, count, replacement=True, generator=generator)
        noise = torch.randn(count, 1, means.shape[1], generator=generator, dtype=means.dtype)
        moved = torch.linalg.solve_triangular(roots[part].mT, noise.mT, upper=False)[:, :, 0]  # precision = root root'
        return _shaped(means[part] + moved, train)

    return generate


def kernel_density(train: Tensor, seed: int, width: float = 0.1) -> Generate:
    """Training data with noise: remembers everything."""

    def generate(count: int, generator: torch.Generator) -> Tensor:
        x = train[torch.randint(len(train), (count,), generator=generator)]
        return x + width * torch.randn(x.shape, generator=generator)

    return generate


BASELINES: dict[str, Callable[[Tensor, int], Generate]] = {
    "training data (floor)": training_data,
    "Gaussian": gaussian,
    "PPCA 16": principal,
    "10 Gaussians": mixture,
    "kernel density .1": kernel_density,
}


def _normal(count: int, variances: Tensor, generator: torch.Generator) -> Tensor:
    noise = torch.randn(count, len(variances), generator=generator, dtype=variances.dtype)
    return noise * variances.clamp_min(0.0).sqrt()


def _shaped(x: Tensor, like: Tensor) -> Tensor:
    return x.view(-1, *like.shape[1:]).to(like.dtype)
