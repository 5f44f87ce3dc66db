"""The adversarial autoencoder: its best logit, and who moves what."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from isotherm.models import AAE


class Quadratic(nn.Module):
    """Logits z'Mz / 2 + h: the family that holds the ratio of centred Gaussians."""

    def __init__(self, curvature: Tensor, level: float) -> None:
        super().__init__()
        self.curvature, self.level = nn.Parameter(curvature), nn.Parameter(torch.tensor(level, dtype=curvature.dtype))

    def forward(self, z: Tensor) -> Tensor:
        return (0.5 * ((z @ self.curvature) * z).sum(1) + self.level)[:, None]


ROOT = torch.tensor([[0.8, 0.0], [0.3, 0.6]], dtype=torch.float64)
COVARIANCE = ROOT @ ROOT.T  # of the codes
BEST = torch.linalg.inv(COVARIANCE) - torch.eye(2, dtype=torch.float64)
LEVEL = 0.5 * float(torch.logdet(COVARIANCE))


def gaussian_codes(discriminator: nn.Module) -> AAE:
    encoder = nn.Linear(2, 2, bias=False).double().requires_grad_(False)
    encoder.weight.copy_(ROOT)
    return AAE((2,), 2, flatness=0.0, encoder=encoder, decoder=nn.Linear(2, 2).double(), discriminator=discriminator)


def test_discriminator_learns_the_log_ratio_of_gaussians():
    discriminator = Quadratic(torch.zeros(2, 2, dtype=torch.float64), 0.0)
    model = gaussian_codes(discriminator)
    random = torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(discriminator.parameters(), lr=0.05)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.02, total_iters=250)
    for _ in range(250):
        optimiser.zero_grad()
        model.step(torch.randn(1024, 2, generator=random, dtype=torch.float64))["loss"].backward()
        optimiser.step()
        schedule.step()
    found = discriminator.curvature.detach()
    torch.testing.assert_close(0.5 * (found + found.T), BEST, rtol=0.03, atol=0.03)
    assert discriminator.level.item() == pytest.approx(LEVEL, abs=0.03)
    prior = torch.distributions.MultivariateNormal(torch.zeros(2).double(), torch.eye(2).double())
    codes = torch.distributions.MultivariateNormal(torch.zeros(2).double(), COVARIANCE)
    z = torch.randn(50, 2, generator=random, dtype=torch.float64)
    ratio = prior.log_prob(z) - codes.log_prob(z)
    torch.testing.assert_close(model.log_ratio(z).detach(), ratio, rtol=0.05, atol=0.1)


def test_loss_at_the_best_logit_is_stationary_for_the_discriminator_alone():
    model = gaussian_codes(Quadratic(BEST.clone(), LEVEL))
    x = torch.randn(200000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    model.step(x)["loss"].backward()
    assert model.discriminator.curvature.grad.abs().max() < 0.005
    off = gaussian_codes(Quadratic(1.3 * BEST, LEVEL))
    off.step(x)["loss"].backward()
    assert off.discriminator.curvature.grad.abs().max() > 0.02


def test_each_network_is_moved_by_its_own_terms():
    model = AAE((3,), 2, widths=(6,), lam=1.3, weight=0.7, flatness=0.9, seed=2).double()
    x = torch.randn(9, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    streams = model.streams.state_dict()
    model.step(x)["loss"].backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters()}

    model.streams.load_state_dict(streams)
    draws = model.prior(9, model.streams["noise"])
    z = model.encoder(x)
    misfit = 0.65 * (x - model.decoder(z)).square().sum(1).mean()
    fools = misfit + 0.7 * softplus(-model.discriminator(z)).mean()
    tells = softplus(-model.discriminator(draws)).mean() + softplus(model.discriminator(z.detach())).mean()
    place = draws.clone().requires_grad_()
    slope = torch.autograd.grad(model.discriminator(place).sum(), place, create_graph=True)[0]
    tells = tells + 0.45 * slope.square().sum(1).mean()
    for part, loss in (("encoder", fools), ("decoder", misfit), ("discriminator", tells)):
        names = [name for name, _ in model.named_parameters() if name.startswith(part)]
        grads = torch.autograd.grad(loss, [model.get_parameter(name) for name in names], retain_graph=True)
        for name, grad in zip(names, grads, strict=True):
            torch.testing.assert_close(found[name], grad, rtol=1e-10, atol=1e-12)


def test_discriminator_goes_at_its_own_pace():
    slow, fast = AAE((3,), 2, widths=(6,), pace=4.0).parameter_groups(0.01)
    assert (slow["lr"], fast["lr"]) == (0.01, 0.04)


def test_discrimination_of_nothing_is_two_logarithms_of_two():
    silent = Quadratic(torch.zeros(2, 2, dtype=torch.float64), 0.0)
    found = gaussian_codes(silent).step(torch.zeros(4, 2, dtype=torch.float64))
    assert float(found["discrimination"]) == pytest.approx(2.0 * math.log(2.0))
    assert float(found["fooling"]) == pytest.approx(math.log(2.0))


def test_loss_is_the_same_where_no_derivative_is_asked_for():
    x = torch.randn(9, 3, generator=torch.Generator().manual_seed(0))
    one, two = (AAE((3,), 2, widths=(6,)) for _ in range(2))
    with torch.no_grad():
        found = one.step(x)["loss"]
    torch.testing.assert_close(found, two.step(x)["loss"].detach())


def test_flatness_of_nothing_is_allowed_and_less_is_not():
    assert AAE((3,), 2, flatness=0).flatness == 0
    with pytest.raises(ValueError, match="`flatness` must be positive"):
        AAE((3,), 2, flatness=-1.0)
