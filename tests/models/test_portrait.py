"""Portraits: every side that a model has, and none that it has not."""

import pytest
import torch

from isotherm.models import EVIA, VAE, SinkhornGenerator, load_data
from isotherm.models.portrait import TIMES, portray

DATA = load_data("2d:gaussian", count=300)


def test_portrait_shows_what_a_model_has():
    seen = portray(VAE((2,), 1, widths=(8,)), DATA)
    assert seen.samples.shape == (500, 2)
    assert seen.pairs is not None
    assert seen.pairs[0].shape == seen.pairs[1].shape == (12, 2)
    assert seen.codes is not None
    assert seen.codes.shape == (60, 1)
    assert seen.families is not None
    assert seen.families.decoded.shape == (4, 7, 2)
    assert seen.sweep == ()
    bare = portray(SinkhornGenerator((2,), 2, widths=(8,)), DATA)
    assert (bare.pairs, bare.codes, bare.families, bare.sweep) == (None, None, None, ())


def test_portrait_is_the_same_for_the_same_seed():
    model = VAE((2,), 1, widths=(8,))
    first, again, other = (portray(model, DATA, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.samples, again.samples)
    assert torch.equal(first.families.decoded, again.families.decoded)
    assert not torch.equal(first.samples, other.samples)


def test_sweep_spreads_with_temperature():
    model = EVIA((2,), 2, widths=(8,), candidates=64, points=512, gamma=0.3).calibrate(DATA.train)
    seen = portray(model, DATA)
    assert [heat.gamma for heat in seen.sweep] == pytest.approx([times * 0.3 for times in TIMES])
    spreads = [heat.spread for heat in seen.sweep]
    assert spreads[-1] > spreads[0]
    assert seen.sweep[-1].effective_size > seen.sweep[0].effective_size


def test_coupling_entropy_falls_with_temperature_and_tells_collapse():
    seen = portray(SinkhornGenerator((2,), 2, widths=(8,), decoder=torch.nn.Linear(2, 2)), DATA)
    shares, values = zip(*sorted(seen.entropies), strict=True)
    assert list(values) == sorted(values)
    assert values[0] < 0.5 < values[-1]
    constant = torch.nn.Linear(2, 2)
    torch.nn.init.zeros_(constant.weight)
    collapsed = portray(SinkhornGenerator((2,), 2, widths=(8,), decoder=constant), DATA)
    assert min(value for _, value in collapsed.entropies) == pytest.approx(1.0, abs=1e-6)
    assert shares[0] == pytest.approx(0.003)
