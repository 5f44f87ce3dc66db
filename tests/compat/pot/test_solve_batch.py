"""POT's `solve_batch`: each problem of a batch as `solve` finds it alone."""

import numpy as np
import pytest
import torch
from torch.autograd import grad

import isotherm
from isotherm.compat.pot import solve, solve_batch, solve_sample_batch

GENERATOR = np.random.default_rng(1)
X, Y = GENERATOR.normal(size=(3, 6, 2)), GENERATOR.normal(size=(3, 5, 2))
M = ((X[:, :, None] - Y[:, None]) ** 2).sum(-1)
A, B = GENERATOR.dirichlet(np.ones(6), size=3), GENERATOR.dirichlet(np.ones(5), size=3)


@pytest.mark.parametrize("reg_type", ["kl", "entropy"])
@pytest.mark.parametrize("reg", [None, 0.5])
def test_batch_is_each_problem_alone(reg, reg_type):
    together = solve_batch(M, reg, A, B, reg_type=reg_type)
    alone = [solve(M[k], A[k], B[k], reg, reg_type=reg_type) for k in range(3)]
    for name in ("value", "value_linear", "plan", "potential_a", "potential_b", "marginal_a", "marginal_b"):
        np.testing.assert_allclose(getattr(together, name), [getattr(one, name) for one in alone], atol=1e-8)
    assert len(together.log["niter"]) == 3


def test_samples_and_metrics():
    np.testing.assert_allclose(solve_sample_batch(X, Y, 0.5, A, B).value, solve_batch(M, 0.5, A, B).value)
    wanted = solve_batch((np.abs(X[:, :, None] - Y[:, None]) ** 3).sum(-1) ** (1 / 3), 0.5).value
    np.testing.assert_allclose(solve_sample_batch(X, Y, 0.5, metric="minkowski", p=3).value, wanted)
    x, y = np.exp(X), np.exp(Y)
    wanted = solve_batch((y[:, None] * np.log(y[:, None] / x[:, :, None])).sum(-1), 0.5).value
    np.testing.assert_allclose(solve_sample_batch(x, y, 0.5, metric="kl").value, wanted)
    assert isinstance(solve_sample_batch(torch.tensor(X), torch.tensor(Y), 0.5).plan, torch.Tensor)


def test_gradient_of_the_values_is_the_plan():
    costs = torch.tensor(M, requires_grad=True)
    result = solve_batch(costs, 0.5)
    assert not result.plan.requires_grad
    torch.testing.assert_close(grad(result.value.sum(), costs)[0], result.plan, rtol=1e-6, atol=1e-9)
    assert solve_batch(costs, 0.5, grad="autodiff").plan.requires_grad
    assert not solve_batch(costs, 0.5, grad="detach").value.requires_grad


def test_not_converging_is_said_once():
    with pytest.warns(isotherm.ConvergenceWarning, match="3 of 3") as caught:
        solve_batch(M, 0.01, A, B, max_iter=2)
    assert len(caught) == 1


def test_bad_arguments_are_refused():
    for settings, message in [
        ({"method": "unknown"}, "method"),
        ({"method": "sinkhorn"}, "temperature"),
        ({"reg": 1.0, "reg_type": "l2"}, "reg_type"),
        ({"reg": 1.0, "grad": "backprop"}, "grad"),
    ]:
        with pytest.raises(ValueError, match=message):
            solve_batch(M, **settings)
    with pytest.raises(ValueError, match=r"\(B, N, M\)"):
        solve_batch(M[0], 1.0)
    with pytest.raises(ValueError, match="metric"):
        solve_sample_batch(X, Y, 1.0, metric="hamming")
