"""What a decoder leaves unexplained, on pictures whose law is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from isotherm.applications.inverse import MaskedImages, families_of, judge, textured, unexplained
from isotherm.models import EVIA
from isotherm.posterior import wedge_mask
from isotherm.posterior.observation import hartley

NOISE, DEVIATION = 0.05, 0.2
W = 0.15 * torch.randn(64, 2, generator=torch.Generator().manual_seed(0))


class Linear(nn.Module):
    """The pictures' own decoder."""

    def forward(self, z: Tensor) -> Tensor:
        return (z @ W.T).unflatten(1, (8, 8))


class Slope(nn.Module):
    """w = gamma z_1 / 2: the first number's posterior is that of a prior around 1/2."""

    def forward(self, z: Tensor) -> Tensor:
        return 0.05 * z[:, :1]


def pictures(count: int) -> MaskedImages:
    """W z with a white texture, masked, with noise: 0.2 away from W z in all where measured."""
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(count, 2, generator=generator)
    texture = math.sqrt(DEVIATION**2 - NOISE**2) * torch.randn(count, 8, 8, generator=generator)
    truth = (z @ W.T).unflatten(1, (8, 8)) + texture
    mask = wedge_mask(8, 180.0 * torch.rand(count, generator=generator), opening=90.0)
    y = hartley(mask * (hartley(truth) + NOISE * torch.randn(truth.shape, generator=generator)))
    return MaskedImages(y=y, mask=mask, truth=truth, noise=NOISE)


def model(critic: str = "none", **settings: nn.Module) -> EVIA:
    return EVIA((8, 8), 2, gamma=0.1, critic=critic, observe="fourier_mask", decoder=Linear(), widths=(8,), **settings)


def test_what_is_unexplained_is_found_without_the_truth():
    """Whatever temperature the model was trained at, here 0.1."""
    data = pictures(300)
    blind = MaskedImages(y=data.y, mask=data.mask, truth=torch.full_like(data.truth, math.nan), noise=NOISE)
    assert unexplained(model(), blind) == pytest.approx(DEVIATION, rel=0.05)


def test_members_are_those_of_the_gaussian():
    """Pictures of the family, measured and not, against the Gaussian of all pixels given what was measured."""
    data = pictures(3)
    posterior = textured(model(), DEVIATION, NOISE)
    draws = posterior.sample(
        model().check_batch(data.batch), 4000, count=8000, generator=torch.Generator().manual_seed(2)
    )
    images = posterior.forward(draws.flatten(0, 1)).unflatten(0, (3, 4000)).flatten(2)
    prior = W @ W.T + (DEVIATION**2 - NOISE**2) * torch.eye(64)
    basis = hartley(torch.eye(64).view(64, 8, 8)).view(64, 64)
    for i in range(3):
        rows = basis[data.mask[i].flatten() == 1.0]
        gain = torch.linalg.solve(rows @ prior @ rows.T + NOISE**2 * torch.eye(len(rows)), rows @ prior).T
        torch.testing.assert_close(images[i].mean(0), gain @ rows @ data.y[i].flatten(), atol=0.02, rtol=0.0)
        left = (prior - gain @ rows @ prior).diagonal().sqrt()
        torch.testing.assert_close(images[i].std(0), left, atol=0.01, rtol=0.0)


def test_families_agree_with_the_data_and_cover_the_truth():
    data = pictures(60)
    posterior = textured(model(), DEVIATION, NOISE)
    generator = torch.Generator().manual_seed(3)
    draws = posterior.sample(model().check_batch(data.batch), 200, count=20_000, generator=generator)
    images = posterior.forward(draws.flatten(0, 1)).unflatten(0, (60, 200))
    found = judge(families_of(images, data, model_noise=0.0, generator=generator), data)
    assert found.residual == pytest.approx(NOISE, rel=0.1)
    assert found.spread_missing > 3.0 * found.spread_measured
    for level, share in found.decoded_coverage.items():
        assert share == pytest.approx(level, abs=0.04)


def test_the_critic_keeps_its_say():
    """w / gamma is what it was: a prior that w moves by half, however cold."""
    hot, data = model("dual", critic_network=Slope()), pictures(20)
    nothing = hot.check_batch((torch.zeros_like(data.y), torch.zeros_like(data.mask)))
    generator = torch.Generator().manual_seed(4)
    cold = textured(hot, DEVIATION, NOISE).sample(nothing, 200, count=4000, generator=generator)
    assert float(cold[..., 0].mean()) == pytest.approx(0.5, abs=0.05)
    assert float(cold[..., 1].mean()) == pytest.approx(0.0, abs=0.05)


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="at least the noise"):
        textured(model(), 0.04, NOISE)
    sinkhorn = model("sinkhorn").calibrate(pictures(20).batch)
    with pytest.raises(TypeError, match="critic='sinkhorn'"):
        textured(sinkhorn, DEVIATION, NOISE)
    with pytest.raises(TypeError, match="critic='sinkhorn'"):
        unexplained(sinkhorn, pictures(20))
