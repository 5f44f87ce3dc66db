"""Call by call against the released package, on random problems; skipped where it is not installed."""

import pytest
import torch

from isotherm.compat.torchcfm import OTPlanSampler, wasserstein

theirs = pytest.importorskip("torchcfm.optimal_transport")

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def batches(n, m, *shape):
    generator = torch.Generator().manual_seed(n)
    return tuple(torch.randn(k, *shape, generator=generator, dtype=torch.float64) for k in (n, m))


@pytest.mark.parametrize("normalize_cost", [False, True])
@pytest.mark.parametrize("sizes", [(20, 20, 2), (20, 30, 2, 2)])
@pytest.mark.parametrize("method", ["exact", "sinkhorn", "unbalanced", "partial"])
def test_maps_agree(method, sizes, normalize_cost):
    x0, x1 = batches(*sizes)
    settings = {"reg": 0.2 if normalize_cost else 2.0, "reg_m": 0.5, "normalize_cost": normalize_cost}
    ours = OTPlanSampler(method, **settings, tolerance=1e-9).get_map(x0, x1)
    wanted = theirs.OTPlanSampler(method, **settings).get_map(x0, x1)
    # "partial" stops after a thousand steps in the original.
    torch.testing.assert_close(ours, torch.from_numpy(wanted), rtol=0.0, atol=1e-5 if method == "partial" else 1e-7)


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("method", [None, "exact", "sinkhorn"])
def test_distances_agree(method, power):
    x0, x1 = batches(20, 25, 3)
    found = wasserstein(x0, x1, method, reg=0.5, power=power)
    assert found == pytest.approx(theirs.wasserstein(x0, x1, method, reg=0.5, power=power), rel=1e-6)


def test_trajectories_agree_on_an_exact_path():
    start = torch.randn(10, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    X = torch.stack([start, start[torch.arange(9, -1, -1)] + 0.01], dim=1)
    wanted = theirs.OTPlanSampler("exact").sample_trajectory(X)
    torch.testing.assert_close(OTPlanSampler("exact").sample_trajectory(X), torch.from_numpy(wanted))
