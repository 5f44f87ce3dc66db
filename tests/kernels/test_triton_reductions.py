"""Triton kernels against the dense definition in float64; in Triton's interpreter where there is no CUDA device.

An error may be twice that of plain torch in the same dtype, and a few roundings of the largest number that enters.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import pytest
import torch
from torch import Tensor

from isotherm import kernels
from isotherm.geometry.costs import distances, squared_distances
from isotherm.kernels.source import Formula
from isotherm.kernels.triton_launch import Tiles, sizes, why_not

if TYPE_CHECKING:
    from collections.abc import Callable

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
if DEVICE == "cpu":  # must be set before triton is imported for the first time
    os.environ.setdefault("TRITON_INTERPRET", "1")
REASON = "needs triton: pip install 'isotherm[triton]'"
softmin = pytest.importorskip("isotherm.kernels.softmin.triton", reason=REASON, exc_type=ImportError)
hard_min = pytest.importorskip("isotherm.kernels.hard_min.triton", reason=REASON, exc_type=ImportError)
plan_apply = pytest.importorskip("isotherm.kernels.plan_apply.triton", reason=REASON, exc_type=ImportError)
plan_grad = pytest.importorskip("isotherm.kernels.plan_grad.triton", reason=REASON, exc_type=ImportError)
conditional = pytest.importorskip("isotherm.kernels.conditional.triton", reason=REASON, exc_type=ImportError)

# NumPy's exp2 reports the overflow that tells the kernel to sum again; a GPU has no such report.
pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered in exp2:RuntimeWarning")

TILES = Tiles(32, 32, 16)  # several steps of every loop at sizes that the interpreter can do
KINDS = ("sqeuclidean", "euclidean", "dot", "stored")


class Case(NamedTuple):
    """One problem: costs, a potential on either side, values of the targets, a temperature."""

    costs: Formula
    p: Tensor  # (N,)
    q: Tensor  # (M,)
    values: Tensor  # (M, 3)
    epsilon: float

    def to(self, dtype: torch.dtype) -> Case:
        """The same numbers in another dtype."""
        y = None if self.costs.y is None else self.costs.y.to(dtype)
        costs = replace(self.costs, x=self.costs.x.to(dtype), y=y)
        return Case(costs, self.p.to(dtype), self.q.to(dtype), self.values.to(dtype), self.epsilon)

    @property
    def magnitude(self) -> float:
        """Largest number that enters an exponent, units of cost."""
        numbers = [t[t.isfinite()].abs() for t in (self.p, self.q, dense_cost(self.costs))]
        if self.costs.kind == "sqeuclidean" and sizes(self.costs)[2] > 8:
            numbers += [2.0 * t.square().sum(1) for t in (self.costs.x, self.costs.y) if t is not None]
        return max((float(t.max()) for t in numbers if t.numel()), default=0.0)


def dense_cost(costs: Formula) -> Tensor:
    """All costs in the dtype of the points, shape (N, M), as plain torch computes them."""
    if costs.y is None:
        return costs.scale * costs.x + costs.offset
    form = {"sqeuclidean": squared_distances, "euclidean": distances, "dot": lambda x, y: x @ y.T}[costs.kind]
    return costs.scale * form(costs.x, costs.y) + costs.offset


def make_case(
    kind: str, *, sources: int = 65, targets: int = 33, dimension: int = 3, epsilon: float = 0.5, name: str = "random"
) -> Case:
    """A random problem in float32, its points centred as a geometry would."""
    generator = torch.Generator().manual_seed(sources + 100 * targets + 10_000 * dimension)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    x, y = normal(sources, dimension), normal(targets, dimension)
    if name == "clustered":
        x, y = 3.0 * x.sign() + 0.01 * normal(*x.shape), 3.0 * y.sign() + 0.01 * normal(*y.shape)
    if name == "far":
        x, y = x + 1e3, y + 1e3
        centre = torch.cat([x, y]).double().mean(0)
        x, y = (x.double() - centre).float(), (y.double() - centre).float()
    if name == "coincident":
        y = x[:targets].clone()
        y[targets // 2 :] = y[:1]
    p, q = 0.3 * normal(sources), 0.3 * normal(targets)
    if name == "zero weights":
        p[::3], q[1::2] = -torch.inf, -torch.inf
    scale, offset = (-1.0, 1.0) if kind == "dot" else (0.5, 0.0)
    costs = Formula(kind, x, y, scale, offset)
    if kind == "stored":
        costs = Formula(kind, squared_distances(x, y) if dimension else x.new_zeros(sources, targets), None, 0.5, 0.1)
    case = Case(costs, p, q, normal(targets, 3), epsilon)
    return Case(*(move(part) for part in case))


def move(part: object) -> object:
    """Tensors to the device under test."""
    if isinstance(part, Formula):
        return replace(part, x=part.x.to(DEVICE), y=None if part.y is None else part.y.to(DEVICE))
    return part.to(DEVICE) if isinstance(part, Tensor) else part


def plain_softmin(case: Case) -> Tensor:
    """The definition of the softmin."""
    return -case.epsilon * torch.logsumexp((case.q - dense_cost(case.costs)) / case.epsilon, 1)


def plain_plan(case: Case) -> Tensor:
    """The plan, (N, M)."""
    return ((case.p[:, None] + case.q - dense_cost(case.costs)) / case.epsilon).exp()


def normalised(case: Case) -> Case:
    """The same problem with p replaced by the softmin, so that every row of the plan has mass one or none."""
    exact = plain_softmin(case.to(torch.float64)).to(case.p.dtype)
    return case._replace(p=torch.where(case.p > -torch.inf, exact, case.p))


def plain_grad(case: Case) -> Tensor:
    """Gradient of <P, C> in x with P held fixed, by autograd."""
    x = case.costs.x.detach().requires_grad_(True)
    paid = (plain_plan(case) * dense_cost(replace(case.costs, x=x))).sum()
    return torch.autograd.grad(paid, x)[0]


def plain_mean(case: Case) -> Tensor:
    """The barycentric map."""
    return torch.softmax((case.q - dense_cost(case.costs)) / case.epsilon, 1) @ case.values


def assert_as_good_as_torch(
    ours: Callable[[Case], Tensor], plain: Callable[[Case], Tensor], case: Case, *, floor: float
) -> None:
    """Largest error of ours at most twice plain torch's, both against float64, and `floor`."""
    result, exact = ours(case), plain(case.to(torch.float64))
    assert result.dtype == case.q.dtype
    assert result.shape == exact.shape
    both_infinite = (result == exact.to(result.dtype)) & ~exact.isfinite()
    error, allowed = (
        torch.where(both_infinite, 0.0, (r - exact).abs()) for r in (result.double(), plain(case).double())
    )
    assert not error.numel() or float(error.max()) <= 2.0 * float(allowed.max()) + floor, (
        f"error {float(error.max()):.3g}, plain torch {float(allowed.max()):.3g}, floor {floor:.3g}"
    )


