"""What the losses must be: exact values, limits along the dial, signs, and the same answer however they are called."""

import copy
import math

import pytest
import torch
from torch.autograd import grad, gradcheck, gradgradcheck

import isotherm
from isotherm import Implicit, PotentialCache, Relative
from isotherm.testing import gaussian_sinkhorn_divergence, one_dimensional_cost

from .clouds import EXACT, given

AXIS = torch.linspace(-6.0, 6.0, 81, dtype=torch.float64)
GAUSS = (-0.5 * AXIS.square()).exp() / (-0.5 * AXIS.square()).exp().sum()
FOUR = {
    "entropic": lambda x, y, a=None, b=None, **s: isotherm.entropic_value(x, y, a, b, epsilon=0.4, **s),
    "sharp": lambda x, y, a=None, b=None, **s: isotherm.transport_cost(x, y, a, b, epsilon=0.4, **s),
    "sinkhorn": lambda x, y, a=None, b=None, **s: isotherm.sinkhorn_divergence(x, y, a, b, epsilon=0.4, **s),
    "hausdorff": lambda x, y, a=None, b=None, **s: isotherm.hausdorff_divergence(x, y, a, b, epsilon=0.4, **s),
}
ENDS = {
    "mmd": lambda x, y, a=None, b=None: isotherm.mmd(x, y, a, b, cost="euclidean"),
    "energy": isotherm.energy_distance,
    "wasserstein": isotherm.wasserstein,
    "sliced": isotherm.sliced_wasserstein,
}


def variance_slope(loss, variance: float, target: float) -> float:
    """Derivative by the variance of a Gaussian on a line, fitted to another one."""
    s = torch.tensor(variance, dtype=torch.float64, requires_grad=True)
    value = loss((s.sqrt() * AXIS)[:, None], (math.sqrt(target) * AXIS)[:, None], GAUSS, GAUSS)
    return float(grad(value, s)[0])


@pytest.mark.parametrize(
    ("loss", "best"),
    [
        (isotherm.entropic_value, 1.4 - 0.6 / 2),
        (isotherm.transport_cost, 1.4 - 0.6**2 / (16 * 1.4)),
        (isotherm.sinkhorn_divergence, 1.4),
    ],
)
def test_variance_bias_of_a_gaussian_fit(loss, best):
    def value(x, y, a, b):
        return loss(x, y, a, b, epsilon=0.6, tolerance=1e-11)

    assert abs(variance_slope(value, best, 1.4)) < 1e-7
    assert variance_slope(value, best - 0.01, 1.4) < -1e-3
    assert variance_slope(value, best + 0.01, 1.4) > 1e-3


def test_sinkhorn_divergence_of_gaussians():
    x, y = (0.8 * AXIS)[:, None], (1.5 * AXIS + 0.7)[:, None]
    found = isotherm.sinkhorn_divergence(x, y, GAUSS, GAUSS, epsilon=0.9, tolerance=1e-11)
    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    wanted = gaussian_sinkhorn_divergence(zero, 0.64 * one, zero + 0.7, 2.25 * one, epsilon=0.9)
    assert abs(float(found) - wanted) < 1e-7  # what the quadrature is worth


@pytest.mark.parametrize("cost", ["sqeuclidean", "euclidean"])
@pytest.mark.parametrize("loss", [isotherm.sinkhorn_divergence, isotherm.hausdorff_divergence])
@pytest.mark.parametrize("rho", [math.inf, 1.7])
def test_divergences_vanish_at_equality_and_nowhere_else(loss, rho, cost):
    g = given(12, 9, needs_grad=False)
    a, b = g.u.softmax(0), g.v.softmax(0)
    for epsilon in (0.05, 1.0, 50.0):
        settings = {"epsilon": epsilon, "rho": rho, "cost": cost, "tolerance": 1e-10}
        order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
        assert abs(float(loss(g.x, g.x[order], a, a[order], **settings))) < 1e-8
        assert float(loss(g.x, g.y, a, b, **settings)) > 1e-3
        nearly = float(loss(g.x, g.x + 1e-4, a, a, **settings))
        assert nearly >= -1e-9


def test_unbalanced_divergence_of_unequal_masses_is_positive_and_complete():
    g = given(8, 8, needs_grad=False)
    a = g.u.softmax(0)
    found = isotherm.sinkhorn_divergence(g.x, g.x, a, 3.0 * a, epsilon=0.3, rho=0.8, tolerance=1e-12)
    value = lambda a, b: isotherm.entropic_value(g.x, g.x, a, b, epsilon=0.3, rho_a=0.8, rho_b=0.8, tolerance=1e-12)  # noqa: E731
    wanted = value(a, 3 * a) - value(a, a) / 2 - value(3 * a, 3 * a) / 2 + 0.3 * (3.0 - 1.0) ** 2 / 2
    torch.testing.assert_close(found, wanted)
    assert found > 0.1


