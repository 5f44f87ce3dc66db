"""The entropic coupling beyond the exam: maps for new points, potentials, memory, both ends of the dial."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import isotherm
from isotherm import CostMatrix, EntropicCoupling, Grid, PointCloud, Problem
from isotherm.testing import GaussianTransport, duplicates, random_problem, two_by_two

COSTS = ["sqeuclidean", "half_sqeuclidean", "euclidean", "cosine", "negative_dot"]
INF = float("inf")


def normal(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def weights(size: int, *, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Spread over a factor of a thousand, mass one."""
    spread = torch.rand(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    values = torch.pow(10.0, -3.0 * spread)
    return (values / values.sum()).to(dtype)


def random_coupling(
    n: int, m: int, *, d: int = 2, seed: int, cost="sqeuclidean", dtype: torch.dtype = torch.float64, **settings
) -> EntropicCoupling:
    """Random clouds, random weights, random potentials: nothing here has converged."""
    geometry = PointCloud(normal(n, d, seed=seed, dtype=dtype), normal(m, d, seed=seed + 1, dtype=dtype), cost)
    a, b = weights(n, seed=seed, dtype=dtype), weights(m, seed=seed + 1, dtype=dtype)
    problem = Problem(geometry, a, b, **{"epsilon": 0.4, **settings})
    return EntropicCoupling(problem, normal(n, seed=seed + 2, dtype=dtype), normal(m, seed=seed + 3, dtype=dtype))


def close(found, expected, rtol: float = 1e-9, atol: float = 1e-11) -> None:
    torch.testing.assert_close(torch.as_tensor(found), torch.as_tensor(expected), rtol=rtol, atol=atol)


# ------------------------------------------------------------------------------------------- the map for new points


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    n=st.integers(1, 9),
    m=st.integers(1, 9),
    d=st.sampled_from([1, 2, 9]),
    cost=st.sampled_from(COSTS),
    seed=st.integers(0, 2**30),
    rho=st.sampled_from([INF, 0.7]),
)
def test_map_equals_the_barycentric_map_on_training_points_for_random_weights(n, m, d, cost, seed, rho):
    coupling = random_coupling(n, m, d=d, cost=cost, seed=seed, rho_a=rho)
    x, y = coupling.problem.geometry.x, coupling.problem.geometry.y
    close(coupling.map(x), coupling.barycentric_map())
    close(coupling.transpose().map(y), coupling.transpose().barycentric_map())
    values = normal(m, 3, seed=seed)
    close(coupling.map(x, values), coupling.barycentric_map(values))
    close(coupling.map(x, values[:, 0]), coupling.barycentric_map(values[:, 0]))


def test_map_check_can_fail():
    coupling = random_coupling(8, 7, seed=0)
    uniform = Problem(coupling.problem.geometry, epsilon=0.4)
    unweighted = EntropicCoupling(uniform, coupling.f, coupling.g)  # what forgetting the weights gives
    with pytest.raises(AssertionError, match=r"not close"):
        close(unweighted.map(coupling.problem.geometry.x), coupling.barycentric_map())


@pytest.mark.parametrize("cost", COSTS)
def test_map_at_new_points_is_its_formula(cost):
    coupling = random_coupling(8, 7, cost=cost, seed=3)
    new = 2.0 * normal(20, 2, seed=9)
    costs = coupling.problem.geometry.cost.pairwise(new, coupling.problem.geometry.y)
    masses = coupling.problem.b * torch.exp((coupling.g - costs) / 0.4)
    laws = masses / masses.sum(1, keepdim=True)
    close(coupling.map(new), laws @ coupling.problem.geometry.y)
    close(coupling.potential(new), -0.4 * masses.sum(1).log())
    swapped = coupling.problem.a * torch.exp(
        (coupling.f - coupling.problem.geometry.cost.pairwise(new, coupling.problem.geometry.x)) / 0.4
    )
    close(coupling.transpose().map(new), swapped / swapped.sum(1, keepdim=True) @ coupling.problem.geometry.x)


def test_map_of_a_grid_at_its_nodes_is_the_barycentric_map():
    grid = Grid((normal(3, seed=1), normal(4, seed=2)), target_axes=(normal(5, seed=3), normal(2, seed=4)))
    problem = Problem(grid, weights(12, seed=1), weights(10, seed=2), epsilon=0.4)
    coupling = EntropicCoupling(problem, normal(12, seed=5), normal(10, seed=6))
    close(coupling.map(grid.source_points), coupling.barycentric_map())
    close(coupling.transpose().map(grid.target_points), coupling.transpose().barycentric_map())
    close(coupling.map(grid.source_points[:2] + 0.1).shape, torch.Size([2, 2]))


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_map_in_float32_agrees_with_float64(offset):
    x, y = offset + normal(30, 3, seed=1), offset + normal(20, 3, seed=2)
    x, y = x.float(), y.float()
    a, b, g = weights(30, seed=1), weights(20, seed=2), normal(20, seed=3)
    new = x[:5] + 0.25
    maps = []
    for dtype in (torch.float32, torch.float64):
        problem = Problem(PointCloud(x.to(dtype), y.to(dtype)), a.to(dtype), b.to(dtype), epsilon=0.5)
        maps.append(EntropicCoupling(problem, torch.zeros(30, dtype=dtype), g.to(dtype)).map(new.to(dtype)))
    assert maps[0].dtype == torch.float32
    close(maps[0].double() - offset, maps[1] - offset, rtol=0.0, atol=2e-5 + 5e-7 * offset)


