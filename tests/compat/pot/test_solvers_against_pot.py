"""`solve` and its kin, and domain adaptation, call by call against the released package on random problems."""

import itertools

import numpy as np
import pytest
import torch
from torch.autograd import grad

from isotherm.compat import pot
from isotherm.compat.pot.da import SinkhornTransport

ot = pytest.importorskip("ot")

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of options that it passes to SciPy
]
GENERATOR = np.random.default_rng(3)
X, Y = GENERATOR.normal(size=(15, 3)), GENERATOR.normal(size=(12, 3)) + 0.5
A, B = GENERATOR.dirichlet(np.ones(15)), GENERATOR.dirichlet(np.ones(12))
M = ot.dist(X, Y)


def centred(v):
    return v - v.mean(-1, keepdims=True)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("reg", [None, 0.5, 5.0])
@pytest.mark.parametrize("reg_type", ["KL", "entropy"])
def test_balanced_solutions_agree(reg, reg_type, seed):
    costs = np.random.default_rng(seed).random((9, 11))
    ours, theirs = (module.solve(costs, reg=reg, reg_type=reg_type) for module in (pot, ot))
    for name in ("value", "value_linear", "plan", "marginal_a", "marginal_b"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), atol=1e-7)
    if reg:
        for one, two in zip(ours.potentials, theirs.potentials, strict=True):
            np.testing.assert_allclose(centred(one), centred(two), atol=1e-6)


@pytest.mark.parametrize("unbalanced", [0.7, (0.7, 2.0), (np.inf, 1.0)])
def test_unbalanced_plans_agree(unbalanced):
    ours, theirs = (module.solve(M, A, B, reg=2.0, unbalanced=unbalanced) for module in (pot, ot))
    np.testing.assert_allclose(ours.plan, theirs.plan, atol=1e-7)
    assert ours.value_linear == pytest.approx(theirs.value_linear, rel=1e-6)
    if np.isfinite(unbalanced).all():  # else the potentials have a free constant
        for one, two in zip(ours.potentials, theirs.potentials, strict=True):
            np.testing.assert_allclose(one, two, atol=1e-6)


@pytest.mark.parametrize("unbalanced", [0.7, (0.7, 2.0)])
def test_unbalanced_entropy_form_is_below_what_a_general_optimiser_finds(unbalanced):
    settings = {"reg": 2.0, "reg_type": "entropy", "unbalanced": unbalanced}
    ours, theirs = (module.solve(M, A, B, **settings) for module in (pot, ot))
    assert ours.value <= theirs.value + 1e-9
    assert ours.value == pytest.approx(theirs.value, rel=1e-3)


@pytest.mark.parametrize(("rule", "reg_type"), [("autodiff", "KL"), ("autodiff", "entropy"), ("envelope", "entropy")])
def test_gradients_agree(rule, reg_type):
    slopes = []
    for module in (pot, ot):
        leaves = [torch.tensor(t, requires_grad=True) for t in (M, A, B)]
        slopes.append(grad(module.solve(*leaves, reg=5.0, reg_type=reg_type, grad=rule).value, leaves))
    for one, two in zip(*slopes, strict=True):
        torch.testing.assert_close(one - one.mean(), two - two.mean(), rtol=1e-6, atol=1e-7)


def test_envelope_gradient_by_weights_is_that_of_the_kl_form():
    """The original gives there that of the entropy form, which is another one where weights are not equal."""
    slopes = []
    for module, rule in ((pot, "envelope"), (ot, "autodiff"), (ot, "envelope")):
        a = torch.tensor(A, requires_grad=True)
        slopes.append(grad(module.solve(torch.tensor(M), a, torch.tensor(B), reg=5.0, grad=rule).value, a)[0])
    ours, right, wrong = (slope - slope.mean() for slope in slopes)
    torch.testing.assert_close(ours, right, rtol=1e-6, atol=1e-7)
    assert (wrong - right).norm() > right.norm()


@pytest.mark.parametrize("metric", ["sqeuclidean", "euclidean", "cityblock", "cosine"])
@pytest.mark.parametrize("settings", [{}, {"reg": 2.0}, {"lazy": True}, {"debias": True, "reg": 2.0}])
def test_samples_agree(metric, settings):
    if metric == "cosine" and settings.get("lazy"):
        pytest.skip("the original knows no lazy cosine")
    ours, theirs = (module.solve_sample(X, Y, A, B, metric, **settings) for module in (pot, ot))
    for name in ("value", "value_linear", "plan")[: 3 if settings.get("reg") else 2]:  # exact plans need not be unique
        if getattr(theirs, name) is not None:
            np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), atol=1e-6)


