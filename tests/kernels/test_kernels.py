"""Every kernel against three lines of dense float64 arithmetic, beside plain torch in the kernel's own dtype."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from isotherm import kernels
from isotherm.geometry import PointCloud
from isotherm.kernels import source

DTYPES = [torch.float32, torch.float64]
INF = math.inf


@dataclass(frozen=True)
class Matrix:
    """The plainest source of costs: a stored matrix, +inf allowed."""

    costs: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        return self.costs.shape[0], self.costs.shape[1]

    @property
    def dtype(self) -> torch.dtype:
        return self.costs.dtype

    @property
    def device(self) -> torch.device:
        return self.costs.device

    def block(self, rows: slice | Tensor) -> Tensor:
        return self.costs[rows]


# What each kernel is, on dense tensors of any dtype: the oracle in float64, plain torch in the dtype at hand.
def dense_plan(c: SimpleNamespace) -> Tensor:
    return ((c.p[:, None] + c.q - c.costs) / c.epsilon).exp()


def dense_conditional(c: SimpleNamespace) -> Tensor:
    return torch.softmax((c.h - c.costs) / c.epsilon, 1)


def dense_plan_cost(c: SimpleNamespace) -> Tensor:
    plan = dense_plan(c)
    return torch.where(plan > 0, plan * c.costs, 0.0).sum(1)


def dense_square_deviation(c: SimpleNamespace) -> Tensor:
    pairs = torch.outer(c.a, c.b)
    return torch.where(pairs > 0, pairs * (c.costs - c.centre).square(), 0.0).sum()


def dense_product_sum(c: SimpleNamespace) -> Tensor:
    pairs = torch.outer(c.a, c.b)
    return torch.where(pairs > 0, pairs * c.costs, 0.0).sum()


DENSE: dict[str, Callable[[SimpleNamespace], Tensor]] = {
    "softmin": lambda c: -c.epsilon * torch.logsumexp((c.h - c.costs) / c.epsilon, 1),
    "hard_min": lambda c: (c.costs - c.h).amin(1),
    "plan_block": dense_plan,
    "plan_apply": lambda c: dense_plan(c) @ c.values,
    "plan_cost": dense_plan_cost,
    "conditional_block": dense_conditional,
    "conditional_mean": lambda c: dense_conditional(c) @ c.values,
    "product_sum": dense_product_sum,
    "square_deviation": dense_square_deviation,
}
KERNELS: dict[str, Callable[[SimpleNamespace], Tensor]] = {
    "softmin": lambda c: kernels.softmin(c.source, c.h, epsilon=c.epsilon),
    "hard_min": lambda c: kernels.hard_min(c.source, c.h),
    "plan_block": lambda c: kernels.plan_block(c.source, c.p, c.q, slice(None), epsilon=c.epsilon),
    "plan_apply": lambda c: kernels.plan_apply(c.source, c.p, c.q, c.values, epsilon=c.epsilon),
    "plan_cost": lambda c: kernels.plan_cost(c.source, c.p, c.q, epsilon=c.epsilon),
    "conditional_block": lambda c: kernels.conditional_block(c.source, c.h, slice(None), epsilon=c.epsilon),
    "conditional_mean": lambda c: kernels.conditional_mean(c.source, c.h, c.values, epsilon=c.epsilon),
    "product_sum": lambda c: kernels.product_sum(c.source, c.a, c.b),
    "square_deviation": lambda c: kernels.product_sum(c.source, c.a, c.b, centre=c.centre),
}


def squares(x: Tensor, y: Tensor) -> Tensor:
    return (x[:, None] - y).square().sum(-1)


def clouds(generator: torch.Generator, n: int, m: int, *, offset: float = 0.0, spread: float = 1.0, d: int = 3):
    """Points around an offset; with a small spread, in four clusters."""
    centres = torch.zeros(n + m, d) if spread == 1.0 else 4.0 * torch.randn(4, d, generator=generator)
    which = torch.randint(centres.shape[0], (n + m,), generator=generator)
    points = offset + centres[which] + spread * torch.randn(n + m, d, generator=generator, dtype=torch.float64)
    return points[:n], points[n:]


def case(x: Tensor, y: Tensor, dtype: torch.dtype, *, heat: float = 0.1, seed: int = 0) -> SimpleNamespace:
    """Arguments of every kernel at some heat, with potentials near the optimal ones so that P has mass about one."""
    x, y = x.to(dtype), y.to(dtype)
    costs = squares(x.double(), y.double())
    epsilon = heat * float(costs.mean()) or 1.0
    return arguments(costs, epsilon, dtype, seed=seed, source=PointCloud(x, y), plain=squares(x, y))


def arguments(
    costs: Tensor, epsilon: float, dtype: torch.dtype, *, seed: int, source=None, plain: Tensor | None = None
) -> SimpleNamespace:
    """Random weights and values; h from one Sinkhorn step on the float64 costs."""
    generator = torch.Generator().manual_seed(seed)
    n, m = costs.shape
    a, b = (0.1 + torch.rand(size, generator=generator, dtype=torch.float64) for size in (n, m))
    a, b = a / a.sum(), b / b.sum()
    f = -epsilon * torch.logsumexp(b.log() - costs / epsilon, 1)
    g = -epsilon * torch.logsumexp((a.log() + f / epsilon)[:, None] - costs / epsilon, 0)
    f, g = (torch.where(t.isfinite(), t, 0.0) for t in (f, g))
    values = torch.randn(m, 2, generator=generator, dtype=torch.float64)
    centre = torch.where(costs.isfinite(), costs, 0.0).mean()
    arrays = {"h": g + epsilon * b.log(), "p": f + epsilon * a.log(), "q": g + epsilon * b.log(), "a": a, "b": b}
    arrays |= {"values": values, "centre": centre}
    arrays = {name: array.to(dtype) for name, array in arrays.items()}
    plain = costs.to(dtype) if plain is None else plain
    return SimpleNamespace(**arrays, epsilon=epsilon, costs=plain, exact_costs=costs, source=source or Matrix(plain))


def in_double(c: SimpleNamespace) -> SimpleNamespace:
    arrays = {name: array.double() for name, array in vars(c).items() if isinstance(array, Tensor)}
    return SimpleNamespace(**{**arrays, "costs": c.exact_costs, "epsilon": c.epsilon})


def assert_as_good_as_plain(found: Tensor, plain: Tensor, truth: Tensor, unit: float | None = None) -> None:
    """Error at most twice plain torch's in the same dtype, plus a few roundings of `unit` (the largest entry)."""
    assert found.dtype == plain.dtype
    assert found.shape == truth.shape
    kept = truth.isfinite()
    assert torch.equal(found[~kept].double(), truth[~kept]), "infinite entries differ"
    if not kept.any():
        return
    error, allowed = ((t.double() - truth)[kept].abs().max() for t in (found, plain))
    floor = 16 * torch.finfo(found.dtype).eps * (float(truth[kept].abs().max()) if unit is None else unit)
    floor += 1e3 * torch.finfo(found.dtype).tiny  # raised underflows
    assert error <= 2 * allowed + floor, f"error {error:.3g}, plain torch {allowed:.3g}, floor {floor:.3g}"


