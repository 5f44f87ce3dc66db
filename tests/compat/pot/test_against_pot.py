"""Call by call against the installed POT, on random problems where POT is right; and where it is not, that we are."""

import warnings

import numpy as np
import pytest
import torch

import isotherm.compat.pot as ours

from .problems import LIBRARIES, arrays, as_numpy, random_costs

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    theirs = pytest.importorskip("ot")

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
METHODS = ["sinkhorn", "sinkhorn_log", "greenkhorn", "sinkhorn_stabilized", "sinkhorn_epsilon_scaling"]
EXTRA = {"solution", "status", "err", "niter"}  # entries of our logs that theirs do not have


def both(name, *arguments, library="numpy", **keywords):
    """The result of one call in each package, by its dotted name, on arrays of a library."""
    found = []
    for package in (ours, theirs):
        function = package
        for part in name.split("."):
            function = getattr(function, part)
        given = [arrays(library, value) if isinstance(value, np.ndarray) else value for value in arguments]
        named = {k: arrays(library, v) if isinstance(v, np.ndarray) else v for k, v in keywords.items()}
        found.append(function(*given, **named))
    return found


def assert_agree(one, other, *, atol):
    """The same type, dtype, shape and numbers."""
    assert isinstance(one, type(other))
    if isinstance(one, dict):
        assert set(other) <= set(one)
        assert set(one) - set(other) <= EXTRA
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for left, right in zip(one, other, strict=True):
            assert_agree(left, right, atol=atol)
    else:
        assert getattr(one, "dtype", None) == getattr(other, "dtype", None)
        np.testing.assert_allclose(as_numpy(one), as_numpy(other), atol=atol, rtol=1e-6)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("method", METHODS)
def test_sinkhorn(method, seed, library):
    a, b, M, *_ = random_costs(12, 9, seed)
    for log in (False, True):
        assert_agree(*both("sinkhorn", a, b, M, 0.5, method=method, log=log, library=library), atol=1e-7)
    if method in ("sinkhorn", "sinkhorn_log", "sinkhorn_stabilized"):
        for target in (b, np.stack([b, b[::-1]], 1)):
            for name in ("sinkhorn2", "sinkhorn"):
                arguments = (name, a, target, M, 0.5)
                assert_agree(*both(*arguments, method=method, log=True, library=library), atol=1e-6)
    if method == "sinkhorn_log":  # with the free constant taken out, scalings are the same numbers
        log, other = (found[1] for found in both("sinkhorn", a, b, M, 0.5, method=method, log=True))
        for name, sign in (("log_u", 1), ("log_v", -1)):
            np.testing.assert_allclose(np.ptp(sign * (log[name] - other[name])), 0.0, atol=1e-7)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("is_lazy", [False, True])
def test_empirical(is_lazy, library):
    a, b, _, x, y = random_costs(12, 9)
    for metric in ("sqeuclidean", "euclidean", "cityblock"):
        settings = {"metric": metric, "library": library}
        cost = both("bregman.empirical_sinkhorn2", x, y, 0.5, a, b, isLazy=is_lazy, **settings)
        assert_agree(*cost, atol=1e-7)
        found = both("bregman.empirical_sinkhorn", x, y, 0.5, a, b, isLazy=is_lazy, log=True, **settings)
        assert set(found[1][-1]) <= set(found[0][-1]) <= set(found[1][-1]) | EXTRA
        if not is_lazy:
            assert_agree(*found, atol=1e-7)
    assert_agree(
        *both("bregman.empirical_sinkhorn_divergence", x, y, 0.5, a=a, b=b, log=True, library=library), atol=1e-7
    )


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("method", ["sinkhorn", "sinkhorn_stabilized", "sinkhorn_translation_invariant"])
def test_unbalanced(method, library):
    a, b, M, *_ = random_costs(12, 9)
    b = 1.5 * b
    c = np.random.default_rng(0).random(M.shape) + 0.1
    for prices in (1.0, (2.0, 2.0)) if method == "sinkhorn_translation_invariant" else (1.0, (0.5, 3.0)):
        for kind in ({}, {"c": c}, {"reg_type": "entropy"}):
            settings = {"method": method, "stopThr": 1e-10, "library": library, **kind}
            found = both("unbalanced.sinkhorn_unbalanced", a, b, M, 0.5, prices, log=True, **settings)
            assert_agree(*found, atol=1e-7)
            for name in ("logu", "logv", "cost"):
                assert_agree(found[0][1][name], found[1][1][name], atol=1e-6)
            assert_agree(*both("unbalanced.sinkhorn_unbalanced2", a, b, M, 0.5, prices, **settings), atol=1e-7)
    several = np.stack([b, b[::-1]], 1)
    settings = {"reg_type": "entropy", "method": method, "stopThr": 1e-10, "library": library}
    if method != "sinkhorn_translation_invariant":
        assert_agree(*both("unbalanced.sinkhorn_unbalanced2", a, several, M, 0.5, 1.0, **settings), atol=1e-6)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("method", ["sinkhorn", "sinkhorn_stabilized", "sinkhorn_log"])
