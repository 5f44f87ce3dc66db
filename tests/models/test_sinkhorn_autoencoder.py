"""The Sinkhorn autoencoder: where its divergences leave the variance of the codes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from isotherm.models import SinkhornAutoencoder


class Scale(nn.Module):
    """z = s x: codes whose variance is all that there is to learn."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(start).log())

    def forward(self, x: Tensor) -> Tensor:
        return self.log_scale.exp() * x


def latent_variance(divergence: str, epsilon: float, latent: int = 64) -> float:
    """After training on Gaussian observations that the misfit does not care about."""
    random = torch.Generator().manual_seed(0)
    model = SinkhornAutoencoder(
        (latent,), latent, lam=1e-6, divergence=divergence, epsilon=epsilon, encoder=Scale(0.7), decoder=nn.Identity()
    )
    optimiser = torch.optim.Adam(model.parameters(), lr=0.05)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.05, total_iters=60)
    for _ in range(60):
        optimiser.zero_grad()
        model.step(torch.randn(256, latent, generator=random))["loss"].backward()
        optimiser.step()
        schedule.step()
    return model.encoder.log_scale.exp().item() ** 2


def test_codes_have_the_variance_of_a_prior_in_64_dimensions():
    assert latent_variance("halves", 10.0) == pytest.approx(1.0, abs=0.03)
    assert latent_variance("halves", 100.0) == pytest.approx(1.0, abs=0.03)


def test_other_divergences_shrink_codes_in_64_dimensions():
    assert latent_variance("raw", 10.0) < 0.2  # tends to zero: epsilon / 2 is more than all of it
    assert latent_variance("sharp", 10.0) < 0.6
    assert latent_variance("debiased", 10.0) < 0.5  # few points of a law: each is its own nearest neighbour


def test_codes_and_draws_lie_on_the_sphere():
    model = SinkhornAutoencoder((5,), 3, widths=(8,), space="sphere", epsilon=0.1).double()
    x = torch.randn(9, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    draws = model.prior(20000, torch.Generator().manual_seed(1))
    one = torch.ones((), dtype=torch.float64)
    torch.testing.assert_close(model.encode(x).norm(dim=1), one.expand(9))
    torch.testing.assert_close(draws.norm(dim=1), one.expand(20000))
    torch.testing.assert_close(draws.T @ draws / 20000, torch.eye(3).double() / 3, rtol=0, atol=0.01)  # uniform


def test_codes_spread_over_the_sphere_when_misfit_is_cheap():
    random = torch.Generator().manual_seed(0)
    model = SinkhornAutoencoder((3,), 3, widths=(32,), lam=1e-6, space="sphere", epsilon=0.1, seed=1)
    x = torch.randn(512, 3, generator=random) + 3.0
    before = model.encode(x).mean(0).norm()
    model.fit(x, steps=100, batch_size=128, learning_rate=5e-3)
    after = model.encode(x).detach()
    assert after.mean(0).norm() < 0.3 < before
    torch.testing.assert_close(after.T @ after / 512, torch.eye(3) / 3, rtol=0, atol=0.1)
