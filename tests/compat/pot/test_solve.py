"""POT's `solve` and `solve_sample`: known answers, the original's conventions, derivatives, errors."""

import math

import numpy as np
import pytest
import torch
from torch.autograd import grad, gradcheck

import isotherm
from isotherm.compat.pot import OTResult, solve, solve_sample

GENERATOR = np.random.default_rng(0)
M = GENERATOR.random((6, 5))
A, B = GENERATOR.dirichlet(np.ones(6)), GENERATOR.dirichlet(np.ones(5))
X, Y = GENERATOR.normal(size=(6, 2)), GENERATOR.normal(size=(5, 2))


def kl(p, q):
    return (p * np.log(p / q) - p + q).sum()


def test_two_by_two_example():
    result = solve([[0.0, 1.0], [1.0, 0.0]], reg=1.0)
    heavy, light = math.e / (2 * (math.e + 1)), 1 / (2 * (math.e + 1))
    np.testing.assert_allclose(result.plan, [[heavy, light], [light, heavy]], atol=1e-9)
    assert result.value_linear == pytest.approx(2 * light)
    assert result.value == pytest.approx(-math.log((1 + 1 / math.e) / 2))


def test_values_are_the_objectives_of_the_plan():
    result = solve(M, A, B, reg=0.3)
    assert result.value_linear == pytest.approx((result.plan * M).sum())
    assert result.value == pytest.approx(result.value_linear + 0.3 * kl(result.plan, np.outer(A, B)))
    entropy = solve(M, A, B, reg=0.3, reg_type="entropy")
    assert entropy.value == pytest.approx(result.value_linear + 0.3 * (result.plan * np.log(result.plan)).sum())
    np.testing.assert_allclose(entropy.plan, result.plan, atol=1e-9)


@pytest.mark.parametrize("reg_type", ["KL", "entropy"])
@pytest.mark.parametrize("prices", [0.7, (0.7, 0.4), [0.7, np.inf], torch.tensor([0.7])])
def test_unbalanced_plan_is_stationary(prices, reg_type):
    result = solve(M, A, B, reg=0.3, reg_type=reg_type, unbalanced=prices, tol=1e-11)
    rho = np.broadcast_to(np.asarray(prices, dtype=float), (2,))
    reference = np.outer(A, B) if reg_type == "KL" else np.ones_like(M)
    slope = M + 0.3 * np.log(result.plan / reference)
    row, column = result.marginals
    for one, rate in ((np.log(row / A)[:, None], rho[0]), (np.log(column / B), rho[1])):
        slope = slope + (rate * one if math.isfinite(rate) else 0.0)
    if math.isinf(rho[1]):  # a price for each target makes up for the constraint
        np.testing.assert_allclose(column, B, atol=1e-9)
        slope = slope - slope.mean(0)
    np.testing.assert_allclose(slope, 0.0, atol=1e-8)
    terms = (r * kl(m, w) for r, m, w in zip(rho, (row, column), (A, B), strict=True) if math.isfinite(r))
    own = kl(result.plan, reference) - (M.size if reg_type == "entropy" else 0.0)
    assert result.value == pytest.approx(result.value_linear + 0.3 * own + sum(terms))


@pytest.mark.parametrize("prices", [None, 0.7])
def test_reference_is_what_the_plan_stays_close_to(prices):
    c = GENERATOR.random(M.shape) + 0.1
    result = solve(M, A, B, reg=0.3, c=c, unbalanced=prices, tol=1e-11)
    rho = math.inf if prices is None else prices
    wanted = isotherm.solve(
        isotherm.CostMatrix(M), None, A, B, epsilon=0.3, rho_a=rho, rho_b=rho, reference=c, tolerance=1e-11
    )
    np.testing.assert_allclose(result.plan, wanted.coupling.to_dense(), atol=1e-9)
    assert result.value == pytest.approx(wanted.value)


