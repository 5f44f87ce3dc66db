"""Compiled kernels beside plain torch in the same dtype, both against float64: at most twice its error."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from isotherm import kernels
from isotherm.geometry import PointCloud
from isotherm.geometry.cost_matrix import stored_costs
from isotherm.kernels import RowUpdate, compiled

from .cpu_cases import COSTS, Case, make_case

pytestmark = pytest.mark.skipif(bool(compiled.why_missing()), reason="; ".join(compiled.why_missing()))
SETS = compiled.extension.instruction_sets() if compiled.extension else []
DTYPES = [torch.float32, torch.float64]


def step_from(case: Case, *, shift: float, update: RowUpdate) -> tuple[Tensor, Tensor, Tensor]:
    f = torch.where(case.p.isfinite(), case.p - case.log_a, 0.0) + shift * case.epsilon
    return kernels.sinkhorn_step(case.costs, f, case.h, case.log_a, update, epsilon=case.epsilon)


# What is compared, and whether it is a potential (absolute error) or a sum over the plan (error in its exponents).
POTENTIALS: dict[str, Callable[[Case], Tensor]] = {
    "softmin": lambda c: kernels.softmin(c.costs, c.h, epsilon=c.epsilon),
    "softmin, good guess": lambda c: kernels.softmin(c.costs, c.h, epsilon=c.epsilon, guess=c.p + 3 * c.epsilon),
    "softmin, bad guess": lambda c: kernels.softmin(c.costs, c.h, epsilon=c.epsilon, guess=c.p + 1e4 * c.epsilon),
    "hard_min": lambda c: kernels.hard_min(c.costs, c.h),
    "step, rows": lambda c: step_from(c, shift=0.3, update=RowUpdate())[0],
    "step, next": lambda c: step_from(c, shift=0.3, update=RowUpdate(0.8, 0.01, 1.3))[1],
    "step, columns": lambda c: step_from(c, shift=0.3, update=RowUpdate(0.8, 0.01, 1.3))[2],
    "step, columns, bad guess": lambda c: step_from(c, shift=1e4, update=RowUpdate())[2],
}
SUMS: dict[str, Callable[[Case], Tensor]] = {
    "plan_apply": lambda c: kernels.plan_apply(c.costs, c.p, c.h, c.values, epsilon=c.epsilon),
    "plan_apply, one": lambda c: kernels.plan_apply(
        c.costs, c.p, c.h, torch.ones_like(c.values[:, :1]), epsilon=c.epsilon
    ),
    "plan_cost": lambda c: kernels.plan_cost(c.costs, c.p, c.h, epsilon=c.epsilon),
    "conditional_mean": lambda c: kernels.conditional_mean(c.costs, c.h, c.values, epsilon=c.epsilon),
    "product_sum": lambda c: kernels.product_sum(c.costs, c.a, c.b),
    "square_deviation": lambda c: kernels.product_sum(c.costs, c.a, c.b, centre=torch.tensor(0.7, dtype=c.a.dtype)),
}
GRADIENTS: dict[str, Callable[[Case], Tensor]] = {
    "grad_x": lambda c: kernels.plan_grad(c.costs, c.p, c.h, epsilon=c.epsilon)[0],
    "grad_y": lambda c: kernels.plan_grad(c.costs, c.p, c.h, epsilon=c.epsilon)[1],
}


@pytest.fixture(params=SETS, autouse=True)
def instruction_set(request: pytest.FixtureRequest) -> Iterator[str]:
    before = compiled.extension.instruction_set()
    compiled.extension.choose_instruction_set(request.param)
    yield request.param
    compiled.extension.choose_instruction_set(before)


def check(case: Case) -> None:
    """Every kernel that applies to the case; says which fail and by how much."""
    unit = torch.finfo(case.h.dtype).eps
    exact_case = case.double()
    runs = {**POTENTIALS, **SUMS, **({} if "Matrix" in repr(case.costs) else GRADIENTS)}
    failures = []
    for name, run in runs.items():
        with kernels.use("reference"):
            exact, plain = run(exact_case), run(case).double()
        with kernels.use("cpu"):
            fused = run(case).double()
        assert not fused.isnan().any(), name
        assert torch.equal(fused.isinf(), exact.isinf()), name
        size = float(exact[exact.isfinite()].abs().amax()) if exact.numel() else 0.0
        if name in POTENTIALS:
            floor = 4 * unit * (size + case.epsilon * (1 + case.largest_exponent))
        else:
            weight = 1 + case.largest_exponent
            floor = 4 * unit * weight * max(size, float(plain_scale(case, name)))
        error, torch_error = (
            float((got - exact)[exact.isfinite()].abs().amax(dim=None)) if exact.numel() else 0.0
            for got in (fused, plain)
        )
        if not error <= 2 * torch_error + floor:
            failures.append(f"{name}: {error:.2e} > 2 x {torch_error:.2e} + {floor:.2e}")
    assert not failures, "; ".join(failures)


def plain_scale(case: Case, name: str) -> float:
    """Size of the terms of a sum that may cancel."""
    if name.startswith(("grad", "plan_cost", "product", "square")):
        return max(abs(bound) for bound in case.costs.double().cost_range()) ** (
            2 if name.startswith("square") else 1
        ) * float(case.a.max())
    return float(case.values.abs().max()) if name == "conditional_mean" else 0.0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["random", "clustered", "far", "zero_weight", "coincident"])
@pytest.mark.parametrize("cost", COSTS)
def test_cpu_error_is_at_most_twice_torchs(cost: str, kind: str, dtype: torch.dtype) -> None:
    check(make_case(cost, kind, dtype=dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("share", [1e-5, 1e-3, 1e4])
def test_cpu_error_at_extreme_temperatures(cost: str, share: float, dtype: torch.dtype) -> None:
    check(make_case(cost, share=share, dtype=dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dimension", [1, 2, 4, 5, 6, 7, 8, 9, 10, 17, 32, 64])
@pytest.mark.parametrize("cost", ["sqeuclidean", "euclidean", "cosine", "negative_dot"])
def test_cpu_error_in_every_dimension(cost: str, dimension: int, dtype: torch.dtype) -> None:
    check(make_case(cost, dimension=dimension, dtype=dtype))


@pytest.mark.parametrize("dimension", [3, 9, 17, 64])
def test_cpu_gradient_keeps_the_digits_that_near_points_share(dimension: int) -> None:
    """From sums of points and masses, instead of differences, it would lose them."""
    case = make_case("sqeuclidean", "clustered", dimension=dimension)
    for run in GRADIENTS.values():
        with kernels.use("reference"):
            exact, plain = run(case.double()), run(case).double()
        with kernels.use("cpu"):
            error = float((run(case).double() - exact).abs().max())
        assert error <= 2.0 * float((plain - exact).abs().max())


@pytest.mark.parametrize("dimension", [3, 9, 17, 64])
def test_cpu_gradient_of_coincident_points_at_tiny_epsilon_is_zero(dimension: int) -> None:
    case = make_case("sqeuclidean", "coincident", dimension=dimension, share=1e-5)
    with kernels.use("cpu"):
        for run in GRADIENTS.values():
            assert not run(case).any()


@pytest.mark.parametrize("dimension", [3, 17])
@pytest.mark.parametrize("sizes", [(1, 1), (1, 257), (7, 1), (7, 33), (257, 7), (33, 5000), (300, 1030)])
@pytest.mark.parametrize("cost", ["sqeuclidean", "euclidean", "stored", "stored_transposed"])
def test_cpu_error_at_odd_sizes(cost: str, sizes: tuple[int, int], dimension: int) -> None:
    check(make_case(cost, sizes=sizes, dimension=dimension))


def test_cpu_exponential_is_accurate_and_ends_at_zero() -> None:
    for dtype, lowest, bound in ((torch.float32, -120.0, 5e-7), (torch.float64, -1000.0, 1e-15)):
        exponents = torch.linspace(lowest, 30.0, 20001, dtype=dtype)
        costs = compiled.extension.Costs("stored", -exponents[:, None].contiguous(), None, 1.0, 0.0)
        zeros, ones = torch.zeros(len(exponents), dtype=dtype), torch.ones(1, 1, dtype=dtype)
        out = torch.empty(len(exponents), 1, dtype=dtype)
        epsilon = 1.0 / torch.tensor(2.0, dtype=torch.float64).log().item()  # 2^t = exp(t / epsilon)
        compiled.extension.plan_apply(costs, zeros, ones[0] * 0, ones, epsilon, out, 1)
        exact = torch.exp2(exponents.double())
        assert float(((out[:, 0].double() - exact) / exact).abs().max()) <= bound
        far = compiled.extension.Costs("stored", torch.tensor([[1e6], [torch.inf]], dtype=dtype), None, 1.0, 0.0)
        few = torch.ones(2, 1, dtype=dtype)
        compiled.extension.plan_apply(far, zeros[:2], ones[0] * 0, ones, 1.0, few, 1)
        assert few.tolist() == [[0.0], [0.0]]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cost", ["sqeuclidean", "euclidean"])
@pytest.mark.parametrize("dimension", [2, 12])
def test_cpu_gradient_is_finite_at_coincident_points(cost: str, dimension: int, dtype: torch.dtype) -> None:
    case = make_case(cost, "coincident", sizes=(9, 9), dimension=dimension, dtype=dtype, share=1e-3)
    with kernels.use("cpu"):
        by_x, by_y = kernels.plan_grad(case.costs, case.p, case.h, epsilon=case.epsilon)
    assert by_x.isfinite().all()
    assert by_y.isfinite().all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 70])
def test_cpu_mean_where_every_block_brings_a_larger_exponent(count: int, dtype: torch.dtype) -> None:
    """Targets from far to near: sums are scaled down again and again, by up to 2^-115 from one block to the next."""
    x, y = torch.rand(11, 1, dtype=dtype), torch.linspace(30.0, 0.5, 2500, dtype=dtype)[:, None]
    values = torch.cat([y, torch.cos(torch.arange(count - 1, dtype=dtype) + y)], dim=1)
    costs, h = PointCloud(x, y), torch.zeros(2500, dtype=dtype)
    with kernels.use("cpu"):
        fused = kernels.conditional_mean(costs, h, values, epsilon=1.0)
    with kernels.use("reference"):
        plain = kernels.conditional_mean(costs, h, values, epsilon=1.0).double()
        exact = kernels.conditional_mean(costs.double(), h.double(), values.double(), epsilon=1.0)
    floor = 16 * torch.finfo(dtype).eps
    assert float((fused.double() - exact).abs().max()) <= 2 * float((plain - exact).abs().max()) + floor


def test_cpu_mean_has_no_value_without_mass() -> None:
    costs = stored_costs(torch.tensor([[0.0, 1.0], [torch.inf, torch.inf]]), make_case("stored").costs.namespace)
    values = torch.tensor([[1.0], [torch.inf]])
    with kernels.use("cpu"):
        out = kernels.conditional_mean(costs, torch.tensor([0.0, -torch.inf]), values, epsilon=1.0)
    assert out[0].tolist() == [1.0]
    assert out[1].isnan().all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cost", ["sqeuclidean", "euclidean", "negative_dot"])
@pytest.mark.parametrize("dimension", [3, 64])
def test_cpu_gradient_of_both_clouds_agrees_with_one_at_a_time(cost: str, dimension: int, dtype: torch.dtype) -> None:
    """In one pass over more columns than fit one panel, and by the differentiable operator in two."""
    case = make_case(cost, sizes=(700, 4500), dimension=dimension, dtype=dtype)
    with kernels.use("cpu"):
        both = kernels.plan_grad(case.costs, case.p, case.h, epsilon=case.epsilon)
        one = kernels.plan_grad(case.costs, case.p.clone().requires_grad_(), case.h, epsilon=case.epsilon)
    for found, operator in zip(both, one, strict=True):
        scale = float(operator.detach().abs().max())
        assert float((found - operator.detach()).abs().max()) <= 64 * torch.finfo(dtype).eps * scale


def test_cpu_forbidden_pairs_and_sides_without_mass() -> None:
    costs = stored_costs(torch.tensor([[0.0, torch.inf], [torch.inf, torch.inf]]), make_case("stored").costs.namespace)
    h = torch.tensor([0.5, 0.5])
    nothing = torch.full((2,), -torch.inf)
    with kernels.use("cpu"):
        assert kernels.softmin(costs, h, epsilon=1.0).tolist() == pytest.approx([-0.5, torch.inf])
        assert kernels.softmin(costs, nothing, epsilon=1.0).tolist() == [torch.inf, torch.inf]
        assert kernels.softmin(costs, nothing, epsilon=1.0, guess=h).tolist() == [torch.inf, torch.inf]
        assert kernels.hard_min(costs, h).tolist() == [-0.5, torch.inf]
        assert kernels.plan_cost(costs, -h, h, epsilon=1.0).tolist() == [0.0, 0.0]
        assert kernels.plan_apply(costs, nothing, h, torch.ones(2, 1), epsilon=1.0).tolist() == [[0.0], [0.0]]


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_cpu_empty_side(shape: tuple[int, int]) -> None:
    costs = stored_costs(torch.empty(shape), make_case("stored").costs.namespace)
    f, h, v = torch.zeros(shape[0]), torch.zeros(shape[1]), torch.ones(shape[1], 2)
    with kernels.use("cpu"):
        assert kernels.softmin(costs, h, epsilon=1.0).tolist() == [torch.inf] * shape[0]
        assert kernels.hard_min(costs, h).tolist() == [torch.inf] * shape[0]
        assert kernels.plan_apply(costs, f, h, v, epsilon=1.0).tolist() == [[0.0, 0.0]] * shape[0]
        assert kernels.product_sum(costs, f, h).item() == 0.0
        step = kernels.sinkhorn_step(costs, f, h, f, RowUpdate(), epsilon=1.0)
        assert [len(part) for part in step] == [shape[0], shape[0], shape[1]]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "m"), [(1, 2), (7, 3), (64, 512), (65, 513), (131, 1031), (200, 9)])
def test_columns_of_a_stored_matrix_are_read_in_strips(n, m, dtype):
    """Strips of 64 rows and blocks of 512 columns, whole and not, on one thread and on two."""
    generator = torch.Generator().manual_seed(0)
    by_columns = torch.rand(m, n, generator=generator, dtype=dtype).T
    h, values = torch.randn(m, generator=generator, dtype=dtype), torch.randn(m, 2, generator=generator, dtype=dtype)
    by_columns[0, m // 2] = torch.inf
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            costs = kernels.Formula("stored", by_columns)
            softmin = kernels.softmin(costs, h, epsilon=0.1)
            found.append((softmin, kernels.plan_apply(costs, softmin, h, values, epsilon=0.1)))
    finally:
        torch.set_num_threads(before)
    scores = (h.double() - by_columns.double()) / 0.1
    unit = 50 * torch.finfo(dtype).eps
    torch.testing.assert_close(found[0][0].double(), -0.1 * scores.logsumexp(1), rtol=unit, atol=unit)
    torch.testing.assert_close(
        found[0][1].double(), scores.softmax(1) @ values.double(), rtol=20 * unit, atol=20 * unit
    )
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))
