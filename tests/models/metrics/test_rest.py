"""Reconstruction, features and intervals."""

import sys

import pytest
import torch

from isotherm.models.data import load_data
from isotherm.models.metrics import bootstrap_interval, class_features, principal_error, reconstruction_error


def test_reconstruction_error_by_hand():
    x = torch.zeros(2, 2, 2)
    assert reconstruction_error(x, x) == 0.0
    assert reconstruction_error(x, torch.stack([torch.full((2, 2), 1.0), torch.full((2, 2), 2.0)])) == (4 + 16) / 2


def test_reconstructions_must_be_paired():
    with pytest.raises(ValueError, match="one for each observation, 3: got 2"):
        reconstruction_error(torch.zeros(3, 2), torch.zeros(2, 2))


def test_principal_error_is_what_the_other_axes_hold(generator):
    x = torch.randn(400, 3, generator=generator, dtype=torch.float64) * torch.tensor([3.0, 2.0, 0.5]).double()
    values = torch.linalg.eigvalsh(torch.cov(x.T, correction=0))
    assert principal_error(x, x, 2) == pytest.approx(float(values[0]), rel=1e-9)
    assert principal_error(x, x, 1) == pytest.approx(float(values[:2].sum()), rel=1e-9)
    assert principal_error(x, x, 3) == pytest.approx(0.0, abs=1e-12)
    assert principal_error(x, x, 9) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_class_features_are_the_hidden_layer_of_scikit_learn(generator):
    x = torch.randn(60, 2, generator=generator)
    labels = (x[:, 0] > 0).long()
    from sklearn.neural_network import MLPClassifier  # noqa: PLC0415 - slow to import

    network = MLPClassifier((5, 3), random_state=2, max_iter=500).fit(x.double().numpy(), labels.numpy())
    features = class_features(x, labels, test=x, test_labels=labels, widths=(5, 3), seed=2)
    hidden = torch.from_numpy(network._forward_pass_fast(x.double().numpy()))  # scores of the last layer, squashed
    last = features(x) @ torch.from_numpy(network.coefs_[-1]) + torch.from_numpy(network.intercepts_[-1])
    assert features(x).shape == (60, 3)
    assert torch.allclose(last.sigmoid(), hidden, atol=1e-12)
    assert features.accuracy == pytest.approx(network.score(x.double().numpy(), labels.numpy()))


def test_digits_features_are_those_of_the_protocol():
    data = load_data("digits")
    found = class_features(data.train, data.train_labels, test=data.test, test_labels=data.test_labels)
    assert found(data.test).shape == (599, 32)
    assert found.accuracy == pytest.approx(0.9816, abs=0.006)  # to the last digit where the same BLAS adds up


def test_features_need_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.neural_network", None)
    with pytest.raises(ImportError, match=r"isotherm\[train\]"):
        class_features(torch.rand(4, 2), [0, 1, 0, 1])


def test_interval_of_a_mean_is_as_wide_as_its_standard_error(generator):
    x = torch.randn(400, generator=generator, dtype=torch.float64)
    found = bootstrap_interval(x, generator=generator)
    assert found.value == pytest.approx(float(x.mean()))
    assert found.high - found.low == pytest.approx(2 * 1.96 * float(x.std()) / 20, rel=0.1)


def test_intervals_hold_the_truth_as_often_as_they_say(generator):
    def holds():
        found = bootstrap_interval(torch.randn(50, generator=generator), level=0.8, resamples=100, generator=generator)
        return found.low <= 0.0 <= found.high

    assert sum(holds() for _ in range(200)) / 200 == pytest.approx(0.8, abs=0.1)


def test_interval_of_another_statistic(generator):
    found = bootstrap_interval(range(101), statistic=lambda x: x.median(1).values, generator=generator)
    assert found.value == 50
    assert 25 < found.low < 50 < found.high < 75


def test_interval_of_one_measurement_has_no_width(generator):
    found = bootstrap_interval([3.0], generator=generator)
    assert (found.low, found.value, found.high) == (3.0, 3.0, 3.0)


@pytest.mark.parametrize(
    ("values", "settings", "said"),
    [
        ([], {}, "at least 1"),
        ([[1.0]], {}, "must have shape"),
        ([1.0, float("nan")], {}, "finite"),
        ([1.0], {"level": 1.0}, "`level` must lie"),
        ([1.0], {"resamples": 0}, "`resamples`"),
    ],
)
def test_bad_measurements(values, settings, said, generator):
    with pytest.raises(ValueError, match=said):
        bootstrap_interval(values, generator=generator, **settings)
