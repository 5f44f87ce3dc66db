"""POT's domain adaptation: closed forms, maps in and out of the samples, labels, semi-supervision."""

import numpy as np
import pytest
import torch

import isotherm
from isotherm.compat.pot import solve
from isotherm.compat.pot.da import SinkhornTransport

GENERATOR = np.random.default_rng(2)
XS, XT = GENERATOR.normal(size=(12, 2)), GENERATOR.normal(size=(10, 2)) + 3.0
YS, YT = np.arange(12) % 2, np.arange(10) % 2


def squared(x, y):
    return ((x[:, None] - y) ** 2).sum(-1)


def test_fit_is_entropic_transport():
    fitted = SinkhornTransport(reg_e=0.7).fit(Xs=XS, Xt=XT)
    np.testing.assert_allclose(fitted.cost_, squared(XS, XT))
    np.testing.assert_allclose(fitted.coupling_, solve(squared(XS, XT), reg=0.7).plan, atol=1e-9)
    np.testing.assert_allclose(fitted.mu_s, 1 / 12)
    np.testing.assert_allclose(fitted.mu_t, 1 / 10)
    assert fitted.xs_ is XS
    assert fitted.xt_ is XT
    u, v = fitted.log_["log_u"], fitted.log_["log_v"]
    np.testing.assert_allclose(np.exp(u[:, None] + v - fitted.cost_ / 0.7), fitted.coupling_, rtol=1e-8)


@pytest.mark.parametrize("kind", ["continuous", "ferradans"])
def test_samples_of_the_fit_go_to_their_barycentres(kind):
    fitted = SinkhornTransport(reg_e=0.7, out_of_sample_map=kind).fit(Xs=XS, Xt=XT)
    plan = fitted.coupling_
    np.testing.assert_allclose(fitted.transform(XS), plan / plan.sum(1, keepdims=True) @ XT, atol=1e-7)
    np.testing.assert_allclose(fitted.inverse_transform(Xt=XT), (plan / plan.sum(0)).T @ XS, atol=1e-7)


def test_new_samples_by_the_entropic_map():
    fitted = SinkhornTransport(reg_e=0.7).fit(Xs=XS, Xt=XT)
    solution = isotherm.solve(XS, XT, epsilon=0.7, tolerance=1e-9)
    new = GENERATOR.normal(size=(7, 2))
    scores = (solution.g - squared(new, XT)) / 0.7 + np.log(1 / 10)
    laws = np.exp(scores - scores.max(1, keepdims=True))
    wanted = laws / laws.sum(1, keepdims=True) @ XT
    for size in (128, 3):
        np.testing.assert_allclose(fitted.transform(Xs=new, batch_size=size), wanted, atol=1e-7)


def test_new_samples_move_with_their_nearest_neighbour():
    fitted = SinkhornTransport(reg_e=0.7, out_of_sample_map="ferradans").fit(Xs=XS, Xt=XT)
    np.testing.assert_allclose(fitted.transform(Xs=XS[3:5] + 1e-6), fitted.transform(Xs=XS)[3:5] + 1e-6, atol=1e-12)


def test_norms():
    costs = squared(XS, XT)
    units = {
        "max": costs / costs.max(),
        "median": costs / np.median(costs),
        "log": np.log1p(costs),
        "loglog": np.log1p(np.log1p(costs)),
    }
    for norm, wanted in units.items():
        fitted = SinkhornTransport(reg_e=0.3, norm=norm).fit(Xs=XS, Xt=XT)
        np.testing.assert_allclose(fitted.cost_, wanted)
        plan = fitted.coupling_
        np.testing.assert_allclose(fitted.transform(Xs=XS), plan / plan.sum(1, keepdims=True) @ XT, atol=1e-6)


def test_labels_keep_classes_apart():
    plain, apart = SinkhornTransport().fit(Xs=XS, Xt=XT), SinkhornTransport().fit(Xs=XS, ys=YS, Xt=XT, yt=YT)
    other = YS[:, None] != YT
    assert np.isinf(apart.cost_[other]).all()
    assert (apart.coupling_[other] == 0).all()
    np.testing.assert_allclose(apart.cost_[~other], plain.cost_[~other])
    np.testing.assert_allclose(apart.coupling_.sum(0), 0.1, atol=1e-7)
    np.testing.assert_allclose(apart.transform_labels(YS), np.eye(2)[YT], atol=1e-12)
    np.testing.assert_allclose(apart.inverse_transform_labels(YT), np.eye(2)[YS], atol=1e-12)


def test_a_finite_limit_is_a_cost_and_unknown_labels_are_free():
    unknown = np.where(np.arange(10) < 5, YT, -1)
    machine = SinkhornTransport(limit_max=10.0)
    for _ in range(2):  # a fit leaves the settings as they are
        fitted = machine.fit(Xs=XS, ys=YS, Xt=XT, yt=unknown)
        costs = squared(XS, XT)
        apart = (YS[:, None] != unknown) & (unknown != -1)
        np.testing.assert_allclose(fitted.cost_, np.where(apart, 10 * costs.max(), costs))


def test_labels_are_shared_by_mass():
    fitted = SinkhornTransport(reg_e=0.7).fit(Xs=XS, Xt=XT)
    labels = GENERATOR.choice([3, 5, 9], size=12)
    wanted = np.stack([fitted.coupling_[labels == k].sum(0) for k in (3, 5, 9)], 1) / fitted.coupling_.sum(0)[:, None]
    np.testing.assert_allclose(fitted.transform_labels(labels), wanted)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tensors_give_tensors(dtype):
    xs, xt = torch.tensor(XS, dtype=dtype), torch.tensor(XT, dtype=dtype)
    fitted = SinkhornTransport().fit(Xs=xs, ys=torch.tensor(YS), Xt=xt, yt=torch.tensor(YT))
    parts = (fitted.coupling_, fitted.cost_, fitted.mu_s, fitted.transform(Xs=xs + 1), fitted.transform_labels(YS))
    assert all(isinstance(part, torch.Tensor) and part.dtype == dtype for part in parts)


def test_weights_may_be_estimated():
    weights = {12: np.arange(1.0, 13.0), 10: np.full(10, 7.8)}
    fitted = SinkhornTransport(distribution_estimation=lambda X: weights[len(X)]).fit(Xs=XS, Xt=XT)
    np.testing.assert_allclose(fitted.coupling_.sum(1), weights[12], rtol=1e-6)


def test_bad_arguments_are_refused():
    for settings in ({"out_of_sample_map": "unknown"}, {"norm": "mean"}, {"metric": "hamming"}, {"reg_e": 0.0}):
        with pytest.raises(ValueError, match=next(iter(settings))):
            SinkhornTransport(**settings)
    with pytest.raises(ValueError, match="`Xt` must hold samples"):
        SinkhornTransport().fit(Xs=XS)
    with pytest.raises(ValueError, match="`ys` must hold a label"):
        SinkhornTransport().fit(Xs=XS, Xt=XT).transform_labels()


def test_not_converging_is_said():
    with pytest.warns(isotherm.ConvergenceWarning):
        SinkhornTransport(reg_e=0.01, max_iter=2).fit(Xs=XS, Xt=XT)
