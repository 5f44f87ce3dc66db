"""Masked digits, families of images, and what is said of them, on families whose answers are known."""

from __future__ import annotations

import pytest
import torch

from isotherm.applications.inverse import MaskedImages, families_of, judge, masked_digits
from isotherm.posterior import wedge_mask
from isotherm.posterior.observation import hartley


def made(count: int = 200, *, noise: float = 0.1) -> MaskedImages:
    generator = torch.Generator().manual_seed(0)
    truth = torch.randn(count, 8, 8, generator=generator)
    mask = wedge_mask(8, 180.0 * torch.rand(count, generator=generator), opening=90.0)
    y = hartley(mask * (hartley(truth) + noise * torch.randn(truth.shape, generator=generator)))
    return MaskedImages(y=y, mask=mask, truth=truth, noise=noise)


def test_digits_are_masked_and_split():
    train, held = masked_digits(noise=0.02, seed=1)
    assert train.y.shape == train.mask.shape == (1198, 8, 8)
    assert held.truth.shape == (599, 8, 8)
    assert float(held.truth.min()) == 0.0
    assert float(held.truth.max()) == 1.0
    coefficients = hartley(train.y)
    torch.testing.assert_close(coefficients * (1.0 - train.mask), torch.zeros_like(coefficients), atol=1e-6, rtol=0.0)
    away = (coefficients - hartley(train.truth))[train.mask == 1.0]
    assert float(away.std()) == pytest.approx(0.02, rel=0.03)
    assert 0.4 < float(train.mask.mean()) < 0.5
    assert len({mask.numpy().tobytes() for mask in train.mask}) > 10
    again, _ = masked_digits(noise=0.02, seed=1)
    torch.testing.assert_close(again.y, train.y, rtol=0.0, atol=0.0)


def test_completed_images_agree_with_what_was_measured():
    data = made(5)
    decoded = torch.randn(5, 7, 8, 8, generator=torch.Generator().manual_seed(1))
    found = families_of(decoded, data, model_noise=0.3, generator=torch.Generator().manual_seed(2))
    coefficients = hartley(found.completed.flatten(0, 1)).view(5, 7, 8, 8)
    known = torch.where(
        data.mask[:, None] == 1.0, hartley(data.y)[:, None], hartley(decoded.flatten(0, 1)).view(5, 7, 8, 8)
    )
    torch.testing.assert_close(coefficients, known, atol=1e-5, rtol=0.0)
    away = hartley((found.predicted - found.completed).flatten(0, 1)).view(5, 7, 8, 8)
    mask = data.mask[:, None].expand_as(away)
    assert float(away[mask == 1.0].std()) == pytest.approx(0.1, rel=0.15)
    assert float(away[mask == 0.0].std()) == pytest.approx(0.3, rel=0.15)


def test_families_that_are_right_cover_as_often_as_they_say():
    """The truth's coefficients are N(0, 1): families drawn from the same law where nothing was measured are calibrated."""
    data = made(200)
    decoded = torch.zeros(200, 200, 8, 8)
    found = judge(families_of(decoded, data, model_noise=1.0, generator=torch.Generator().manual_seed(3)), data)
    for level, share in found.coverage.items():
        assert share == pytest.approx(level, abs=0.025)
    assert found.decoded_coverage[0.9] == 0.0
    assert found.width == pytest.approx(3.29, rel=0.03)  # between the 5 % quantiles of N(0, 1)
    assert found.error_missing == found.error_zero == pytest.approx(1.0, rel=0.03)
    assert found.spread_missing == 0.0
    assert found.residual == pytest.approx((1.0 + 0.01) ** 0.5, rel=0.02)
    narrow = judge(families_of(decoded, data, model_noise=0.5, generator=torch.Generator().manual_seed(3)), data)
    assert narrow.coverage[0.9] == pytest.approx(0.59, abs=0.03)  # P(|N| < 1.645 / 2)
    assert narrow.pixel_coverage[0.9] < 0.75


def test_spread_is_told_apart_by_band():
    data = made(20)
    moved = hartley(
        (1.0 - data.mask)[:, None].repeat(1, 200, 1, 1).flatten(0, 1)
        * torch.randn(4_000, 8, 8, generator=torch.Generator().manual_seed(4))
    ).view(20, 200, 8, 8)
    found = judge(families_of(moved, data, model_noise=0.1, generator=torch.Generator().manual_seed(3)), data)
    assert found.spread_missing == pytest.approx(1.0, rel=0.03)
    assert found.spread_measured < 1e-5