def test_barycenters(method, library):
    rng = np.random.default_rng(0)
    A = rng.random((8, 3)) + 0.1
    A /= A.sum(0)
    M = random_costs(8, 8)[2]
    settings = {"method": method, "stopThr": 1e-9, "log": True, "library": library}
    weights = np.full(3, 1 / 3) if method == "sinkhorn" else np.array([0.2, 0.3, 0.5])
    assert_agree(*both("barycenter", A, M, 0.5, weights, **settings), atol=1e-7)
    if method != "sinkhorn_stabilized":
        M = ours.dist(rng.random((8, 2)))
        assert_agree(*both("bregman.barycenter_debiased", A, M, 0.02, weights, **settings), atol=1e-6)
        images = A.T.reshape(3, 4, 2)
        for name in ("convolutional_barycenter2d", "convolutional_barycenter2d_debiased"):
            mine, other = both(f"bregman.{name}", images, 0.2, weights, **settings)
            assert_agree(mine[0], other[0], atol=1e-6)
            assert set(other[1]) <= set(mine[1])


@pytest.mark.parametrize("library", LIBRARIES)
def test_moving_points(library):
    rng = np.random.default_rng(0)
    clouds, masses = [rng.normal(size=(k, 2)) for k in (5, 6)], [np.full(k, 1 / k) for k in (5, 6)]
    start = rng.normal(size=(4, 2))
    found = [
        package.bregman.free_support_sinkhorn_barycenter(
            [arrays(library, cloud) for cloud in clouds],
            [arrays(library, mass) for mass in masses],
            arrays(library, start),
            0.5,
            log=True,
            numItermax=20,
        )
        for package in (ours, theirs)
    ]
    assert_agree(*found, atol=1e-6)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("seed", range(3))
def test_exact(seed, library):
    a, b, M, *_ = random_costs(12, 9, seed)
    assert_agree(*both("emd", a, b, M, log=True, library=library), atol=1e-12)
    several = np.stack([b, b[::-1]], 1)
    for target in (b, several):
        assert_agree(*both("emd2", a, target, M, library=library), atol=1e-12)
    assert_agree(*both("emd2", a, b, M, log=True, return_matrix=True, library=library), atol=1e-12)
    mine, other = (found[1] for found in both("emd", a, b, M, log=True, library=library))
    for name in "uv":
        np.testing.assert_allclose(as_numpy(mine[name]), as_numpy(other[name]), atol=1e-12)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("metric", ["sqeuclidean", "euclidean", "cityblock", "cosine", "correlation", "minkowski"])
def test_costs(metric, library):
    *_, x, y = random_costs(12, 9)
    x, y = np.c_[x, x.prod(1)], np.c_[y, y.prod(1)]
    settings = {"metric": metric, "library": library}
    assert_agree(*both("dist", x, y, **settings), atol=1e-13)
    assert_agree(*both("dist", x, **settings), atol=1e-13)
    assert_agree(*both("dist", x, y, metric="minkowski", p=3, w=np.array([1.0, 2.0, 0.5]), library=library), atol=1e-13)