def assert_kernel(name: str, c: SimpleNamespace) -> None:
    """As good as plain torch; in float64, where plain torch is the oracle itself, within the rounding of exponents."""
    truth, plain = DENSE[name](in_double(c)), DENSE[name](c)
    unit = rounding_unit(name, c, truth) if c.h.dtype == torch.float64 or name in DIFFERENCES else None
    assert_as_good_as_plain(KERNELS[name](c), plain, truth, unit)


DIFFERENCES = ("softmin", "hard_min", "square_deviation")  # their result may be smaller than the roundings of its terms


def rounding_unit(name: str, c: SimpleNamespace, truth: Tensor) -> float:
    """What one rounding is a share of: the terms of a difference, or the result times the largest exponent."""
    terms = sum(float(t[t.isfinite()].abs().max()) for t in (c.p, c.h, c.exact_costs) if t.isfinite().any())
    if name in DIFFERENCES:
        return terms**2 if name == "square_deviation" else terms
    finite = truth[truth.isfinite()]
    return float(finite.abs().max()) * (1.0 + terms / c.epsilon) if finite.numel() else 0.0


PROBLEMS: dict[str, Callable[[torch.dtype], SimpleNamespace]] = {
    "random": lambda dtype: case(*clouds(torch.Generator().manual_seed(0), 37, 23), dtype),
    "clustered": lambda dtype: case(*clouds(torch.Generator().manual_seed(1), 31, 45, spread=0.01), dtype),
    "offset_1e3": lambda dtype: case(*clouds(torch.Generator().manual_seed(2), 20, 17, offset=1e3), dtype),
    "offset_1e6": lambda dtype: case(*clouds(torch.Generator().manual_seed(3), 20, 17, offset=1e6), dtype),
    "cold": lambda dtype: case(*clouds(torch.Generator().manual_seed(4), 19, 21), dtype, heat=1e-6),
    "hot": lambda dtype: case(*clouds(torch.Generator().manual_seed(5), 19, 21), dtype, heat=1e6),
    "one_row": lambda dtype: case(*clouds(torch.Generator().manual_seed(6), 1, 13), dtype),
    "one_column": lambda dtype: case(*clouds(torch.Generator().manual_seed(7), 13, 1), dtype),
    "one_pair": lambda dtype: case(*clouds(torch.Generator().manual_seed(8), 1, 1), dtype),
    "on_a_line": lambda dtype: case(*clouds(torch.Generator().manual_seed(9), 33, 34, d=1), dtype),
    "several_blocks": lambda dtype: case(*clouds(torch.Generator().manual_seed(10), 601, 599), dtype),
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("kernel", KERNELS)
def test_kernel_is_as_exact_as_plain_torch(kernel, problem, dtype):
    assert_kernel(kernel, PROBLEMS[problem](dtype))


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernel_check_can_fail(kernel):
    c = PROBLEMS["random"](torch.float64)
    truth = DENSE[kernel](in_double(c))
    with pytest.raises(AssertionError, match=r"error"):
        assert_as_good_as_plain(truth * (1 + 1e-13), truth, truth)
    with pytest.raises(AssertionError, match=r"infinite"):
        assert_as_good_as_plain(truth, truth, torch.full_like(truth, INF))


@pytest.mark.parametrize("entries", [1, 7, 23, 24, 100])
@pytest.mark.parametrize("kernel", KERNELS)
def test_kernel_does_not_depend_on_the_block_size(kernel, entries, monkeypatch):
    c = PROBLEMS["random"](torch.float64)  # 37 x 23
    whole = KERNELS[kernel](c)
    monkeypatch.setattr(source, "BLOCK_ENTRIES", entries)
    torch.testing.assert_close(KERNELS[kernel](c), whole, rtol=1e-13, atol=1e-15)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    n=st.integers(1, 12),
    m=st.integers(1, 12),
    heat=st.sampled_from([1e-3, 0.1, 10.0]),
    seed=st.integers(0, 2**31),
    dtype=st.sampled_from(DTYPES),
)
def test_kernel_is_exact_up_to_the_rounding_of_its_exponents(n, m, heat, seed, dtype):
    generator = torch.Generator().manual_seed(seed)
    c = case(*clouds(generator, n, m), dtype, heat=heat, seed=seed)
    for kernel, run in KERNELS.items():
        truth = DENSE[kernel](in_double(c))
        assert_as_good_as_plain(run(c), truth.to(dtype), truth, rounding_unit(kernel, c, truth))