def test_map_of_a_point_ignores_the_rest_of_the_batch():
    coupling = random_coupling(50, 40, seed=5, dtype=torch.float32)
    new = normal(20, 2, seed=6, dtype=torch.float32)
    batch = torch.cat([new, torch.full((1, 2), 1e7)])
    close(coupling.map(batch)[:20], coupling.map(new), rtol=1e-4, atol=1e-5)
    close(coupling.potential(batch)[:20], coupling.potential(new), rtol=1e-4, atol=1e-5)


def test_map_far_away_is_the_nearest_end_of_the_targets():
    coupling = random_coupling(8, 7, d=1, seed=7)
    targets = coupling.problem.geometry.y
    close(coupling.map(torch.tensor([-1e6, 1e6]).double()), torch.stack([targets.min(), targets.max()])[:, None])


def test_map_keeps_library_dtype_and_arguments():
    x, y = normal(8, 2, seed=1).numpy(), normal(7, 2, seed=2).numpy()
    coupling = EntropicCoupling(Problem(PointCloud(x, y), epsilon=0.4), normal(8, seed=3), normal(7, seed=4))
    before = x.copy()
    found = coupling.map(x)
    assert isinstance(found, np.ndarray)
    assert found.dtype == np.float64
    assert isinstance(coupling.potential(x), np.ndarray)
    assert np.array_equal(x, before)
    line = random_coupling(8, 7, d=1, seed=1)
    close(line.map(normal(4, seed=2)), line.map(normal(4, 1, seed=2)))  # a vector is points on the line


def test_map_refuses_bad_points():
    coupling = random_coupling(8, 7, seed=0)
    with pytest.raises(ValueError, match=r"`x_new` and `y` must have the same number of features: got 3 and 2"):
        coupling.map(torch.zeros(4, 3))
    with pytest.raises(ValueError, match=r"`x_new` must be finite"):
        coupling.map(torch.full((4, 2), torch.nan))
    with pytest.raises(TypeError, match=r"`x_new` must hold real numbers"):
        coupling.map([["a", "b"]])
    with pytest.raises(ValueError, match=r"`values` must have one entry per point, shape \(7,\)"):
        coupling.map(torch.zeros(4, 2), torch.zeros(8))
    for bad in ((0, 2), (1, 2, 2)):
        with pytest.raises(ValueError, match=r"`x_new`"):
            coupling.potential(torch.zeros(bad))


@pytest.mark.parametrize("ask", ["map", "potential", "map with values"])
@pytest.mark.parametrize("kind", ["matrix", "reference"])
def test_map_of_costs_or_of_a_reference_is_refused(kind, ask):
    if kind == "matrix":
        problem = Problem(CostMatrix(normal(8, 7, seed=0)), epsilon=0.4)
    else:
        problem = Problem(
            PointCloud(normal(8, 2, seed=0), normal(7, 2, seed=1)), epsilon=0.4, reference=np.ones((8, 7))
        )
    coupling = EntropicCoupling(problem, torch.zeros(8).double(), torch.zeros(7).double())
    call = {
        "map": lambda: coupling.map(torch.zeros(2, 2)),
        "potential": lambda: coupling.potential(torch.zeros(2, 2)),
        "map with values": lambda: coupling.map(torch.zeros(2, 2), torch.zeros(7)),
    }[ask]
    with pytest.raises(
        TypeError, match=r"New points can be mapped only where the cost is a function of points"
    ) as info:
        call()
    assert ("cost matrix" if kind == "matrix" else "reference") in str(info.value).partition("Solve it as")[0]


# ------------------------------------------------------------------------------------------------------- potentials


@pytest.mark.parametrize(("rho_a", "rho_b"), [(INF, INF), (0.8, INF), (INF, 0.8), (0.8, 3.0)])
def test_potential_at_training_points_is_f_when_converged(rho_a, rho_b):
    known = random_problem(15, 11, 2, generator=0)
    solution = isotherm.solve(
        known.x,
        known.y,
        known.a,
        known.b,
        epsilon=known.epsilon,
        rho_a=rho_a,
        rho_b=rho_b,
        solver="log",
        tolerance=1e-12,
    )
    atol = 1e-8 * known.scale
    close(solution.coupling.potential(known.x), solution.f, rtol=0.0, atol=atol)
    close(solution.coupling.transpose().potential(known.y), solution.g, rtol=0.0, atol=atol)


