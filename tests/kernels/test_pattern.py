"""Reductions over a list of pairs of cells: plain torch with +inf elsewhere is the definition."""

from __future__ import annotations

import pytest
import torch

from isotherm import kernels
from isotherm.kernels import CELL, BlockPattern, Formula
from isotherm.kernels.compiled import extension

pytestmark = pytest.mark.skipif(bool(kernels.backends()["cpu"]), reason="lists of pairs are read by compiled kernels")

KINDS = ["sqeuclidean", "euclidean", "dot"]
EPSILON = 0.3


def make_pattern(sources: int, targets: int, *, share: float, seed: int = 0) -> BlockPattern:
    """A random list in which each cell meets at least one."""
    generator = torch.Generator().manual_seed(seed)
    rows, columns = -(-sources // CELL), -(-targets // CELL)
    meets = torch.rand(rows, columns, generator=generator) < share
    meets[torch.arange(max(rows, columns)) % rows, torch.arange(max(rows, columns)) % columns] = True
    starts = torch.cat([torch.zeros(1, dtype=torch.int64), meets.sum(1).cumsum(0)])
    orders = (torch.randperm(size, generator=generator) for size in (sources, targets))
    return BlockPattern.from_list(*orders, starts, meets.nonzero()[:, 1].int())


def make_case(kind, dtype, sizes=(331, 517), dimension=3):
    generator = torch.Generator().manual_seed(1)
    x, y = (torch.randn(size, dimension, generator=generator, dtype=torch.float64).to(dtype) for size in sizes)
    p, h = (0.1 * torch.randn(size, generator=generator, dtype=torch.float64).to(dtype) for size in sizes)
    p[3], h[5], h[70:90] = -torch.inf, -torch.inf, -torch.inf
    values = torch.randn(sizes[1], 5, generator=generator, dtype=torch.float64).to(dtype)
    formula = Formula(kind, x, y, -1.0 if kind == "dot" else 0.5, 0.25, make_pattern(*sizes, share=0.4))
    return formula, p, h, values


REDUCTIONS = {
    "softmin": lambda c, p, h, v: kernels.softmin(c, h, epsilon=EPSILON),
    "softmin, guessed": lambda c, p, h, v: kernels.softmin(c, h, epsilon=EPSILON, guess=torch.ones_like(p)),
    "hard_min": lambda c, p, h, v: kernels.hard_min(c, h),
    "plan_apply": lambda c, p, h, v: kernels.plan_apply(c, p, h, v, epsilon=EPSILON),
    "conditional_mean": lambda c, p, h, v: kernels.conditional_mean(c, h, v, epsilon=EPSILON),
    "plan_grad, sources": lambda c, p, h, v: kernels.plan_grad(c, p, h, epsilon=EPSILON)[0],
    "plan_grad, targets": lambda c, p, h, v: kernels.plan_grad(c, p, h, epsilon=EPSILON)[1],
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reduction_meets_the_list_and_nothing_else(name, kind, dtype):
    formula, *given = make_case(kind, dtype)
    with kernels.use("cpu"):
        got = REDUCTIONS[name](formula, *given)
    precise = Formula(kind, formula.x.double(), formula.y.double(), formula.scale, formula.offset, formula.pattern)
    with kernels.use("reference"):
        truth = REDUCTIONS[name](precise, *(t.double() for t in given))
    assert bool(truth.isfinite().all())
    assert torch.allclose(got.double(), truth, rtol=0, atol=100 * torch.finfo(dtype).eps * float(truth.abs().max()))
    without = Formula(kind, formula.x, formula.y, formula.scale, formula.offset)
    assert not torch.allclose(got, REDUCTIONS[name](without, *given), rtol=1e-3, atol=0.0)


def test_cost_of_the_plan_meets_the_list():
    formula, p, h, _ = make_case("sqeuclidean", torch.float64)
    meets = formula.pattern.meets(slice(None))
    cost = Formula("sqeuclidean", formula.x, formula.y, formula.scale, formula.offset).block(slice(None))
    plan = ((p[:, None] + h - cost) / EPSILON).exp() * meets
    assert torch.allclose(kernels.plan_cost(formula, p, h, epsilon=EPSILON), (plan * cost).sum(1))


@pytest.mark.parametrize("kind", KINDS)
def test_one_iteration_is_two_soft_minima(kind):
    formula, p, h, _ = make_case(kind, torch.float64)
    update, f = kernels.RowUpdate(damping=0.8, shift=0.1, relaxation=1.3), torch.zeros_like(p)
    log_a = torch.where(p > -torch.inf, 0.01 * torch.ones_like(p), p)
    with kernels.use("cpu"):
        raw, updated, g = kernels.sinkhorn_step(formula, f, h, log_a, update, epsilon=EPSILON)
    with kernels.use("reference"):
        expected = kernels.sinkhorn_step(formula, f, h, log_a, update, epsilon=EPSILON)
    for got, truth in zip((raw, updated, g), expected, strict=True):
        assert torch.allclose(got, truth, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("start", ["close", "far off", "one row in the lead"])
def test_iteration_survives_any_guess(start, dtype):
    formula, p, h, _ = make_case("sqeuclidean", dtype)
    f = kernels.softmin(formula, h, epsilon=EPSILON) + (0.0 if start == "close" else 500.0)
    log_a = torch.where(p > -torch.inf, torch.full_like(p, -0.2), p)
    if start == "one row in the lead":  # its columns drown the sums of all others
        log_a[7] = 60.0
    update = kernels.RowUpdate()
    with kernels.use("cpu"):
        got = kernels.sinkhorn_step(formula, f, h, log_a, update, epsilon=EPSILON)
    with kernels.use("reference"):
        precise = Formula("sqeuclidean", formula.x.double(), formula.y.double(), 0.5, 0.25, formula.pattern)
        truth = kernels.sinkhorn_step(precise, f.double(), h.double(), log_a.double(), update, epsilon=EPSILON)
    for one, other in zip(got, truth, strict=True):
        assert torch.allclose(one.double(), other, rtol=1e-5, atol=1e-5 if dtype == torch.float32 else 1e-10)


@pytest.mark.parametrize("sizes", [(1, 1), (64, 65), (63, 200), (1000, 3)])
def test_sizes_at_the_edges_of_cells(sizes):
    formula, p, h, _ = make_case("sqeuclidean", torch.float64, sizes=(max(sizes[0], 4), max(sizes[1], 91)))
    x, y, h = formula.x[: sizes[0]], formula.y[: sizes[1]], h[: sizes[1]].nan_to_num(neginf=-3.0)
    cut = Formula("sqeuclidean", x, y, pattern=make_pattern(*sizes, share=0.5))
    truth = torch.logsumexp((h - cut.block(slice(None))) / EPSILON, 1) * -EPSILON
    assert torch.allclose(kernels.softmin(cut, h, epsilon=EPSILON), truth)
    back = torch.logsumexp((p[: sizes[0]] - cut.transpose().block(slice(None))) / EPSILON, 1) * -EPSILON
    assert torch.allclose(kernels.softmin(cut.transpose(), p[: sizes[0]], epsilon=EPSILON), back)


def test_cell_that_meets_nothing_has_an_infinite_softmin():
    pattern = BlockPattern.from_list(
        torch.arange(100), torch.arange(10), torch.tensor([0, 1, 1]), torch.zeros(1, dtype=torch.int32)
    )
    formula = Formula("sqeuclidean", torch.zeros(100, 2), torch.zeros(10, 2), pattern=pattern)
    f = kernels.softmin(formula, torch.zeros(10), epsilon=1.0)
    assert bool(f[:64].isfinite().all())
    assert bool((f[64:] == torch.inf).all())


def test_gradients_are_those_of_the_definition():
    formula, p, h, values = make_case("sqeuclidean", torch.float64, sizes=(130, 140))
    p, h = p.nan_to_num(neginf=-0.2), h.nan_to_num(neginf=-0.2)
    leaves = [t.clone().requires_grad_() for t in (formula.x, formula.y, p, h, values)]

    def total(x, y, p, h, values):
        costs = Formula("sqeuclidean", x, y, 0.5, 0.25, formula.pattern)
        return (
            kernels.softmin(costs, h, epsilon=EPSILON).sin().sum()
            + kernels.plan_apply(costs, p, h, values, epsilon=EPSILON).square().sum()
        )

    with kernels.use("cpu"):
        got = torch.autograd.grad(total(*leaves), leaves)
    with kernels.use("reference"):
        truth = torch.autograd.grad(total(*leaves), leaves)
    for one, other in zip(got, truth, strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-9 * float(other.abs().max()))


def test_operators_pass_the_checks_of_torch():
    formula, _, h, _ = make_case("sqeuclidean", torch.float64, sizes=(70, 80), dimension=2)
    given = (formula.x.requires_grad_(), formula.y, h.nan_to_num(neginf=0.0), None, *formula.settings, EPSILON)
    torch.library.opcheck(torch.ops.isotherm.softmin.default, given)


def test_pattern_counts_its_pairs():
    pattern = make_pattern(331, 517, share=0.4)
    meets = pattern.meets(slice(None))
    back = pattern.transpose().meets(slice(None))
    assert torch.equal(meets.T, back)
    assert pattern.density == len(pattern.blocks) / (6 * 9)
    assert pattern.bytes == sum(t.nbytes for t in pattern.tensors)


def test_triton_refuses_a_list():
    formula, *_ = make_case("sqeuclidean", torch.float32)
    assert any("list of pairs" in reason for reason in kernels.triton_launch.why_not(formula))


@pytest.mark.parametrize(
    ("starts", "blocks", "message"),
    [
        ([0, 1], None, "together"),
        ([0, 2], [1, 0], "rising"),
        ([0, 1], [7], "rising"),
        ([0, 5], [0], "rise from 0"),
        ([0, 1, 1], [0], "length 2"),
    ],
)
def test_lists_that_point_elsewhere_are_refused(starts, blocks, message):
    starts = torch.tensor(starts)
    blocks = None if blocks is None else torch.tensor(blocks, dtype=torch.int32)
    with pytest.raises(ValueError, match=message):
        extension.Costs("sqeuclidean", torch.zeros(5, 2), torch.zeros(100, 2), 1.0, 0.0, starts, blocks, CELL)