# ------------------------------------------------------------------------------- points without mass, forbidden pairs


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kernel", KERNELS)
def test_kernel_ignores_points_without_mass(kernel, dtype):
    c = PROBLEMS["random"](dtype)
    rows, columns = torch.arange(37) % 3 > 0, torch.arange(23) % 4 > 0
    c.p[~rows] = c.h[~columns] = c.q[~columns] = -INF
    c.a[~rows], c.b[~columns] = 0.0, 0.0
    assert_kernel(kernel, c)
    smaller = SimpleNamespace(**vars(c))
    smaller.source = PointCloud(c.source.x, c.source.y[columns])
    smaller.h, smaller.q, smaller.b, smaller.values = c.h[columns], c.q[columns], c.b[columns], c.values[columns]
    found, without = KERNELS[kernel](c), KERNELS[kernel](smaller)
    if kernel in ("plan_block", "conditional_block"):
        assert torch.equal(found[:, ~columns], torch.zeros_like(found[:, ~columns]))
        found = found[:, columns]
    torch.testing.assert_close(
        found, without, rtol=100 * torch.finfo(dtype).eps, atol=1e-6 if dtype.itemsize == 4 else 1e-13
    )


@pytest.mark.parametrize("kernel", ["plan_block", "plan_apply", "plan_cost"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_plan_of_points_without_mass_is_exactly_zero(kernel, dtype):
    c = PROBLEMS["random"](dtype)
    c.p[::2] = -INF
    assert torch.equal(KERNELS[kernel](c)[::2], torch.zeros_like(KERNELS[kernel](c)[::2]))
    c.p[:], c.q[:] = 0.0, -INF
    assert torch.equal(KERNELS[kernel](c), torch.zeros_like(KERNELS[kernel](c)))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_minima_of_no_target_are_infinite(dtype):
    c = PROBLEMS["random"](dtype)
    c.h[:] = -INF
    for kernel in ("softmin", "hard_min"):
        found = KERNELS[kernel](c)
        assert torch.equal(found, torch.full_like(found, INF))
    empty = Matrix(torch.zeros(3, 0, dtype=dtype))
    none = torch.zeros(0, dtype=dtype)
    assert torch.equal(kernels.softmin(empty, none, epsilon=1.0), torch.full((3,), INF, dtype=dtype))
    assert torch.equal(kernels.hard_min(empty, none), torch.full((3,), INF, dtype=dtype))


def test_kernels_of_no_target_or_no_source_are_empty_sums():
    p, none = torch.zeros(3), torch.zeros(0)
    wide, tall = Matrix(torch.zeros(0, 3)), Matrix(torch.zeros(3, 0))
    assert torch.equal(kernels.plan_apply(tall, p, none, torch.zeros(0, 2), epsilon=1.0), torch.zeros(3, 2))
    assert kernels.plan_apply(wide, none, p, torch.zeros(3, 2), epsilon=1.0).shape == (0, 2)
    assert kernels.softmin(wide, p, epsilon=1.0).shape == (0,)
    assert kernels.conditional_mean(wide, p, torch.zeros(3, 2), epsilon=1.0).shape == (0, 2)
    assert kernels.product_sum(wide, none, p) == kernels.product_sum(tall, p, none) == 0.0


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    "kernel", ["softmin", "hard_min", "plan_block", "plan_apply", "conditional_block", "conditional_mean"]
)
def test_kernel_takes_infinite_costs_as_forbidden_pairs(kernel, dtype):
    generator = torch.Generator().manual_seed(0)
    costs = torch.rand(14, 11, generator=generator, dtype=torch.float64)
    costs[torch.rand(14, 11, generator=generator) < 0.4] = INF
    costs[:, 0] = 0.5  # every source can go somewhere
    assert_kernel(kernel, arguments(costs, 0.2, dtype, seed=0))


def test_softmin_of_a_source_that_may_go_nowhere_is_infinite():
    costs = torch.tensor([[INF, INF], [0.0, INF]])
    assert kernels.softmin(Matrix(costs), torch.zeros(2), epsilon=1.0).tolist() == [INF, 0.0]
    assert kernels.hard_min(Matrix(costs), torch.zeros(2)).tolist() == [INF, 0.0]


def test_product_sum_charges_infinite_costs_only_where_both_sides_have_mass():
    costs = torch.tensor([[1.0, INF], [2.0, 3.0]], dtype=torch.float64)
    a, b = torch.tensor([0.0, 1.0], dtype=torch.float64), torch.tensor([0.5, 0.5], dtype=torch.float64)
    assert kernels.product_sum(Matrix(costs), a, b) == 2.5
    assert kernels.product_sum(Matrix(costs), a.flip(0), b) == INF
    assert kernels.product_sum(Matrix(costs), a, b, centre=torch.tensor(2.0).double()) == 0.5


# ------------------------------------------------------------------------------------------ what each kernel promises


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_softmin_tends_to_the_hard_minimum(dtype):
    c = PROBLEMS["random"](dtype)
    h = torch.randn(23, generator=torch.Generator().manual_seed(0)).to(dtype)
    cold = kernels.softmin(c.source, h, epsilon=1e-6)
    torch.testing.assert_close(cold, kernels.hard_min(c.source, h), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shift", [-1e4, 1e4])
def test_softmin_never_over_or_underflows(shift, dtype):
    c = PROBLEMS["random"](dtype)
    shifted = kernels.softmin(c.source, c.h + shift, epsilon=1e-3)
    assert shifted.isfinite().all()
    torch.testing.assert_close(shifted + shift, kernels.softmin(c.source, c.h, epsilon=1e-3), rtol=1e-5, atol=4e-3)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("heat", [1e-8, 1e-3, 1.0, 1e8])
def test_conditional_rows_sum_to_one_at_every_temperature(heat, dtype):
    c = case(*clouds(torch.Generator().manual_seed(0), 17, 19), dtype, heat=heat)
    laws = kernels.conditional_block(c.source, c.h, slice(None), epsilon=c.epsilon)
    assert (laws >= 0).all()
    torch.testing.assert_close(laws.sum(1), torch.ones_like(c.p), rtol=1e-5, atol=0.0)
    ones = kernels.conditional_mean(c.source, c.h, torch.ones(19, 1, dtype=dtype), epsilon=c.epsilon)
    torch.testing.assert_close(ones[:, 0], torch.ones_like(c.p), rtol=1e-5, atol=0.0)


@pytest.mark.parametrize("kernel", ["plan_block", "conditional_block"])
def test_rows_can_be_chosen_by_index(kernel):
    c = PROBLEMS["random"](torch.float64)
    chosen = torch.tensor([5, 0, 36, 5])
    call = {
        "plan_block": lambda rows: kernels.plan_block(c.source, c.p, c.q, rows, epsilon=c.epsilon),
        "conditional_block": lambda rows: kernels.conditional_block(c.source, c.h, rows, epsilon=c.epsilon),
    }[kernel]
    assert torch.equal(call(chosen), call(slice(None))[chosen])


def test_plan_cost_charges_other_costs_where_asked():
    c = PROBLEMS["random"](torch.float64)
    paid = Matrix(torch.randn(37, 23, generator=torch.Generator().manual_seed(3), dtype=torch.float64))
    found = kernels.plan_cost(c.source, c.p, c.q, epsilon=c.epsilon, paid=paid)
    torch.testing.assert_close(found, (dense_plan(in_double(c)) * paid.costs).sum(1), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernel_leaves_its_arguments_alone(kernel):
    stored = PROBLEMS["random"](torch.float64)
    c = SimpleNamespace(**{**vars(stored), "source": Matrix(stored.costs.clone())})  # its blocks are views
    before = {name: array.clone() for name, array in vars(c).items() if isinstance(array, Tensor)}
    KERNELS[kernel](c)
    assert torch.equal(c.source.costs, stored.costs)
    for name, array in before.items():
        assert torch.equal(getattr(c, name), array), name


@settings(deadline=None, derandomize=True, max_examples=100)
@given(n=st.integers(0, 40), m=st.integers(0, 40), entries=st.integers(1, 200))
def test_row_blocks_cover_every_row_once_in_order(n, m, entries):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "BLOCK_ENTRIES", entries)
        blocks = list(kernels.row_blocks(SimpleNamespace(shape=(n, m))))
    assert [row for block in blocks for row in range(block.start, block.stop)] == list(range(n))
    assert all(block.stop - block.start == 1 or (block.stop - block.start) * m <= entries for block in blocks)


def test_log_sum_exp_takes_infinite_entries():
    scores = torch.tensor([[0.0, -INF], [-INF, -INF], [1e30, -1e30], [3.0, 3.0]])
    assert kernels.log_sum_exp(scores).tolist() == pytest.approx([0.0, -INF, 1e30, 3.0 + math.log(2.0)])