@pytest.mark.parametrize("metric", ["sqeuclidean", "euclidean"])
@pytest.mark.parametrize("method", ["1d", "sliced", "max_sliced"])
def test_lines_agree(method, metric):
    settings = {"method": method, "metric": metric, "random_state": 0, "n_projections": 9}
    ours, theirs = (module.solve_sample(X, Y, A, B, **settings) for module in (pot, ot))
    np.testing.assert_allclose(ours.value, theirs.value, rtol=1e-7)


@pytest.mark.parametrize("reg", [None, 2.0])
def test_halves_agree(reg):
    ours, theirs = (module.solve_sample(X, Y, A, B, reg=reg, debias="split") for module in (pot, ot))
    assert ours.value == pytest.approx(theirs.value, abs=1e-7)


def test_lazy_samples_agree():
    ours, theirs = (module.solve_sample(X, Y, A, B, reg=2.0, lazy=True) for module in (pot, ot))
    np.testing.assert_allclose(ours.lazy_plan[:], theirs.lazy_plan[:], atol=1e-7)
    np.testing.assert_allclose(ours.lazy_plan[1:3, 2], theirs.lazy_plan[1:3, 2:3], atol=1e-7)


@pytest.mark.parametrize("reg_type", ["kl", "entropy"])
def test_batches_agree(reg_type):
    costs = np.stack([M, 2 * M[::-1], M + 1])
    weights = np.stack([A, A[::-1], A]), np.stack([B, B, B[::-1]])
    ours = pot.solve_batch(costs, 5.0, *weights, reg_type=reg_type)
    theirs = ot.solve_batch(costs, 5.0, *weights, reg_type=reg_type, tol=1e-10)
    for name in ("value", "value_linear", "plan"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), atol=1e-7)
    for one, two in zip(ours.potentials, theirs.potentials, strict=True):
        np.testing.assert_allclose(centred(one), centred(two), atol=1e-6)


@pytest.mark.parametrize("settings", [{}, {"norm": "max"}, {"norm": "loglog"}, {"norm": "median"}])
@pytest.mark.parametrize("kind", ["continuous", "ferradans"])
def test_domain_adaptation_agrees(kind, settings):
    settings = {"reg_e": 1.0, "out_of_sample_map": kind, **settings}
    ours, theirs = (
        adapt(**settings).fit(Xs=X.copy(), Xt=Y.copy()) for adapt in (SinkhornTransport, ot.da.SinkhornTransport)
    )
    np.testing.assert_allclose(ours.cost_, theirs.cost_)
    np.testing.assert_allclose(ours.coupling_, theirs.coupling_, atol=1e-8)
    labels, other = np.arange(15) % 3, np.arange(12) % 2
    for name, argument in [
        ("transform", X),
        ("transform", X[:4] + 0.1),
        ("transform_labels", labels),
        ("inverse_transform_labels", other),
    ]:
        np.testing.assert_allclose(getattr(ours, name)(argument), getattr(theirs, name)(argument), atol=1e-6)
    for points in (Y, Y[:4] - 0.1):
        np.testing.assert_allclose(ours.inverse_transform(Xt=points), theirs.inverse_transform(Xt=points), atol=1e-6)


@pytest.mark.parametrize("limit_max", [np.inf, 2.0])
def test_semi_supervised_couplings_agree(limit_max):
    labels, some = np.arange(15) % 2, np.where(np.arange(12) % 3, np.arange(12) % 2, -1)
    ours, theirs = (
        adapt(limit_max=limit_max, tol=1e-10).fit(Xs=X, ys=labels, Xt=Y, yt=some)
        for adapt in (SinkhornTransport, ot.da.SinkhornTransport)
    )
    np.testing.assert_allclose(np.nan_to_num(ours.cost_), theirs.cost_)  # which puts the largest float for infinity
    np.testing.assert_allclose(ours.coupling_, theirs.coupling_, atol=1e-7)


def test_every_keyword_is_taken():
    for ours, theirs in [(pot.solve, ot.solve), (pot.solve_sample, ot.solve_sample), (pot.solve_batch, ot.solve_batch)]:
        names = [code.co_varnames[: code.co_argcount] for code in (ours.__code__, theirs.__code__)]
        assert list(itertools.takewhile(lambda pair: pair[0] == pair[1], zip(*names, strict=True))) == list(
            zip(*names, strict=True)
        )
