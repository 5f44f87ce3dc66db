"""First and second derivatives of value, potentials, plan and cost: by everything, by every rule, against differences."""

import math

import pytest
import torch
from torch.autograd import grad, gradcheck, gradgradcheck

import isotherm
from isotherm import Envelope, Implicit, Unroll, kernels
from isotherm.divergences.partial import partials
from isotherm.divergences.term import Term
from isotherm.geometry import PointCloud

from .clouds import EXACT, given

TIGHT = 1e-12
RULES = {"envelope": Envelope(tolerance=TIGHT), "implicit": Implicit(tolerance=TIGHT)}


def balanced(loss, rule, **settings):
    return lambda x, y, u, v, epsilon: loss(
        x, y, u.softmax(0), v.softmax(0), epsilon=epsilon, differentiation=rule, **EXACT, **settings
    )


def unbalanced(loss, rule, **settings):
    return lambda x, y, u, v, epsilon, rho_a, rho_b: loss(
        x, y, u.exp(), v.exp(), epsilon=epsilon, rho_a=rho_a, rho_b=rho_b, differentiation=rule, **EXACT, **settings
    )


@pytest.mark.parametrize("rule", [Envelope(tolerance=TIGHT), Unroll(15)])
def test_value_is_differentiable_twice_by_everything(rule):
    g = given()
    function = balanced(isotherm.entropic_value, rule)
    assert gradcheck(function, g[:5])
    assert gradgradcheck(function, g[:5], atol=1e-6, fast_mode=True)


def test_unbalanced_value_is_differentiable_twice_by_everything():
    g = given()
    function = unbalanced(isotherm.entropic_value, Envelope(tolerance=TIGHT))
    assert gradcheck(function, tuple(g))
    assert gradgradcheck(function, tuple(g), atol=1e-6, fast_mode=True)


def test_transport_cost_is_differentiable_twice_by_everything():
    g = given()
    function = balanced(isotherm.transport_cost, Implicit(tolerance=TIGHT))
    assert gradcheck(function, g[:5])
    assert gradgradcheck(function, g[:5], atol=1e-6, fast_mode=True)


def test_unbalanced_transport_cost_is_differentiable_by_everything():
    assert gradcheck(unbalanced(isotherm.transport_cost, Implicit(tolerance=TIGHT)), tuple(given()))


@pytest.mark.parametrize("cost", ["euclidean", "half_sqeuclidean", "cosine", "negative_dot", "manhattan"])
@pytest.mark.parametrize(
    ("loss", "rule"), [(isotherm.entropic_value, "envelope"), (isotherm.transport_cost, "implicit")]
)
def test_every_cost_is_differentiated(loss, rule, cost):
    assert gradcheck(balanced(loss, RULES[rule], cost=cost), given(3, 4, 3)[:5])


@pytest.mark.parametrize("cost", ["euclidean", "cosine"])
def test_second_derivatives_of_other_costs(cost):
    function = balanced(isotherm.entropic_value, Envelope(tolerance=TIGHT), cost=cost)
    assert gradgradcheck(function, given(3, 4, 3)[:5], atol=1e-6, fast_mode=True)


def test_transport_cost_in_many_dimensions():
    assert gradcheck(balanced(isotherm.transport_cost, Implicit(tolerance=TIGHT)), given(3, 4, 10)[:5])


def test_potentials_and_plan_are_differentiable_twice():
    g = given(3, 3)

    def outputs(x, y, u, v, epsilon):
        found = isotherm.transport(
            x, y, u.softmax(0), v.softmax(0), epsilon=epsilon, differentiation=Implicit(tolerance=TIGHT), **EXACT
        )
        return found.f, found.g, found.apply(y), found.barycentric_map()

    assert gradcheck(outputs, g[:5])
    assert gradgradcheck(outputs, g[:5], atol=1e-6, fast_mode=True)