def rounding(case: Case, *, times: float = 4.0) -> float:
    """A few roundings of the largest number in an exponent, units of cost; epsilon rounds the logarithm."""
    return times * torch.finfo(case.q.dtype).eps * (case.magnitude + case.epsilon)


def relative_rounding(case: Case, result: Tensor) -> float:
    """What those roundings do to sums over the plan of the size of `result`."""
    finite = result[result.isfinite()].abs()
    return (rounding(case) / case.epsilon) * (float(finite.max()) if finite.numel() else 0.0)


def check_softmin(case: Case) -> None:
    """Softmin without a guess, with a good one, a bad one and a hopeless one."""

    def run(case: Case, guess: Tensor | None = None) -> Tensor:
        return softmin.launch_softmin(case.costs, case.q, epsilon=case.epsilon, guess=guess, tiles=TILES)

    good = plain_softmin(case.to(torch.float64)).to(case.q.dtype)
    guesses = [None, good + 0.1 * case.epsilon, good + 1e4 * case.epsilon]
    for guess in guesses:
        assert_as_good_as_torch(lambda c, g=guess: run(c, g), plain_softmin, case, floor=rounding(case))


def check_plan(case: Case) -> None:
    """Everything that sums over the plan."""
    case = normalised(case)

    def apply(c: Case, **kind: object) -> Tensor:
        return plan_apply.launch_plan_apply(c.costs, c.p, c.q, c.values, epsilon=c.epsilon, tiles=TILES, **kind)

    def rows(c: Case) -> Tensor:
        return plan_apply.plan_rows(c.costs, c.p, c.q, epsilon=c.epsilon, tiles=TILES)

    def cost(c: Case) -> Tensor:
        return plan_apply.plan_cost(c.costs, c.p, c.q, epsilon=c.epsilon, tiles=TILES)

    def mean(c: Case) -> Tensor:
        return conditional.launch_conditional_mean(c.costs, c.q, c.values, epsilon=c.epsilon, tiles=TILES)

    def grad(c: Case) -> Tensor:
        return plan_grad.source_grad(c.costs, c.p, c.q, epsilon=c.epsilon, tiles=TILES)

    reductions: list[tuple[Callable[[Case], Tensor], Callable[[Case], Tensor]]] = [
        (apply, lambda c: plain_plan(c) @ c.values),
        (rows, lambda c: plain_plan(c).sum(1)),
        (cost, lambda c: (plain_plan(c) * dense_cost(c.costs)).sum(1)),
        (mean, plain_mean),
    ]
    if case.costs.kind != "stored":
        reductions.append((grad, plain_grad))
    for ours, plain in reductions:
        size = plain(case.to(torch.float64))
        floor = relative_rounding(case, torch.cat([size.flatten(), case.values.double().flatten()]))
        assert_as_good_as_torch(ours, plain, case, floor=floor)