def test_gradients_agree_where_theirs_has_converged():
    a, b, M = arrays("torch", *random_costs(6, 5)[:3])
    grads = []
    for package in (ours, theirs):
        given = [t.clone().requires_grad_() for t in (a, b, M)]
        package.sinkhorn2(*given, 1.0, method="sinkhorn_log").backward()
        grads.append([t.grad for t in given])
    torch.testing.assert_close(grads[0][2], grads[1][2], atol=1e-8, rtol=1e-6)
    for mine, other in zip(grads[0][:2], grads[1][:2], strict=True):  # along changes that keep the mass
        torch.testing.assert_close(mine - mine.mean(), other - other.mean(), atol=1e-7, rtol=1e-6)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_where_their_kernel_underflows_ours_is_right():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(30, 2)), rng.normal(size=(30, 2))
    M = theirs.dist(x, y)
    errors = [
        np.abs(np.nan_to_num(package.sinkhorn([], [], M, 1e-3, numItermax=5000)).sum(1) - 1 / 30).sum()
        for package in (ours, theirs)
    ]
    assert errors[0] < 1e-9
    assert errors[1] > 0.5


def test_where_their_stabilized_plan_keeps_a_factor_ours_is_right():
    """Absorbing resets u and v to 1/N, and the plan returned right then has mass 1 / N^2 too little."""
    a, b, M, *_ = random_costs(12, 9)
    settings = {"method": "sinkhorn_stabilized", "tau": 1e-9, "numItermax": 50}
    masses = [package.sinkhorn(a, b, M, 0.5, **settings).sum() for package in (ours, theirs)]
    assert abs(masses[0] - 1.0) < 1e-12
    assert abs(masses[1] * 12 * 9 - 1.0) < 1e-6


def test_where_masses_differ_theirs_runs_on_and_ours_says_so():
    a, b, M, *_ = random_costs()
    assert np.abs(theirs.sinkhorn(a, 2 * b, M, 1.0).sum(0) - 2 * b).sum() > 0.5
    with pytest.raises(ValueError, match="same mass"):
        ours.sinkhorn(a, 2 * b, M, 1.0)


def test_where_their_total_cost_leaves_out_masses_ours_is_the_minimised_objective():
    """Their sum is smaller for a plan that is not optimal; the objective with its masses is not."""
    a, b, M, *_ = random_costs()
    mine, other = (
        package.unbalanced.sinkhorn_unbalanced(a, b, M, 0.5, 1.0, log=True, stopThr=1e-12)[1]
        for package in (ours, theirs)
    )
    plan = ours.unbalanced.sinkhorn_unbalanced(a, b, M, 0.5, 1.0, stopThr=1e-12)

    def divergence(p, q, *, with_masses):
        return (p * np.log(p / q)).sum() + with_masses * (q.sum() - p.sum())

    def objective(plan, *, with_masses):
        total = (plan * M).sum() + 0.5 * divergence(plan, np.outer(a, b), with_masses=with_masses)
        total += divergence(plan.sum(1), a, with_masses=with_masses)
        return total + divergence(plan.sum(0), b, with_masses=with_masses)

    assert abs(mine["total_cost"] - objective(plan, with_masses=True)) < 1e-12
    assert abs(other["total_cost"] - objective(plan, with_masses=False)) < 1e-9
    assert objective(0.9 * plan, with_masses=True) > objective(plan, with_masses=True)
    assert objective(0.9 * plan, with_masses=False) < objective(plan, with_masses=False)


def test_where_their_barycenter_forgets_the_weights_ours_is_the_minimiser():
    """Their scaling method starts from a point that only equal weights allow, and keeps the mistake."""
    rng = np.random.default_rng(0)
    A, x = rng.random((8, 3)) + 0.1, rng.random((8, 2))
    A, M, weights = A / A.sum(0), ours.dist(x), np.array([0.2, 0.3, 0.5])
    mine, other = both("barycenter", A, M, 0.2, weights, stopThr=1e-9)
    again = theirs.barycenter(A, M, 0.2, weights, method="sinkhorn_log", stopThr=1e-9)
    np.testing.assert_allclose(mine, again, atol=1e-8)
    assert np.abs(other - again).sum() > 0.01


def test_where_their_translation_invariant_method_mixes_two_prices_ours_is_the_optimum():
    a, b, M, *_ = random_costs(12, 9)
    method = {"method": "sinkhorn_translation_invariant"}
    mine, other = both("unbalanced.sinkhorn_unbalanced", a, b, M, 0.5, (0.5, 3.0), stopThr=1e-10, **method)
    again = theirs.unbalanced.sinkhorn_unbalanced(a, b, M, 0.5, (0.5, 3.0), stopThr=1e-10)
    np.testing.assert_allclose(mine, again, atol=1e-8)
    assert np.abs(other - again).sum() > 0.05