@pytest.mark.parametrize(
    ("loss", "rules"),
    [
        (isotherm.entropic_value, (Envelope(), Implicit(), Unroll(150))),
        (isotherm.transport_cost, (Implicit(), Unroll(150))),
    ],
)
def test_the_rules_agree_at_convergence(loss, rules):
    g = given(6, 5)
    found = []
    for rule in rules:
        value = unbalanced(loss, rule)(*g)
        first = grad(value, g, create_graph=True)
        found.append((value, *first, *grad(first[0].square().sum(), g)))
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-6, atol=1e-8)


def test_weights_as_they_stand_have_the_derivative_of_what_is_computed():
    g = given()
    a, b = (0.7 * t.softmax(0).detach() for t in g[2:4])  # a mass that is not one, and the second rescaled to the first

    def value(a, b):
        return isotherm.entropic_value(g.x, g.y, a, b, epsilon=0.7, **EXACT)

    assert gradcheck(value, (a.requires_grad_(), b.requires_grad_()))


def test_weight_gradients_are_the_prices():
    g = given(needs_grad=False)
    a, b = g.u.softmax(0).requires_grad_(), g.v.softmax(0).requires_grad_()
    solution = isotherm.solve(g.x, g.y, a.detach(), b.detach(), epsilon=0.7, tolerance=1e-13)
    found = grad(isotherm.entropic_value(g.x, g.y, a, b, epsilon=0.7, tolerance=1e-13), (a, b))
    torch.testing.assert_close(found, (solution.f, solution.g))


def test_cost_matrix_gradient_is_the_plan_and_its_derivative_too():
    g = given(needs_grad=False)
    matrix = (g.x[:, None] - g.y).square().sum(-1).requires_grad_()
    a, b = g.u.softmax(0), g.v.softmax(0)

    def loss(function, matrix):
        return function(isotherm.CostMatrix(matrix), a=a, b=b, epsilon=0.7, **EXACT)

    plan = isotherm.solve(isotherm.CostMatrix(matrix.detach()), a=a, b=b, epsilon=0.7, tolerance=1e-13).coupling
    torch.testing.assert_close(grad(loss(isotherm.entropic_value, matrix), matrix)[0], plan.to_dense())
    for function in (isotherm.entropic_value, isotherm.transport_cost):
        assert gradcheck(lambda m, function=function: loss(function, m), matrix)
        assert gradgradcheck(lambda m, function=function: loss(function, m), matrix, atol=1e-6, fast_mode=True)


@pytest.mark.parametrize("loss", [isotherm.entropic_value, isotherm.transport_cost])
def test_parameters_of_a_users_cost_are_differentiated(loss):
    g = given(3, 4, needs_grad=False)
    stretch = torch.tensor([[1.0, 0.2], [0.0, 0.7]], dtype=torch.float64, requires_grad=True)
    x = g.x.clone().requires_grad_()

    def value(stretch, x):
        hidden = stretch * 1.0  # what the function sees need not be a leaf

        def cost(x, y):
            return ((x @ hidden)[:, None] - y @ hidden).abs().pow(1.5).sum(-1)

        return loss(x, g.y, epsilon=0.6, cost=cost, **EXACT)

    assert gradcheck(value, (stretch, x))
    assert gradgradcheck(value, (stretch, x), atol=1e-5, fast_mode=True)


def test_points_with_a_history_in_common_with_the_cost():
    """Neither the temperature's nor the cost's dependence on the points' own origin is counted twice."""
    g = given(3, 4, needs_grad=False)

    def value(z):
        def cost(x, y):
            return z.sum().exp() * (x[:, None] - y).abs().pow(1.5).sum(-1)

        return isotherm.entropic_value(g.x * z, g.y, epsilon=1.0 + z.square().sum(), cost=cost, **EXACT)

    z = torch.tensor([0.3, -0.2], dtype=torch.float64, requires_grad=True)
    assert gradcheck(value, z)
    assert gradgradcheck(value, z, atol=1e-5, fast_mode=True)