@pytest.mark.parametrize("dimension", [1, 2, 3, 8, 9, 16, 33])
@pytest.mark.parametrize("kind", KINDS)
def test_triton_reductions_match_definition_in_every_dimension(kind: str, dimension: int) -> None:
    case = make_case(kind, sources=33, targets=34, dimension=dimension, epsilon=0.1 * dimension)
    check_softmin(case)
    check_plan(case)


@pytest.mark.parametrize("name", ["clustered", "far", "coincident", "zero weights"])
@pytest.mark.parametrize(
    ("kind", "dimension"), [("sqeuclidean", 3), ("sqeuclidean", 9), ("euclidean", 3), ("dot", 2), ("stored", 2)]
)
def test_triton_reductions_match_definition_on_hard_inputs(kind: str, dimension: int, name: str) -> None:
    case = make_case(kind, sources=35, targets=33, dimension=dimension, name=name)
    check_softmin(case)
    check_plan(case)


@pytest.mark.parametrize(("sources", "targets"), [(1, 1), (1, 65), (7, 1), (65, 7), (33, 33)])
def test_triton_reductions_match_definition_at_odd_sizes(sources: int, targets: int) -> None:
    case = make_case("sqeuclidean", sources=sources, targets=targets)
    check_softmin(case)
    check_plan(case)


@pytest.mark.parametrize("epsilon", [1e-5, 1e-2, 1e4])
@pytest.mark.parametrize("kind", KINDS)
def test_triton_softmin_matches_definition_at_extreme_temperatures(kind: str, epsilon: float) -> None:
    check_softmin(make_case(kind, epsilon=epsilon))


@pytest.mark.parametrize("kind", KINDS)
def test_triton_reductions_keep_float64(kind: str) -> None:
    case = make_case(kind, sources=33, targets=20, dimension=9).to(torch.float64)
    check_softmin(case)
    check_plan(case)