def test_potentials_by_the_original_conventions():
    balanced, loose, exact = solve(M, A, B, reg=0.3), solve(M, A, B, reg=0.3, unbalanced=0.7), solve(M, A, B)
    np.testing.assert_allclose(
        np.exp(balanced.potential_a[:, None] + balanced.potential_b - M / 0.3), balanced.plan, rtol=1e-9
    )
    np.testing.assert_allclose(
        np.outer(A, B) * np.exp(loose.potential_a[:, None] + loose.potential_b - M / 0.3), loose.plan, rtol=1e-9
    )
    slack = M - exact.potential_a[:, None] - exact.potential_b
    assert slack.min() > -1e-12
    np.testing.assert_allclose(slack[exact.plan > 0], 0.0, atol=1e-12)


def test_exact_transport():
    result = solve(M, A, B)
    np.testing.assert_allclose(result.marginal_a, A, atol=1e-12)
    np.testing.assert_allclose(result.marginal_b, B, atol=1e-12)
    assert result.value == result.value_linear == pytest.approx(A @ result.potential_a + B @ result.potential_b)
    assert result.status.startswith("exact")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("reg", [None, 0.3])
def test_results_are_like_the_inputs(reg, dtype):
    result = solve(torch.tensor(M, dtype=dtype), reg=reg)
    parts = (result.value, result.value_linear, result.plan, *result.potentials, *result.marginals)
    assert all(isinstance(part, torch.Tensor) and part.dtype == dtype for part in parts)
    assert result.sparse_plan.is_sparse
    arrays = solve(M.astype(np.float32), reg=reg)
    assert isinstance(arrays.plan, np.ndarray)
    assert arrays.plan.dtype == arrays.value.dtype == np.float32
    np.testing.assert_allclose(arrays.sparse_plan.toarray(), arrays.plan)


def test_missing_weights_are_equal():
    wanted = solve(M, np.full(6, 1 / 6), np.full(5, 0.2), reg=0.3)
    for empty in (None, []):
        np.testing.assert_allclose(solve(M, empty, empty, reg=0.3).plan, wanted.plan, atol=1e-12)


def test_zero_weights_stay_zero():
    a, b = A.copy(), B.copy()
    a[0], b[1] = 0.0, 0.0
    result = solve(M, a / a.sum(), b / b.sum(), reg=0.3, reg_type="entropy")
    assert np.isfinite(result.value)
    assert (result.plan[0] == 0).all()
    assert (result.plan[:, 1] == 0).all()


def test_start_and_budget():
    warm = solve(M, A, B, reg=0.05)
    assert (
        solve(M, A, B, reg=0.05, potentials_init=warm.potentials, max_iter=50).log["niter"]
        < solve(M, A, B, reg=0.05, max_iter=5000).log["niter"]
    )
    with pytest.warns(isotherm.ConvergenceWarning):
        result = solve(M, A, B, reg=0.05, max_iter=2)
    assert result.log["niter"] == 2
    assert result.log["err"] > 1e-9


def leaves(*arrays):
    return tuple(torch.tensor(array, requires_grad=True) for array in arrays)


@pytest.mark.parametrize(
    "settings", [{"reg": 0.3}, {"reg": 0.3, "reg_type": "entropy"}, {"reg": 0.3, "unbalanced": 0.7}]
)
@pytest.mark.parametrize("part", ["value", "value_linear", "plan"])
def test_everything_is_differentiable(part, settings):
    def value(M, u, v):
        result = solve(M, u.softmax(0), v.softmax(0), tol=1e-13, max_iter=5000, **settings)
        return getattr(result, part)

    assert gradcheck(value, leaves(M[:3, :4], A[:3], B[:4]), atol=1e-6, rtol=1e-4)


def test_rules_of_differentiation():
    for rule in ("autodiff", "last_step", "envelope", "detach"):
        costs, a, b = leaves(M, A, B)
        result = solve(costs, a, b, reg=0.3, grad=rule)
        assert result.value.requires_grad == (rule != "detach")
        assert result.plan.requires_grad == result.value_linear.requires_grad == (rule in ("autodiff", "last_step"))
        if rule != "detach":
            torch.testing.assert_close(grad(result.value, costs)[0], result.plan.detach(), rtol=1e-6, atol=1e-9)