def test_hot_end_is_the_mmd():
    g = given(7, 5, needs_grad=False)
    a, b = g.u.softmax(0), g.v.softmax(0)
    for cost in ("sqeuclidean", "euclidean"):
        hot = isotherm.mmd(g.x, g.y, a, b, cost=cost)
        for loss in (isotherm.sinkhorn_divergence, isotherm.hausdorff_divergence):
            torch.testing.assert_close(
                loss(g.x, g.y, a, b, epsilon=1e6, cost=cost, tolerance=1e-13), hot, rtol=1e-4, atol=0
            )
    means = (a @ g.x - b @ g.y).square().sum()
    torch.testing.assert_close(isotherm.mmd(g.x, g.y, a, b), means)
    across, xx, yy = ((p[:, None] - q).norm(dim=-1) for p, q in ((g.x, g.y), (g.x, g.x), (g.y, g.y)))
    energy = 2 * a @ across @ b - a @ xx @ a - b @ yy @ b
    torch.testing.assert_close(isotherm.energy_distance(g.x, g.y, a, b), energy)


def test_cold_end_is_exact_transport():
    g = given(6, 6, needs_grad=False)
    exact = isotherm.wasserstein(g.x, g.y)
    for loss in (isotherm.entropic_value, isotherm.transport_cost, isotherm.sinkhorn_divergence):
        torch.testing.assert_close(loss(g.x, g.y, epsilon=2e-3), exact, rtol=5e-3, atol=0)
        torch.testing.assert_close(loss(g.x, g.y, epsilon=0.0), exact)
    nearest = 0.5 * (
        (g.x[:, None] - g.y).square().sum(-1).amin(1).mean() + (g.x[:, None] - g.y).square().sum(-1).amin(0).mean()
    )
    torch.testing.assert_close(isotherm.hausdorff_divergence(g.x, g.y, epsilon=1e-3), nearest, rtol=1e-2, atol=0)


def test_cold_end_refuses_finite_prices():
    x, y = torch.rand(4, 2), torch.rand(4, 2)
    with pytest.raises(ValueError, match="needs a temperature"):
        isotherm.sinkhorn_divergence(x, y, epsilon=0.0, rho=1.0)
    with pytest.raises(ValueError, match="needs a temperature"):
        isotherm.entropic_value(x, y, epsilon=0.0, rho_a=1.0)


def test_lines_are_sorted_with_weights():
    g = given(9, 7, 1, needs_grad=False)
    a, b = g.u.softmax(0), g.v.softmax(0)
    for p in (1.0, 2.0, 3.0):
        wanted = one_dimensional_cost(g.x[:, 0], g.y[:, 0], a, b, p=p)
        assert abs(float(isotherm.sliced_wasserstein(g.x, g.y, a, b, p=p, projections=3)) - wanted) < 1e-12
    torch.testing.assert_close(isotherm.wasserstein(g.x, g.y, a, b), isotherm.sliced_wasserstein(g.x, g.y, a, b))


def test_ends_of_the_dial_are_differentiable():
    g = given(4, 3)
    for name, loss in ENDS.items():
        assert gradcheck(lambda x, y, u, v, loss=loss: loss(x, y, u.softmax(0), v.softmax(0)), g[:4]), name
    assert gradgradcheck(lambda x, y, u, v: ENDS["mmd"](x, y, u.softmax(0), v.softmax(0)), g[:4], fast_mode=True)


@pytest.mark.parametrize("rho", [math.inf, 1.5])
def test_divergences_are_differentiable(rho):
    g = given(4, 3)
    for loss in (isotherm.sinkhorn_divergence, isotherm.hausdorff_divergence):
        settings = EXACT if loss is isotherm.sinkhorn_divergence else {k: v for k, v in EXACT.items() if k != "solver"}

        def function(x, y, u, v, e, loss=loss, s=settings):
            return loss(x, y, u.softmax(0), v.softmax(0), epsilon=e, rho=rho, **s)

        assert gradcheck(function, g[:5], atol=1e-6)
    assert gradgradcheck(function, g[:5], atol=1e-5, fast_mode=True)