@pytest.mark.parametrize("columns", [0, 1, 3, 20])
@pytest.mark.parametrize(("kind", "dimension"), [("sqeuclidean", 3), ("sqeuclidean", 9), ("euclidean", 3), ("dot", 2)])
def test_triton_gradient_weighs_the_plan(kind: str, dimension: int, columns: int) -> None:
    case = normalised(make_case(kind, sources=33, targets=20, dimension=dimension, name="zero weights"))
    case = case.to(torch.float64)
    generator = torch.Generator().manual_seed(1)
    left, right = (torch.randn(n, columns, generator=generator, dtype=torch.float64).to(DEVICE) for n in (33, 20))
    x = case.costs.x.clone().requires_grad_()
    paid = (plain_plan(case) * (left @ right.T) * dense_cost(replace(case.costs, x=x))).sum()
    (exact,) = torch.autograd.grad(paid, x)
    right[case.q == -torch.inf] = torch.nan  # never read
    ours = plan_grad.source_grad(case.costs, case.p, case.q, (left, right), epsilon=case.epsilon, tiles=TILES)
    torch.testing.assert_close(ours, exact)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_triton_hard_min_is_a_feasible_dual(kind: str, dtype: torch.dtype) -> None:
    case = make_case(kind, dimension=9, name="zero weights").to(dtype)
    assert_as_good_as_torch(
        lambda c: hard_min.hard_min(c.costs, c.q, tiles=TILES),
        lambda c: (dense_cost(c.costs) - c.q).amin(1),
        case,
        floor=rounding(case),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_triton_transpose_sums_over_the_sources(kind: str) -> None:
    case = normalised(make_case(kind, sources=20, targets=33))
    ours = plan_apply.plan_rows(case.costs.transpose(), case.q, case.p, epsilon=case.epsilon, tiles=TILES)
    exact = plain_plan(case.to(torch.float64)).sum(0)
    torch.testing.assert_close(ours.double(), exact, rtol=relative_rounding(case, torch.ones(1)), atol=0.0)


def test_triton_empty_sides() -> None:
    case = make_case("sqeuclidean", sources=3, targets=3)
    none = case.costs.x[:0]
    no_targets, no_sources = replace(case.costs, y=none), replace(case.costs, x=none)
    assert softmin.softmin(no_targets, case.q[:0], epsilon=0.5).tolist() == [torch.inf] * 3
    assert hard_min.hard_min(no_targets, case.q[:0]).tolist() == [torch.inf] * 3
    assert (
        plan_apply.launch_plan_apply(no_targets, case.p, case.q[:0], case.values[:0], epsilon=0.5).tolist()
        == [[0.0] * 3] * 3
    )
    assert plan_grad.source_grad(no_targets, case.p, case.q[:0], epsilon=0.5).tolist() == [[0.0] * 3] * 3
    assert softmin.softmin(no_sources, case.q, epsilon=0.5).shape == (0,)
    assert plan_apply.plan_cost(no_sources, case.p[:0], case.q, epsilon=0.5).shape == (0,)


def test_triton_no_mass_is_exact() -> None:
    case = make_case("sqeuclidean", sources=3, targets=5)
    nothing = torch.full_like(case.q, -torch.inf)
    for guess in (None, torch.zeros(3, device=DEVICE), torch.full((3,), torch.inf, device=DEVICE)):
        assert softmin.softmin(case.costs, nothing, epsilon=0.5, guess=guess).tolist() == [torch.inf] * 3
    values = torch.full_like(case.values, torch.nan)
    assert plan_apply.launch_plan_apply(case.costs, case.p, nothing, values, epsilon=0.5).tolist() == [[0.0] * 3] * 3
    assert plan_apply.plan_rows(case.costs, nothing[:3], case.q, epsilon=0.5).tolist() == [0.0] * 3


@pytest.mark.parametrize(
    ("kind", "dimension"), [("sqeuclidean", 3), ("sqeuclidean", 9), ("euclidean", 3), ("euclidean", 9), ("dot", 3)]
)
def test_triton_gradient_is_finite_where_points_coincide(kind: str, dimension: int) -> None:
    case = make_case(kind, sources=9, targets=9, dimension=dimension)
    case = case._replace(costs=replace(case.costs, y=case.costs.x.clone()))
    assert plan_grad.source_grad(case.costs, case.p, case.q, epsilon=0.5).isfinite().all()


def test_triton_forbidden_pairs_have_no_mass_and_pay_nothing() -> None:
    case = make_case("stored", sources=5, targets=7)
    matrix = case.costs.x.clone()
    matrix[0], matrix[1, 2] = torch.inf, torch.inf
    case = case._replace(costs=replace(case.costs, x=matrix))
    result = softmin.softmin(case.costs, case.q, epsilon=0.5)
    torch.testing.assert_close(result, plain_softmin(case))
    paid = plan_apply.plan_cost(case.costs, case.p, case.q, epsilon=0.5)
    exact = (plain_plan(case) * dense_cost(case.costs)).nan_to_num(0.0).sum(1)
    torch.testing.assert_close(paid, exact)


@pytest.mark.parametrize("has_guess", [False, True])
def test_triton_ragged_batch_equals_one_by_one(has_guess: bool) -> None:
    sizes = [(3, 5), (0, 2), (40, 1), (7, 0), (33, 35)]
    case = make_case("sqeuclidean", sources=sum(n for n, _ in sizes), targets=sum(m for _, m in sizes))
    x_starts, y_starts = (
        torch.tensor([0, *(pair[side] for pair in sizes)], device=DEVICE).cumsum(0) for side in (0, 1)
    )
    guess = case.p if has_guess else None
    ours = softmin.softmin_ragged(case.costs, case.q, (x_starts, y_starts, 40), epsilon=0.5, guess=guess, tiles=TILES)
    assert case.costs.y is not None
    for k in range(len(sizes)):
        mine, theirs = (slice(int(starts[k]), int(starts[k + 1])) for starts in (x_starts, y_starts))
        part = replace(case.costs, x=case.costs.x[mine], y=case.costs.y[theirs])
        torch.testing.assert_close(ours[mine], plain_softmin(case._replace(costs=part, q=case.q[theirs])))


def test_triton_writes_into_out() -> None:
    case = make_case("sqeuclidean", sources=5, targets=7)
    out = torch.empty(5, device=DEVICE)
    assert softmin.launch_softmin(case.costs, case.q, epsilon=0.5, out=out) is out
    torch.testing.assert_close(out, plain_softmin(case))


def test_triton_precision_is_named() -> None:
    case = make_case("sqeuclidean", sources=3, targets=4, dimension=9)
    result = softmin.launch_softmin(case.costs, case.q, epsilon=0.5, precision="tf32")
    torch.testing.assert_close(result, plain_softmin(case), rtol=1e-2, atol=1e-2)
    with pytest.raises(ValueError, match="one of float32, tf32: got 'half'"):
        softmin.launch_softmin(case.costs, case.q, epsilon=0.5, precision="half")


def test_triton_why_not_names_each_reason() -> None:
    case = make_case("sqeuclidean", sources=3, targets=3)
    assert why_not(case.costs, case.q) == []
    assert "dtypes are" in why_not(case.costs, case.q.double())[0]
    assert "float16" in why_not(replace(case.costs, x=case.costs.x.half(), y=case.costs.y.half()), case.q.half())[0]
    assert "'cosine'" in why_not(replace(case.costs, kind="cosine"))[0]
    assert "without targets" in why_not(replace(case.costs, y=None))[0]


def test_triton_why_not_on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert "need CUDA (or TRITON_INTERPRET=1)" in why_not(Formula("dot", torch.zeros(1, 1), torch.zeros(1, 1)))[0]


def test_triton_check_can_fail() -> None:
    case = make_case("sqeuclidean", sources=3, targets=3)
    with pytest.raises(AssertionError, match="plain torch"):
        assert_as_good_as_torch(lambda c: plain_softmin(c) + 1e-3, plain_softmin, case, floor=rounding(case))


@pytest.mark.parametrize("kind", ["sqeuclidean", "euclidean", "dot", "stored"])
@pytest.mark.parametrize("name", ["random", "zero weights"])
def test_triton_plan_hessian_matches_definition(kind: str, name: str) -> None:
    case = make_case(kind, name=name)
    values = move(torch.randn(len(case.p), 2, generator=torch.Generator().manual_seed(1)))

    def dense(dtype: torch.dtype) -> Tensor:
        scores = case.p[:, None] + case.q - dense_cost(case.costs)
        plan = (scores.to(dtype) / case.epsilon).exp()
        inverse = torch.where(plan.sum(0) > 0, 1.0 / plan.sum(0), 0.0)
        v = values.to(dtype)
        return (plan.sum(1, keepdim=True) * v - plan @ (inverse[:, None] * (plan.T @ v))) / case.epsilon

    truth = dense(torch.float64)
    with kernels.use("triton"):
        found = kernels.plan_hessian(case.costs, case.p, case.q, values, epsilon=case.epsilon)
    plain = (dense(torch.float32).double() - truth).abs().max()
    assert (found.double() - truth).abs().max() <= 2 * plain + 1e-6 * truth.abs().max()
    if name == "zero weights":
        assert not found[::3].any()