def test_exact_value_is_differentiable():
    costs, a, b = leaves(M, A, B)
    result = solve(costs, a, b)
    slopes = grad(result.value, (costs, a, b))
    for found, wanted in zip(slopes, (result.plan, *result.potentials), strict=True):
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("reg_type", ["KL", "entropy"])
@pytest.mark.parametrize("settings", [{}, {"reg": 0.5}, {"reg": 0.5, "unbalanced": 0.7}])
def test_lazy_samples_agree_with_dense_ones(settings, reg_type):
    if settings.get("unbalanced") and reg_type == "entropy":
        with pytest.raises(NotImplementedError, match="lazy"):
            solve_sample(X, Y, reg_type=reg_type, lazy=True, **settings)
        return
    dense, lazy = (solve_sample(X, Y, A, B, reg_type=reg_type, lazy=lazy, **settings) for lazy in (False, True))
    for name in ("value", "value_linear", "plan", "potential_a", "potential_b", "marginal_a", "marginal_b"):
        np.testing.assert_allclose(getattr(lazy, name), getattr(dense, name), atol=1e-8)
    if settings:
        assert lazy.lazy_plan.shape == (6, 5)
        for key in (slice(None), slice(1, 3), (slice(None), slice(0, 2)), (slice(1, 2), slice(2, 3))):
            np.testing.assert_allclose(lazy.lazy_plan[key], dense.plan[key], atol=1e-9)
        np.testing.assert_allclose(lazy.lazy_plan[2, 3], dense.plan[2:3, 3:4], atol=1e-9)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("reg", [None, 0.5])
def test_samples_are_differentiable(reg, lazy):
    x, y, a, b = leaves(X, Y, A, B)
    result = solve_sample(x, y, a, b, reg=reg, lazy=lazy, tol=1e-11 if reg else None)
    plan = result.plan.detach()
    wanted = 2 * (plan.sum(1, keepdim=True) * x - plan @ y)
    torch.testing.assert_close(grad(result.value, x, retain_graph=True)[0], wanted.detach(), rtol=1e-6, atol=1e-9)
    if reg:
        both = [
            grad(solve_sample(x, y, a, b, reg=reg, lazy=one, tol=1e-11).value_linear, x)[0] for one in (True, False)
        ]
        torch.testing.assert_close(*both, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("metric", "wanted"),
    [
        ("sqeuclidean", ((X[:, None] - Y) ** 2).sum(-1)),
        ("euclidean", np.sqrt(((X[:, None] - Y) ** 2).sum(-1))),
        ("cityblock", np.abs(X[:, None] - Y).sum(-1)),
        ("cosine", 1 - (X / np.linalg.norm(X, axis=1)[:, None]) @ (Y / np.linalg.norm(Y, axis=1)[:, None]).T),
    ],
)
def test_metrics(metric, wanted):
    np.testing.assert_allclose(
        solve_sample(X, Y, A, B, metric, reg=0.5).value, solve(wanted, A, B, reg=0.5).value, rtol=1e-9
    )


def test_debiased_value_is_a_divergence():
    result = solve_sample(X, Y, A, B, reg=0.5, debias=True)
    assert result.value == pytest.approx(
        isotherm.sinkhorn_divergence(X, Y, A, B, epsilon=0.5, tolerance=1e-9), rel=1e-7
    )
    assert solve_sample(X, X, reg=0.5, debias=True).value == pytest.approx(0.0, abs=1e-8)
    assert set(result.log) == {"res_ab", "res_aa", "res_bb"}
    np.testing.assert_allclose(result.plan, result.log["res_ab"].plan)


def test_debiased_value_by_halves():
    result = solve_sample(X, Y[:4], reg=0.5, debias="split")
    ends = (X[:3], Y[:2]), (X[3:], Y[2:4]), (X[:3], X[3:]), (Y[:2], Y[2:4])
    values = [
        solve_sample(x, y, np.full(len(x), 0.5 / len(x)), np.full(len(y), 0.5 / len(y)), reg=0.5).value for x, y in ends
    ]
    assert result.value == pytest.approx(values[0] + values[1] - values[2] - values[3])
    odd = solve_sample(X, Y, A, B, debias="split")  # a point in the middle goes to both halves
    for name in ("a1", "a2", "b1", "b2"):
        assert odd.log[name].sum() == pytest.approx(0.5)