def test_potential_of_duplicates_is_equal():
    known = duplicates(generator=0)
    problem = Problem(PointCloud(known.x, known.y), known.a, known.b, epsilon=known.epsilon)
    found = EntropicCoupling(problem, known.f, known.g).potential(known.x)
    close(found, known.f)
    close(found[:5], found[5:10], rtol=0.0, atol=0.0)


def test_map_of_gaussians_is_the_closed_form():
    generator = torch.Generator().manual_seed(0)
    line = torch.linspace(-6.0, 6.0, 241, dtype=torch.float64)
    one = torch.ones(1, dtype=torch.float64)
    known = GaussianTransport(0.0 * one, one[None], 0.5 * one, 0.5 * one[None], epsilon=1.0)
    a = torch.exp(-0.5 * line**2)
    b = torch.exp(-0.5 * (line - 0.5) ** 2 / 0.5)
    x, y = line[:, None], line[:, None]
    problem = Problem(PointCloud(x, y), a / a.sum(), b / b.sum(), epsilon=1.0)
    coupling = EntropicCoupling(problem, known.f(x), known.g(y))
    new = torch.randn(10, 1, generator=generator, dtype=torch.float64)
    close(coupling.map(new), known.map(new), rtol=1e-6, atol=1e-6)
    close(coupling.potential(new), known.f(new), rtol=1e-6, atol=1e-6)


# ----------------------------------------------------------------------------------------------------------- memory


def huge() -> EntropicCoupling:
    size = 10**6
    problem = Problem(PointCloud(torch.zeros(size, 1), torch.zeros(size, 1)), epsilon=1.0)
    return EntropicCoupling(problem, torch.zeros(size), torch.zeros(size))


@pytest.mark.parametrize(
    "ask",
    [
        lambda coupling: coupling.to_dense(),
        lambda coupling: coupling.transpose().to_dense(),
        lambda coupling: coupling.conditional(np.arange(10**6)),
        lambda coupling: coupling.top_k(10**6),
    ],
    ids=["to_dense", "transposed", "conditional", "top_k"],
)
def test_dense_object_that_would_not_fit_is_refused_before_any_work(ask, monkeypatch):
    coupling = huge()
    for work in ("block", "softmin", "plan_apply"):
        monkeypatch.setattr(PointCloud, work, lambda *_, **__: pytest.fail("worked before it refused"))
    with pytest.raises(MemoryError, match=r"1000000 x .*needs \d+\.\d GiB of memory and \d+\.\d GiB are free. Use"):
        ask(coupling)


def test_dense_object_says_how_many_gib_it_needs():
    with pytest.raises(MemoryError, match=r"The dense plan of 1000000 x 1000000 needs 3725\.3 GiB"):
        huge().to_dense()


# ------------------------------------------------------------------------------------------ the ends of the dial


def test_coupling_of_a_permutation_has_no_entropy_and_of_a_product_all_of_it():
    points = torch.arange(6.0, dtype=torch.float64)
    problem = Problem(
        PointCloud(points, points[torch.randperm(6, generator=torch.Generator().manual_seed(0))]), epsilon=1e-3
    )
    matched = EntropicCoupling(problem, *(torch.full((6,), 0.5 * 1e-3 * np.log(6.0)).double() for _ in range(2)))
    assert matched.normalised_entropy() == pytest.approx(0.0, abs=1e-9)
    geometry = PointCloud(points, points)
    product = EntropicCoupling(
        Problem(geometry, weights(6, seed=1), weights(6, seed=2), epsilon=1e12),
        torch.zeros(6).double(),
        torch.zeros(6).double(),
    )
    assert product.normalised_entropy() == pytest.approx(1.0, abs=1e-9)
    close(product.to_dense(), torch.outer(weights(6, seed=1), weights(6, seed=2)))


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 10.0])
def test_coupling_of_the_worked_example_is_the_closed_form(epsilon):
    known = two_by_two(epsilon)
    problem = Problem(CostMatrix(torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)), epsilon=epsilon)
    coupling = EntropicCoupling(problem, known.f, known.g)
    close(coupling.to_dense(), known.plan)
    assert float(coupling.transport_cost()) == pytest.approx(known.transport_cost, rel=1e-12)


def test_coupling_samples_every_source_once_when_weights_are_equal():
    x, y = normal(300, 2, seed=1), normal(200, 2, seed=2)
    solution = isotherm.solve(x, y, epsilon=0.1, tolerance=1e-3)  # rough: the source marginal is a little off
    for seed in range(50):
        i, _ = solution.coupling.sample(300, generator=torch.Generator().manual_seed(seed))
        assert torch.equal(i, torch.arange(300))


def test_coupling_samples_do_not_depend_on_the_block_size(monkeypatch):
    coupling = random_coupling(20, 15, seed=0)
    i, j = coupling.sample(500, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr("isotherm.coupling.conditional.BLOCK_ENTRIES", 40)
    again = coupling.sample(500, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again[0], i)
    assert torch.equal(again[1], j)
