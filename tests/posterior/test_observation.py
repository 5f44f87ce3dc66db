"""Observation operators: adjoints, costs by products against their definition, masks, posteriors under them."""

from __future__ import annotations

import pytest
import torch

from isotherm.posterior import Direct, FourierMask, GaussianReference, LinearForward, Posterior, wedge_mask
from isotherm.posterior.observation import hartley, mirrored
from isotherm.testing import LinearGaussianPosterior

SHAPES = [(9,), (8, 8), (7, 6), (4, 5, 6)]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


def some_masks(count: int, shape: tuple[int, ...]) -> torch.Tensor:
    """Zeros, ones and what lies between, the same at k and -k."""
    mask = (random(count, *shape, seed=5) > 0).double() * random(count, *shape, seed=6).abs()
    return 0.5 * (mask + mirrored(mask))


def packed(shape: tuple[int, ...], count: int = 3) -> torch.Tensor:
    return FourierMask().pack((random(count, *shape, seed=1), some_masks(count, shape)))


@pytest.mark.parametrize("shape", SHAPES)
def test_adjoints_are_adjoint(shape):
    u, v = random(3, *shape, seed=2), random(3, *shape, seed=3)
    for operator, x in ((FourierMask(), packed(shape)), (Direct(), random(3, *shape))):
        left = (operator.apply(x, u) * v).flatten(1).sum(1)
        right = (u * operator.adjoint(x, v)).flatten(1).sum(1)
        torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_masked_images_are_what_the_fourier_transform_says(shape):
    x, u = packed(shape), random(3, *shape, seed=2)
    every = tuple(range(1, u.ndim))
    known = torch.fft.ifftn(x[:, 1] * torch.fft.fftn(u, dim=every), dim=every)
    torch.testing.assert_close(FourierMask().apply(x, u), known.real)
    assert known.imag.abs().max() < 1e-12
    torch.testing.assert_close(hartley(hartley(u)), u)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_costs_of_all_pairs_are_those_of_single_ones(shape, dtype):
    wholes = random(5, *shape, seed=4) + 30.0  # a common mean that is large
    for operator, x in ((FourierMask(), packed(shape)), (Direct(), random(3, *shape))):
        y = x.clone()
        if isinstance(operator, FourierMask):
            y[:, 0] = operator.apply(x, wholes[:3]) + 0.1 * x[:, 0]  # near: small costs of large numbers
        known = torch.stack([operator.misfit(y, one.expand(3, *shape)) for one in wholes], dim=1)
        found = operator.costs(y.to(dtype), wholes.to(dtype))
        tolerance = 1e-10 if dtype is torch.float64 else 2e-4
        torch.testing.assert_close(found.double(), known, rtol=tolerance, atol=tolerance * float(known.max()))


def test_costs_have_derivatives():
    x, wholes = packed((4, 4)), random(2, 4, 4, seed=4).requires_grad_()
    assert torch.autograd.gradcheck(lambda u: FourierMask().costs(x, u), wholes)


def test_what_is_not_measured_does_not_count():
    u, mask = random(4, 8, 8), wedge_mask(8, torch.linspace(0.0, 150.0, 4).double(), opening=90.0)
    x = FourierMask().pack((torch.zeros_like(u), mask))
    x = FourierMask().pack((FourierMask().apply(x, u), mask))
    unseen = hartley((1.0 - mask) * hartley(random(4, 8, 8, seed=1)))
    assert float(FourierMask().misfit(x, u + unseen).max()) < 1e-25
    assert float(FourierMask().misfit(x, 1.1 * u).min()) > 1e-3


@pytest.mark.parametrize("size", [8, 9])
def test_wedges_leave_out_their_share_and_are_symmetric(size):
    angles = torch.arange(0.0, 180.0, 7.0)
    mask = wedge_mask(size, angles, opening=90.0)
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(mask, mirrored(mask))
    assert abs(float(mask.mean()) - 0.5) < 0.08
    assert bool((mask[:, 0, 0] == 1.0).all())
    assert bool((wedge_mask(9, angles, opening=0.0) == 1.0).all())
    along = wedge_mask(9, torch.tensor([0.0]), opening=60.0)[0]
    assert along[0, 1:].sum() == 0.0  # frequencies along the second axis are at angle zero
    assert along[1:, 0].sum() == 8.0


def test_masks_that_no_real_image_has_are_refused():
    mask = torch.zeros(1, 8, 8)
    mask[0, 1, 2] = 1.0
    with pytest.raises(ValueError, match="same at k and -k"):
        FourierMask().pack((torch.zeros(1, 8, 8), mask))
    with pytest.raises(ValueError, match=r"must be \(y, mask\)"):
        FourierMask().pack((torch.zeros(1, 8, 8), torch.zeros(1, 8)))


def test_posteriors_of_masked_images_have_their_closed_form():
    forward, mask = LinearForward(random(16, 2)), some_masks(1, (4, 4))
    operator = FourierMask()
    x = operator.pack((random(1, 4, 4, seed=1), mask))
    rows = operator.apply(mask.expand(2, 2, 4, 4).transpose(0, 1), forward.matrix.T.reshape(2, 4, 4)).reshape(2, 16).T
    known = LinearGaussianPosterior(matrix=rows, lam=1.3, gamma=0.9)
    posterior = Posterior(
        lambda z: forward(z).reshape(-1, 4, 4),
        GaussianReference(torch.zeros(2).double()),
        lam=1.3,
        gamma=0.9,
        observation=operator,
    )
    y = x[:, 0].flatten(1)
    found = posterior.reweight(x, 400_000, generator=seeded())
    torch.testing.assert_close(found.mean, known.mean(y), atol=0.01, rtol=0.0)
    torch.testing.assert_close(found.covariance[0], known.covariance, atol=0.01, rtol=0.0)
    torch.testing.assert_close(found.free_energy, known.free_energy(y), atol=0.02, rtol=0.0)
    around = Posterior(
        posterior.forward,
        GaussianReference(lambda x: 0.1 * x.flatten(1)[:, :2]),
        lam=1.3,
        gamma=0.9,
        observation=operator,
    )
    found = around.reweight(x, 50, generator=seeded(), least_effective=0.0)
    costs = 1.3 * operator.costs(x, posterior.forward(found.z[0]))[0]
    torch.testing.assert_close(found.weights[0], (-costs / 0.9).softmax(0))