def test_points_without_mass_have_prices_and_no_pull():
    g = given(5, 4, needs_grad=False)
    a, b = torch.tensor([0.5, 0.0, 0.5, 0.0, 0.0]).double(), torch.tensor([0.0, 0.3, 0.7, 0.0]).double()
    inputs = [t.clone().requires_grad_() for t in (g.x, g.y, a, b)]
    settings = {"epsilon": 0.7, "rho_a": 1.5, "rho_b": 2.5, **EXACT}

    def value(x, y, a, b):
        return isotherm.entropic_value(x, y, a, b, differentiation=Envelope(tolerance=TIGHT), **settings)

    by_x, _, by_a, _by_b = grad(value(*inputs), inputs)
    assert torch.equal(by_x[a == 0], torch.zeros_like(by_x[a == 0]))
    step = 1e-6  # a grain of mass where there was none: only forward differences make sense
    for k in range(5):
        moved = a + step * torch.eye(5, dtype=torch.float64)[k]
        difference = (value(g.x, g.y, moved, b) - value(g.x, g.y, a, b)) / step
        assert abs(float(difference - by_a[k])) < 1e-4
    # And second derivatives: the price at an empty place follows the others' points.
    second = grad(grad(value(*inputs), inputs[2], create_graph=True)[0][1], inputs)

    def at(**moved):
        return grad(value(*(moved.get(n, t) for n, t in zip("xyab", inputs, strict=True))), inputs[2])[0][1]

    for i, name, index in ((0, "x", (0, 1)), (0, "x", (1, 0)), (1, "y", (2, 1)), (1, "y", (0, 0))):
        bump = torch.zeros_like(inputs[i])
        bump[index] = 1e-5
        moved = (at(**{name: inputs[i] + bump}) - at(**{name: inputs[i] - bump})) / 2e-5
        assert abs(float(moved - second[i][index])) < 1e-6
    for i, name in ((2, "a"), (3, "b")):
        for k in range(len(inputs[i])):
            if i == 3 and b[k] == 0:
                continue  # the mixed derivative by two empty places is left out
            bump = torch.zeros_like(inputs[i])
            bump[k] = 1e-7
            if i == 2:
                with_bump = (inputs[2] + bump).detach().requires_grad_()
                there = grad(value(inputs[0], inputs[1], with_bump, inputs[3]), with_bump)[0][1]
            else:
                there = at(**{name: inputs[i] + bump})
            assert abs(float((there - by_a[1]) / 1e-7 - second[i][k])) < 1e-4


def test_closed_forms_equal_partial_derivatives():
    g = given(5, 4)
    term = Term(
        geometry=PointCloud(g.x, g.y), a=g.u.exp(), b=g.v.exp(), epsilon=g.epsilon, rho_a=g.rho_a, rho_b=g.rho_b
    )
    value = unbalanced(isotherm.entropic_value, Envelope())(*g)
    wanted = grad(value, g)
    solution = isotherm.solve(
        g.x.detach(), g.y.detach(), term.a.detach(), term.b.detach(), epsilon=0.7, rho_a=1.3, rho_b=2.1, tolerance=1e-13
    )
    with torch.no_grad():
        found, _ = partials(lambda term, f, g: term.value(f, g), term, term.inputs, solution.potentials)
    by_a, by_b, by_epsilon, by_rho_a, by_rho_b, by_x, by_y = found
    by_u, by_v = by_a * term.a, by_b * term.b
    torch.testing.assert_close((by_x, by_y, by_u, by_v, by_epsilon, by_rho_a, by_rho_b), wanted)