@pytest.mark.parametrize("name", [*FOUR, *ENDS])
def test_batches_lists_masks_and_modules_agree(name):
    loss = {**FOUR, **ENDS}[name]
    generator = torch.Generator().manual_seed(3)
    x, y = (torch.randn(3, n, 2, generator=generator, dtype=torch.float64) for n in (6, 5))
    a, b = (torch.rand(3, n, generator=generator, dtype=torch.float64).softmax(1) for n in (6, 5))
    one_by_one = torch.stack([loss(*parts) for parts in zip(x, y, a, b, strict=True)])
    torch.testing.assert_close(loss(x, y, a, b), one_by_one)
    ragged = loss([x[0], x[1, :4]], [y[0, :3], y[1]])
    torch.testing.assert_close(ragged, torch.stack([loss(x[0], y[0, :3]), loss(x[1, :4], y[1])]))
    masked = torch.tensor([0.25, 0.25, 0.25, 0.25, 0.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(loss(x[1], y[1], masked), loss(x[1, :4], y[1]), rtol=1e-6, atol=1e-6)
    as_numpy = loss(x[0].numpy(), y[0].numpy())
    assert not isinstance(as_numpy, torch.Tensor)
    assert math.isclose(float(as_numpy), float(loss(x[0], y[0])))


def test_modules_are_the_functions():
    generator = torch.Generator().manual_seed(3)
    x, y = (torch.randn(3, n, 2, generator=generator) for n in (6, 5))
    pairs = [
        (isotherm.EntropicValue(epsilon=0.4), FOUR["entropic"]),
        (isotherm.TransportCost(epsilon=0.4), FOUR["sharp"]),
        (isotherm.SinkhornDivergence(epsilon=0.4), FOUR["sinkhorn"]),
        (isotherm.HausdorffDivergence(epsilon=0.4), FOUR["hausdorff"]),
        (isotherm.MMD(cost="euclidean"), ENDS["mmd"]),
        (isotherm.EnergyDistance(), ENDS["energy"]),
        (isotherm.Wasserstein(), ENDS["wasserstein"]),
        (isotherm.SlicedWasserstein(), ENDS["sliced"]),
    ]
    for module, function in pairs:
        torch.testing.assert_close(module(x, y), function(x, y).mean())
        module.reduction = "none"
        torch.testing.assert_close(copy.deepcopy(module)(x, y), function(x, y))


def test_a_temperature_and_a_cost_can_be_parameters_of_a_module():
    epsilon, cost = torch.nn.Parameter(torch.tensor(0.5)), torch.nn.PairwiseDistance()
    module = isotherm.SinkhornDivergence(epsilon=epsilon, cost="sqeuclidean")
    assert dict(module.named_parameters()).keys() == {"epsilon"}
    module(torch.zeros(2, 1), torch.arange(2.0)[:, None]).backward()
    assert epsilon.grad is not None
    assert isinstance(cost, torch.nn.Module)


def test_nothing_global_is_touched_and_bits_repeat():
    g = given(40, 30, needs_grad=False)
    x, y = g.x.float(), g.y.float()
    for loss in (*FOUR.values(), *ENDS.values()):
        state, threads = torch.get_rng_state(), torch.get_num_threads()
        before = [t.clone() for t in (x, y)]
        with torch.no_grad():
            value = loss(x, y)
            assert not torch.is_grad_enabled()
            assert not value.requires_grad
        assert torch.equal(value, loss(x, y))
        assert torch.equal(torch.get_rng_state(), state)
        assert torch.get_num_threads() == threads
        assert all(map(torch.equal, before, (x, y)))
        with torch.inference_mode():
            assert torch.equal(loss(x, y), value)
        free = x.clone().requires_grad_()
        assert torch.equal(*(grad(loss(free, y), free)[0] for _ in range(2)))


def test_autocast_leaves_transport_in_float32():
    layer = torch.nn.Linear(3, 2)
    points = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    y = torch.randn(15, 2, generator=torch.Generator().manual_seed(1))
    for loss in (*FOUR.values(), *ENDS.values()):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = layer(points)
            assert half.dtype == torch.bfloat16
            value = loss(half, y)
            by_weight = grad(value, layer.weight)[0]  # backward inside the context too
        raised = half.detach().float()
        torch.testing.assert_close(value.detach(), loss(raised, y))
        assert value.dtype == torch.float32
        assert by_weight.isfinite().all()
        assert by_weight.abs().max() > 0
    with pytest.raises(TypeError, match="half precision"):
        isotherm.entropic_value(half.detach(), y, epsilon=0.5)


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # torch 2.13's own, where a graph breaks
def test_compiled_functions_work():
    x = torch.randn(10, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    y = torch.randn(8, 2, generator=torch.Generator().manual_seed(1))

    def step(x):
        return 2.0 * isotherm.sinkhorn_divergence(3.0 * x, y, epsilon=0.5)

    compiled = torch.compile(step, backend="eager")
    torch.testing.assert_close(compiled(x), step(x))
    torch.testing.assert_close(grad(compiled(x), x), grad(step(x), x))


def test_cache_starts_warm_and_changes_nothing():
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(n, 2, generator=generator, dtype=torch.float64) for n in (60, 50))
    cache, counts = PotentialCache(), []

    class Counting(isotherm.LogSinkhorn):
        def work(self, problem, *, init=None, callback=None):
            solution = yield from isotherm.LogSinkhorn.work(self, problem, init=init, callback=callback)
            counts.append(solution.iterations)
            return solution

    settings = {"epsilon": 0.05, "solver": Counting(tolerance=1e-7)}
    cold = isotherm.sinkhorn_divergence(x, y, cache=cache, **settings)
    same = isotherm.sinkhorn_divergence(x, y, cache=cache, **settings)
    other = isotherm.sinkhorn_divergence(x[:31] + 0.01, y[:40], cache=cache, **settings)  # fewer points, and moved
    torch.testing.assert_close(same, cold, rtol=0, atol=1e-9)
    torch.testing.assert_close(
        other, isotherm.sinkhorn_divergence(x[:31] + 0.01, y[:40], **settings), rtol=0, atol=1e-9
    )
    assert counts[1] < counts[0] / 3
    with torch.inference_mode():
        isotherm.sinkhorn_divergence(x, y, cache=cache, **settings)
    free = x.clone().requires_grad_()
    isotherm.sinkhorn_divergence(free, y, cache=cache, **settings).backward()
    cache.clear()
    assert len(cache) == 0


def test_memory_is_linear_in_the_points():
    """N x M floats would take 3.6 GB here; autograd keeps nothing of that size."""
    x = torch.randn(30_000, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    y = torch.randn(30_000, 2, generator=torch.Generator().manual_seed(1))
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        value = isotherm.entropic_value(x, y, epsilon=30.0, tolerance=0.1)
    assert max(kept) <= x.numel()
    by_x = grad(value, x)[0]
    torch.testing.assert_close(by_x.sum(0), 2 * (x.detach().mean(0) - y.mean(0)), rtol=1e-2, atol=1e-3)


def test_failure_is_told_as_asked():
    g = given(10, 10, needs_grad=False)
    settings = {"epsilon": 0.001, "solver": isotherm.LogSinkhorn(max_iterations=1)}
    with pytest.warns(isotherm.ConvergenceWarning):
        isotherm.entropic_value(g.x, g.y, **settings)
    with pytest.raises(isotherm.ConvergenceError):
        isotherm.entropic_value(g.x, g.y, on_failure="raise", **settings)


def test_bad_input_says_what_to_do():
    x = torch.zeros(2, 3, 1)
    with pytest.raises(TypeError, match="both be batches"):
        isotherm.mmd(x, x[0])
    with pytest.raises(ValueError, match="as many problems"):
        isotherm.mmd(x, [x[0]])
    with pytest.raises(ValueError, match="each of the 2 problems"):
        isotherm.mmd(x, x, a=torch.ones(3))
    with pytest.raises(TypeError, match="Points are needed"):
        isotherm.sinkhorn_divergence(isotherm.CostMatrix(torch.zeros(2, 2)), epsilon=1.0)
    with pytest.raises(ValueError, match="one problem"):
        isotherm.transport(x, x, epsilon=1.0)
    with pytest.raises(ValueError, match="same mass"):
        isotherm.mmd(x[0], x[0], torch.ones(3))
    with pytest.raises(ValueError, match="at least 1"):
        isotherm.sliced_wasserstein(x, x, p=0.5)


def test_relative_temperatures_are_constants_of_the_derivative():
    g = given(6, 5, needs_grad=False)
    x = g.x.clone().requires_grad_()
    epsilon = isotherm.solve(g.x, g.y, epsilon=Relative(0.2)).epsilon
    found = grad(isotherm.transport_cost(x, g.y, epsilon=Relative(0.2), differentiation=Implicit()), x)
    torch.testing.assert_close(found, grad(isotherm.transport_cost(x, g.y, epsilon=epsilon), x))