def test_transport_along_lines():
    shift = np.array([3.0, -4.0])
    np.testing.assert_allclose(solve_sample(X, X + shift, method="1d").value, [9.0, 16.0])
    np.testing.assert_allclose(solve_sample(X, X + shift, method="1d", metric="euclidean").value, [3.0, 4.0])
    axes = np.eye(2)
    assert solve_sample(X, X + shift, method="sliced", projections=axes).value == pytest.approx(math.sqrt(12.5))
    assert solve_sample(X, X + shift, method="max_sliced", projections=axes).value == pytest.approx(4.0)
    drawn = [solve_sample(X, Y, A, B, method="sliced", n_projections=7, random_state=seed) for seed in (0, 0, 1)]
    assert drawn[0].value == drawn[1].value != drawn[2].value
    np.testing.assert_allclose((drawn[0].log["projections"] ** 2).sum(0), np.ones(7))
    x = torch.tensor(X, requires_grad=True)
    slope = grad(solve_sample(x, torch.tensor(X + shift), method="1d").value.sum(), x)[0]
    torch.testing.assert_close(slope, torch.tensor(-2 * shift / 6).expand(6, 2))


def test_scaler_scales_both_sides():
    wanted = solve_sample(X / 2, Y / 2, reg=0.5).value
    assert solve_sample(X, Y, reg=0.5, scaler=lambda points: points / 2).value == pytest.approx(wanted)
    with pytest.raises(ValueError, match="scaler"):
        solve_sample(X, Y, scaler=3)


def test_result_without_plan():
    result = OTResult(value=1.0)
    for name in (
        "plan",
        "sparse_plan",
        "marginals",
        "marginal_a",
        "potential_b",
        "potentials",
        "lazy_plan",
        "value_quad",
    ):
        assert getattr(result, name) is None
    for name in ("a_to_b", "b_to_a"):
        with pytest.raises(NotImplementedError):
            getattr(result, name)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"method": "sinkhorn_stabilized"}, ValueError, "method"),
        ({"reg": 1.0, "reg_type": "L2"}, NotImplementedError, "reg_type"),
        ({"reg": 1.0, "reg_type": (abs, abs)}, NotImplementedError, "reg_type"),
        ({"reg": 1.0, "unbalanced": 1.0, "unbalanced_type": "TV"}, NotImplementedError, "unbalanced_type"),
        ({"unbalanced": 1.0}, NotImplementedError, "temperature"),
        ({"reg": 1.0, "unbalanced": [1.0, 1.0, 1.0]}, ValueError, "one price or two"),
        ({"reg": 1.0, "grad": "backprop"}, ValueError, "grad"),
        ({"reg": 1.0, "max_iter": 0}, ValueError, "max_iter"),
        ({"reg": -1.0}, ValueError, "reg"),
        ({"reg": 1.0, "c": np.zeros_like(M)}, ValueError, "must be positive"),
        ({"reg": 1.0, "c": np.ones_like(M), "reg_type": "entropy"}, ValueError, "belongs to"),
    ],
)
def test_what_is_not_provided_says_so(settings, error, message):
    with pytest.raises(error, match=message):
        solve(M, A, B, **settings)


def test_samples_say_what_is_not_provided():
    for settings, error in [
        ({"method": "unknown"}, ValueError),
        ({"method": "bsp"}, NotImplementedError),
        ({"metric": "hamming"}, NotImplementedError),
        ({"method": "sliced", "metric": "cosine"}, NotImplementedError),
        ({"lazy": True, "unbalanced": 1.0}, NotImplementedError),
        ({"lazy": True, "reg": 1.0, "c": np.ones_like(M)}, NotImplementedError),
    ]:
        with pytest.raises(error):
            solve_sample(X, Y, **settings)