def test_second_derivative_agrees_with_the_hessian_kernel():
    g = given(9, 7, 3, needs_grad=False)
    x = g.x.clone().requires_grad_()
    solution = isotherm.solve(g.x, g.y, epsilon=0.5, tolerance=1e-13)
    p, q = (t + w for t, w in zip(solution.potentials, solution.problem.log_weights, strict=True))
    z = torch.randn(9, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    first = grad(isotherm.entropic_value(x, g.y, epsilon=0.5, **EXACT), x, create_graph=True)[0]
    found = grad((first * z).sum(), x)[0]
    wanted = kernels.value_hessian(solution.problem.geometry, p, q, z, epsilon=0.5, tolerance=1e-12)
    torch.testing.assert_close(found, wanted, rtol=1e-8, atol=1e-10)


def test_potentials_do_not_see_the_constant_between_them():
    g = given()
    found = isotherm.transport(g.x, g.y, epsilon=0.5, **EXACT)
    assert abs(float(found.g.detach().sum())) < 1e-12
    by_x = grad(found.f.sum() - found.g.sum(), g.x)[0]  # of the gauge <b, g> = 0, not of any other
    assert by_x.isfinite().all()


def test_residual_of_the_linear_system_is_reported():
    g, reports = given(20, 15), []
    rule = Implicit(tolerance=1e-9, report=reports.append)
    isotherm.transport_cost(g.x, g.y, epsilon=0.1, differentiation=rule, tolerance=1e-8).backward()
    assert len(reports) == 1
    assert reports[0].is_converged
    assert 0 < reports[0].residual <= 2e-9
    assert 1 < reports[0].iterations <= 40


def test_an_unsolved_linear_system_warns():
    g = given(20, 15)
    value = isotherm.transport_cost(g.x, g.y, epsilon=0.1, differentiation=Implicit(max_iterations=2))
    with pytest.warns(isotherm.ConvergenceWarning, match="relative residual of"):
        value.backward()


def test_first_derivatives_of_the_value_solve_no_linear_system():
    g, reports = given(), []
    value = isotherm.entropic_value(g.x, g.y, epsilon=0.5, differentiation=Envelope(report=reports.append))
    first = grad(value, g.x, create_graph=True)[0]
    assert not reports
    first.sum().backward()
    assert len(reports) == 1


def test_envelope_is_refused_where_potentials_are_differentiated():
    g = given()
    with pytest.raises(TypeError, match="Envelope\\(\\) differentiates the value alone"):
        isotherm.transport_cost(g.x, g.y, epsilon=0.5, differentiation=Envelope())


def test_unrolled_value_is_that_of_so_many_steps():
    g = given(needs_grad=False)
    a, b, cost = (
        torch.full((4,), 0.25).double(),
        torch.full((3,), 1 / 3).double(),
        (g.x[:, None] - g.y).square().sum(-1),
    )
    kernel, v = (-cost / 0.3).exp(), torch.ones(3, dtype=torch.float64)
    for _ in range(4):
        u = 1.0 / (kernel @ (b * v))
        v = 1.0 / (kernel.T @ (a * u))
    value = 0.3 * ((a * u.log()).sum() + (b * v.log()).sum())
    found = isotherm.entropic_value(g.x, g.y, epsilon=0.3, differentiation=Unroll(4))
    torch.testing.assert_close(found, value)
    plan = (a * u)[:, None] * kernel * (b * v)
    sharp = isotherm.transport_cost(g.x, g.y, epsilon=0.3, differentiation=Unroll(4))
    torch.testing.assert_close(sharp, (plan * cost).sum())


def test_coincident_points_have_finite_gradients():
    x = torch.zeros(3, 2, dtype=torch.float64, requires_grad=True)
    for cost in ("sqeuclidean", "euclidean", "cosine", "manhattan", isotherm.EuclideanPower(0.5)):
        for loss in (isotherm.entropic_value, isotherm.sinkhorn_divergence, isotherm.transport_cost):
            found = grad(loss(x, x.detach().clone(), epsilon=0.5, cost=cost), x)[0]
            assert found.isfinite().all(), (cost, loss)


def test_grid_weights_are_differentiated_twice():
    axis = torch.linspace(0, 1, 5, dtype=torch.float64)
    grid = isotherm.Grid((axis, axis[:3]))
    u = torch.randn(15, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)

    def value(u):
        return isotherm.sinkhorn_divergence(grid, a=u.softmax(0), epsilon=0.2, **EXACT)

    assert gradcheck(value, u)
    assert gradgradcheck(value, u, atol=1e-6, fast_mode=True)


def test_bad_settings_say_what_to_do():
    with pytest.raises(ValueError, match="steps"):
        Unroll(0)
    with pytest.raises(ValueError, match="tolerance"):
        Implicit(tolerance=-1.0)
    with pytest.raises(TypeError, match="Pass one of them"):
        isotherm.entropic_value(torch.zeros(2, 1), torch.ones(2, 1), epsilon=math.e, differentiation="envelope")
