"""Evaluations: good generators reach the floor, bad ones do not, copies are found out."""

import json
import math

import pytest
import torch

from isotherm.models import VAE, SinkhornGenerator, evaluate
from isotherm.models.data import DataSet, load_data
from isotherm.models.evaluation import METRICS, measure_floors
from isotherm.models.metrics import posterior_form


@pytest.fixture(scope="module")
def data():
    return load_data("2d:gaussian", count=400)


def law(count, generator):
    return torch.randn(count, 2, generator=generator)


def test_the_law_itself_reaches_the_floor(data):
    found = evaluate(law, data)
    for name in ("w2", "frechet", "mmd"):
        assert found[name].value <= found[name].floor + 0.15
    for name in ("precision", "recall", "coverage"):
        assert found[name].value >= found[name].floor - 0.1
    assert found["memorisation"].value == pytest.approx(1.0, abs=0.2)
    assert found.posterior is None
    assert "reconstruction" not in {each.name for each in found.measured}


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        (lambda n, g: law(n, g) + 3.0, ("w2", "frechet", "mmd")),
        (lambda n, g: 0.2 * law(n, g), ("w2", "frechet", "recall", "coverage")),
        (lambda n, g: 4.0 * law(n, g), ("w2", "frechet", "precision", "coverage", "memorisation")),
    ],
    ids=["shifted", "narrow", "wide"],
)
def test_bad_generators_are_far_from_the_floor(data, bad, named):
    found = evaluate(bad, data, draws=2)
    for name in named:
        assert abs(found[name].value - found[name].floor) > 0.2, name


def test_copies_look_perfect_but_for_their_distance_to_the_training_data(data):
    found = evaluate(lambda n, g: data.train[torch.randperm(len(data.train), generator=g)[:n]], data, draws=2)
    assert found["w2"].value == pytest.approx(found["w2"].floor, abs=0.1)
    assert found["memorisation"].value == 0.0
    assert found["copies"].value == 1.0
    assert found["memorisation"].floor == 1.0


def test_same_seed_same_numbers(data):
    def numbers(seed):
        return evaluate(law, data, draws=2, seed=seed).to_json()

    assert numbers(0) == numbers(0)
    assert numbers(0) != numbers(1)


def test_models_with_codes_are_measured_there_too(data):
    found = evaluate(VAE((2,), 1, widths=(8,)), data, draws=3)
    assert [each.name for each in found.measured] == [name for name in METRICS if name != "frechet_features"]
    assert found["reconstruction"].floor_is == "as many principal components"
    assert found["reconstruction"].interval.low < found["reconstruction"].value < found["reconstruction"].interval.high
    assert len(found["codes"].draws) == 3
    assert found.posterior is not None
    assert 0.1 < found.posterior.spread < 10
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["posterior"]["correlation"] is None  # one dimension


def test_perfect_codes_reach_the_floors():
    data = load_data("2d:gaussian", count=400)

    class Identity(torch.nn.Module):
        def forward(self, x):
            return torch.cat([x, torch.full_like(x, -60.0)], dim=1)

    model = VAE((2,), 2, encoder=Identity(), decoder=torch.nn.Sequential(torch.nn.Linear(2, 2)))
    with torch.no_grad():
        model.decoder[0].weight.copy_(torch.eye(2))
        model.decoder[0].bias.zero_()
    found = evaluate(model, data)
    assert found["reconstruction"].value == pytest.approx(0.0, abs=1e-12)
    assert found["codes"].value == pytest.approx(found["codes"].floor, abs=0.25)
    assert found.posterior is not None
    assert found.posterior.name == "a point"


def test_generators_without_codes_have_none_to_measure(data):
    found = evaluate(SinkhornGenerator((2,), 2, widths=(8,)), data, draws=1)
    assert "codes" not in {each.name for each in found.measured}


def test_labels_bring_features():
    data = load_data("2d:moons", count=300)
    found = evaluate(lambda n, g: data.test[torch.randperm(len(data.test), generator=g)[:n]], data, draws=1)
    assert found["frechet_features"].value == pytest.approx(0.0, abs=1e-9)
    assert found["frechet_features"].floor > 0.01
    assert found.accuracy > 0.8


def test_floors_may_be_given(data):
    floors = measure_floors(data, draws=2, seed=3)
    assert (
        evaluate(law, data, draws=2, seed=3).to_json() == evaluate(law, data, draws=2, seed=3, floors=floors).to_json()
    )


def test_large_test_sets_are_thinned_out(data):
    assert evaluate(law, data, draws=1, most=30).generated == 30
    few = DataSet(name="few", description="", train=data.train[:20], test=data.test)
    assert evaluate(law, few, draws=1).generated == 20


def test_generated_observations_must_be_like_the_data(data):
    with pytest.raises(ValueError, match=r"shape \(80, 2\): got \(80, 3\)"):
        evaluate(lambda n, g: torch.zeros(n, 3), data)
    with pytest.raises(ValueError, match="must be finite"):
        evaluate(lambda n, g: torch.full((n, 2), math.nan), data)


def test_posterior_form_tells_shapes_apart(generator):
    gaussian = torch.randn(30, 4000, 3, generator=generator)
    turned = gaussian @ torch.tensor([[1.0, 0.9, 0.0], [0.0, 0.4359, 0.0], [0.0, 0.0, 1.0]])
    lumps = torch.sign(gaussian) + 0.05 * gaussian
    form = posterior_form(0.5 * gaussian)
    assert form.spread == pytest.approx(0.5, rel=0.02)
    assert form.correlation < 0.03
    assert form.excess_kurtosis == pytest.approx(0.0, abs=0.1)
    assert posterior_form(turned).correlation == pytest.approx(0.3, abs=0.02)  # 0.9 for one pair of three
    assert posterior_form(lumps[:, :, :1]).excess_kurtosis == pytest.approx(-2.0, abs=0.1)
    assert posterior_form(torch.ones(3, 5, 2)).name == "a point"
    with pytest.raises(ValueError, match="two draws or more"):
        posterior_form(torch.ones(3, 1, 2))
