"""Call by call against the released package, on random problems; skipped where it is not installed."""

import pytest
import torch
from torch.autograd import grad

from isotherm.compat.geomloss import SamplesLoss

geomloss = pytest.importorskip("geomloss")

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
SLOW = {"scaling": 0.99}  # its schedule, fine enough to compare with


@pytest.fixture(autouse=True)
def _grad_stays_enabled():
    """The original switches autograd on; leave it as it was."""
    with torch.set_grad_enabled(torch.is_grad_enabled()):
        yield


def clouds(*batch: int, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(*batch, 40, 3, generator=generator, dtype=torch.float64)
    y = torch.rand(*batch, 30, 3, generator=generator, dtype=torch.float64) + 0.2
    a, b = (torch.rand(t.shape[:-1], generator=generator, dtype=torch.float64) + 0.1 for t in (x, y))
    out = a / a.sum(-1, keepdim=True), x, b / b.sum(-1, keepdim=True), y
    return tuple(t.requires_grad_() for t in out)


def centred(t):
    return t - t.mean(-1, keepdim=True)


@pytest.mark.parametrize("batch", [(), (2,)])
@pytest.mark.parametrize("debias", [True, False])
@pytest.mark.parametrize("reach", [None, 0.5])
@pytest.mark.parametrize("p", [1, 2])
def test_sinkhorn_agrees(p, reach, debias, batch):
    problem = clouds(*batch)
    settings = {"p": p, "blur": 0.3, "reach": reach, "debias": debias}
    ours = SamplesLoss(**settings, tolerance=1e-9)(*problem)
    theirs = geomloss.SamplesLoss(**settings, **SLOW)(*problem)
    assert ours.shape == theirs.shape
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=0.0)
    slopes = [grad(value.sum(), problem[1::2]) for value in (ours, theirs)]
    epsilon, rho = 0.3**p, None if reach is None else reach**p
    share = 1.0 if rho is None else (rho + 0.5 * epsilon) / (rho + epsilon)  # what the original leaves out
    for one, two in zip(*slopes, strict=True):
        assert (share * one - two).norm() < 0.02 * two.norm()


@pytest.mark.parametrize("debias", [True, False])
def test_potentials_agree_up_to_their_constant(debias):
    problem = clouds()
    settings = {"blur": 0.3, "debias": debias, "potentials": True}
    ours = SamplesLoss(**settings, tolerance=1e-9)(*problem)
    theirs = geomloss.SamplesLoss(**settings, **SLOW)(*problem)
    for one, two in zip(ours, theirs, strict=True):
        torch.testing.assert_close(centred(one), centred(two.reshape(-1)), rtol=0.0, atol=3e-3)


@pytest.mark.parametrize("loss", ["gaussian", "laplacian", "energy"])
@pytest.mark.parametrize("batch", [(), (2,)])
def test_kernel_losses_agree(loss, batch):
    problem = clouds(*batch)
    ours, theirs = (module.SamplesLoss(loss, blur=0.4)(*problem) for module in (_Ours, geomloss))
    # The original's distances are shifted by 1e-8 under the root, and with them its values by 1e-4 of their diameter.
    tolerance = {"rtol": 1e-10, "atol": 0.0} if loss == "gaussian" else {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(ours, theirs, **tolerance)
    slopes = [grad(value.sum(), problem[1::2]) for value in (ours, theirs)]
    for one, two in zip(*slopes, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-8)
    if not batch:
        for one, two in zip(
            *(module.SamplesLoss(loss, blur=0.4, potentials=True)(*problem) for module in (_Ours, geomloss)),
            strict=True,
        ):
            torch.testing.assert_close(one, two.reshape(-1), rtol=1e-4, atol=1e-5)


class _Ours:
    SamplesLoss = SamplesLoss


def test_custom_cost_agrees():
    problem = clouds(2)

    def manhattan(x, y):
        return (x[:, :, None] - y[:, None]).abs().sum(-1)

    ours = SamplesLoss(blur=0.4, cost=manhattan, tolerance=1e-9)(*problem)
    theirs = geomloss.SamplesLoss(blur=0.4, cost=manhattan, backend="tensorized", **SLOW)(*problem)
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=0.0)
