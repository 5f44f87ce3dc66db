"""The Wasserstein autoencoder: its penalty, its cold limit, the Monge map."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from isotherm.models import WAE
from isotherm.models.wae import SCALES, inverse_multiquadric

RANDOM = torch.Generator().manual_seed(0)


def test_penalty_is_the_squared_discrepancy_of_the_papers_kernel():
    codes, draws = (torch.randn(n, 3, generator=RANDOM, dtype=torch.float64) for n in (7, 5))

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        square = torch.cdist(x, y) ** 2
        return sum((6.0 * s / (6.0 * s + square) for s in SCALES), start=torch.zeros(()))

    expected = kernel(codes, codes).mean() + kernel(draws, draws).mean() - 2.0 * kernel(codes, draws).mean()
    torch.testing.assert_close(WAE((2,), 3).divergence(codes, draws), expected, rtol=1e-10, atol=1e-12)
    assert SCALES == (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def test_kernel_falls_to_a_half_at_its_scale():
    one, two = torch.zeros(1, 2, dtype=torch.float64), torch.tensor([[2.0, 0.0]], dtype=torch.float64)
    # |x - y|^2 = 4 = 2 K: the middle scale contributes 1/2
    assert float(inverse_multiquadric(one, two)) == pytest.approx(sum(s / (s + 1.0) for s in SCALES))


def test_penalty_is_zero_for_equal_clouds_and_positive_otherwise():
    codes = torch.randn(40, 3, generator=RANDOM, dtype=torch.float64)
    assert abs(float(WAE((2,), 3).divergence(codes, codes))) < 1e-9
    draws = torch.randn(1000, 3, generator=RANDOM, dtype=torch.float64)
    other = torch.randn(1000, 3, generator=RANDOM, dtype=torch.float64)
    for penalty, noise in (("mmd", 0.01), ("ot", 0.05)):
        model = WAE((2,), 3, penalty=penalty)
        assert abs(float(model.divergence(other, draws))) < noise, penalty
        assert float(model.divergence(1.5 * other, draws)) > 2.0 * noise, penalty
        assert float(model.divergence(other + 0.5, draws)) > 2.0 * noise, penalty


def test_strong_penalty_makes_the_encoder_the_monge_map():
    # Of all maps with Cov(e) = 1 the one with the least misfit: (W'SW)^(-1/2) W'x, not merely some whitening.
    w = torch.tensor([[1.0, 0.5], [-0.3, 0.8], [0.2, 0.1]], dtype=torch.float64)
    root = torch.tensor([[1.6, 0.0, 0.0], [0.7, 0.9, 0.0], [-0.2, 0.3, 0.4]], dtype=torch.float64)
    values, vectors = torch.linalg.eigh(w.T @ root @ root.T @ w)
    monge = vectors @ torch.diag(values**-0.5) @ vectors.T @ w.T  # (2, 3)

    encoder, decoder = nn.Linear(3, 2, bias=False).double(), nn.Linear(2, 3, bias=False).double().requires_grad_(False)
    decoder.weight.copy_(w)
    with torch.no_grad():
        encoder.weight.copy_(0.3 * torch.eye(2, 3))
    model = WAE((3,), 2, lam=4.0, weight=10.0, penalty="ot", epsilon=1.0, encoder=encoder, decoder=decoder)
    random = torch.Generator().manual_seed(1)
    optimiser = torch.optim.Adam([encoder.weight], lr=0.1)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.01, total_iters=300)
    for _ in range(300):
        optimiser.zero_grad()
        model.step(torch.randn(128, 3, generator=random, dtype=torch.float64) @ root.T)["loss"].backward()
        optimiser.step()
        schedule.step()
    assert (encoder.weight.detach() - monge).abs().max() < 0.12
    turned = torch.tensor([[0.8, -0.6], [0.6, 0.8]], dtype=torch.float64) @ monge  # another whitening is far from it
    assert (turned - monge).abs().max() > 0.4
