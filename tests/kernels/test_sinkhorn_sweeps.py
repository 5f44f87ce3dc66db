"""Blocks of relaxed sweeps against the definition, one update after the other, in float64."""

import math
from dataclasses import replace
from importlib import import_module

import pytest
import torch
from torch import Tensor

from isotherm import kernels
from isotherm.kernels import (
    Formula,
    GridCosts,
    RowUpdate,
    Sweeps,
    Swept,
    compiled,
    is_swept,
    sinkhorn_step,
    sinkhorn_sweeps,
    sort_into_cells,
)

needs_extension = pytest.mark.skipif(bool(compiled.why_missing()), reason="; ".join(compiled.why_missing()))
BACKENDS = ["reference", pytest.param("cpu", marks=needs_extension)]
CASES = {
    "odd sizes": {"n": 61, "m": 47},
    "one point each": {"n": 1, "m": 1},
    "one source": {"n": 1, "m": 70, "epsilon": 0.2},
    "many dimensions": {"n": 7, "m": 130, "d": 11, "epsilon": 0.02},
    "relaxed": {"n": 64, "m": 65, "omega": 1.4, "count": 12},
    "small epsilon": {"n": 130, "m": 90, "d": 2, "epsilon": 1e-4, "count": 30},
    "tiny epsilon": {"n": 20, "m": 30, "epsilon": 1e-6, "count": 8},
    "huge epsilon": {"n": 20, "m": 30, "epsilon": 1e6},
    "unbalanced": {"n": 33, "m": 65, "rho_a": 0.5, "rho_b": 2.0, "omega": 1.3, "count": 8},
    "half balanced": {"n": 33, "m": 65, "rho_a": 0.5},
    "zero weights": {"n": 64, "m": 65, "zero": True, "omega": 1.2, "count": 8},
    "weights over twelve orders": {"n": 40, "m": 50, "spread": 12.0, "epsilon": 0.02, "count": 20},
    "several strands": {"n": 700, "m": 900, "epsilon": 0.01, "count": 6, "omega": 1.3},
}


def problem(
    n: int, m: int, d: int = 3, *, spread: float = 0.0, zero: bool = False, kind: str = "sqeuclidean", **settings
) -> Sweeps:
    """A random problem in float64 on the unit cube, from potentials of zero."""
    generator = torch.Generator().manual_seed(0)
    x, y, a, b = (torch.rand(*s, generator=generator, dtype=torch.float64) for s in ((n, d), (m, d), (n,), (m,)))
    a, b = 10 ** (-spread * a) + 0.01 * (spread == 0), 10 ** (-spread * b) + 0.01 * (spread == 0)
    if zero:
        a[::3] = 0
        b[1::4] = 0
    f, g = torch.zeros(n, dtype=torch.float64), torch.zeros(m, dtype=torch.float64)
    settings = {"epsilon": 0.05, "count": 5, **settings}
    return Sweeps(costs=Formula(kind, x, y), a=a / a.sum(), b=b / b.sum(), f=f, g=g, **settings)


GRIDS = {
    "a square": {"sizes": (17, 17)},
    "a rectangle": {"sizes": (33, 57), "count": 3},
    "two grids": {"sizes": (13, 19), "targets": (20, 7), "omega": 1.4, "count": 12},
    "one axis": {"sizes": (70,), "targets": (65,)},
    "three axes": {"sizes": (5, 9, 6), "targets": (7, 4, 11), "omega": 1.3},
    "an axis of one node": {"sizes": (1, 40), "targets": (3, 1)},
    "one node": {"sizes": (1,)},
    "small epsilon": {"sizes": (11, 15), "epsilon": 1e-4, "count": 30},
    "tiny epsilon": {"sizes": (6, 7), "epsilon": 1e-7, "count": 8},
    "huge epsilon": {"sizes": (6, 7), "epsilon": 1e6},
    "unbalanced": {"sizes": (9, 14), "rho_a": 0.5, "rho_b": 2.0, "omega": 1.3, "count": 8},
    "half balanced": {"sizes": (9, 14), "rho_b": 0.5},
    "zero weights": {"sizes": (19, 14), "zero": True, "omega": 1.2, "count": 8},
    "weights over twelve orders": {"sizes": (9, 14), "spread": 12.0, "epsilon": 0.02, "count": 20},
}


def grid_problem(sizes: tuple[int, ...], targets: tuple[int, ...] | None = None, **settings) -> Sweeps:
    """A random problem between two grids of the unit cube, its axes spaced at random."""
    axes = [(n, m) for n, m in zip(sizes, targets or sizes, strict=True)]
    generator = torch.Generator().manual_seed(1)
    nodes = [[torch.rand(n, 1, generator=generator, dtype=torch.float64) for n in pair] for pair in axes]
    costs = GridCosts(tuple((x - y.T).square() for x, y in nodes))
    return replace(problem(*costs.shape, **settings), costs=costs)


def cast(p: Sweeps, dtype: torch.dtype, *, stored: bool = False) -> Sweeps:
    costs = p.costs
    if isinstance(costs, GridCosts):
        return replace(p, costs=costs.to(dtype), **{name: getattr(p, name).to(dtype) for name in ("a", "b", "f", "g")})
    tensors = (t.to(dtype) for t in costs.tensors)
    costs = Formula("stored", costs.block(slice(None)).to(dtype)) if stored else Formula(costs.kind, *tensors)
    return replace(p, costs=costs, **{name: getattr(p, name).to(dtype) for name in ("a", "b", "f", "g")})


def defined(p: Sweeps) -> Swept:
    """The recurrence as it is written, one dense log-sum-exp after the other."""
    costs, f, g, before, last = p.costs.block(slice(None)), p.f, p.g, p.last_softmin, p.last_omega
    log_a, log_b = p.epsilon * p.a.log(), p.epsilon * p.b.log()
    softness = 1 / p.rho_a + 1 / p.rho_b
    residuals, changes = [], []
    for _ in range(p.count):
        masses = [torch.logsumexp(w.log() - h / rho, 0) for w, h, rho in ((p.a, f, p.rho_a), (p.b, g, p.rho_b))]
        c = float(masses[0] - masses[1]) / softness if softness else 0.0
        s = -p.epsilon * torch.logsumexp((g + log_b - costs) / p.epsilon, 1)
        exact = s if last == 1 else (s + (last - 1) * before) / last
        wanted = p.a * (-f / p.rho_a).exp()
        row = torch.where(p.a > 0, p.a * ((f - exact) / p.epsilon).exp(), 0.0)
        residuals.append(float((row - wanted).abs().sum() / wanted.sum()))
        target = (s + c) / (1 + p.epsilon / p.rho_a)
        changes.append(float((p.a * (target - f - c).square()).sum().sqrt()))
        f = (1 - p.omega) * (f + c) + p.omega * target
        t = -p.epsilon * torch.logsumexp((f + log_a)[:, None] / p.epsilon - costs / p.epsilon, 0)
        exact_g = t / (1 + p.epsilon / p.rho_b)
        g = torch.where(p.b > 0, (1 - p.omega) * (g - c) + p.omega * exact_g, exact_g)
        before, last = s + c, p.omega
    return Swept(
        f=f, g=g, exact_g=exact_g, softmin=before, residuals=residuals, changes=changes, dual=0.0, has_dropped=False
    )


def error(found: Swept, truth: Swept) -> float:
    names = ("f", "g", "exact_g", "softmin")
    return max(float((getattr(found, name).double() - getattr(truth, name)).abs().max()) for name in names)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_sweeps_are_the_recurrence(name, stored, backend):
    exact = problem(**CASES[name])
    truth = defined(exact)
    scale = 1.0 + float(truth.f.abs().max()) + 10 * exact.epsilon  # a sum's rounding, times epsilon
    with kernels.use(backend):
        found = sinkhorn_sweeps([cast(exact, torch.float64, stored=stored)])[0]
        single = sinkhorn_sweeps([cast(exact, torch.float32, stored=stored)])[0]
    assert error(found, truth) < 1e-13 * scale
    torch.testing.assert_close(found.residuals, truth.residuals, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found.changes, truth.changes, rtol=1e-9, atol=1e-13 * scale)
    assert single.f.dtype == torch.float32
    assert error(single, truth) < 4e-6 * scale
    if backend == "cpu":
        with kernels.use("reference"):
            plain = sinkhorn_sweeps([cast(exact, torch.float32, stored=stored)])[0]
        assert error(single, truth) <= 2 * error(plain, truth) + 1e-7 * scale


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", GRIDS)
def test_sweeps_between_grids_are_the_recurrence(name, backend):
    exact = grid_problem(**GRIDS[name])
    truth = defined(exact)
    scale = 1.0 + float(truth.f.abs().max()) + 10 * exact.epsilon
    with kernels.use(backend):
        found = sinkhorn_sweeps([exact])[0]
        single = sinkhorn_sweeps([cast(exact, torch.float32)])[0]
    assert error(found, truth) < 1e-13 * scale
    rounding = 1e-15 * scale / exact.epsilon  # of an exponent
    torch.testing.assert_close(found.residuals, truth.residuals, rtol=1e-9, atol=1e-12 + 4 * rounding)
    torch.testing.assert_close(found.changes, truth.changes, rtol=1e-9, atol=1e-13 * scale)
    assert single.f.dtype == torch.float32
    assert error(single, truth) < 4e-6 * scale


@needs_extension
@pytest.mark.parametrize("name", compiled.extension.instruction_sets() if compiled.extension else [])
def test_sweeps_between_grids_are_the_same_on_every_instruction_set(name):
    before = compiled.extension.instruction_set()
    compiled.extension.choose_instruction_set(name)
    try:
        for case in ("a rectangle", "three axes", "unbalanced", "zero weights", "small epsilon"):
            exact = grid_problem(**GRIDS[case])
            assert error(sinkhorn_sweeps([exact])[0], defined(exact)) < 1e-12
    finally:
        compiled.extension.choose_instruction_set(before)


@needs_extension
def test_sweeps_between_grids_do_not_depend_on_the_number_of_threads():
    start = grid_problem((190, 170), epsilon=0.01, omega=1.3, rho_a=1.0)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(sinkhorn_sweeps([start])[0])
    finally:
        torch.set_num_threads(before)
    one, three = found
    assert torch.equal(one.f, three.f)
    assert torch.equal(one.exact_g, three.exact_g)
    assert one.residuals == three.residuals


@needs_extension
def test_tables_of_a_grid_serve_the_next_block_at_their_temperature_only():
    start = grid_problem((20, 30), count=4)
    kernel = sinkhorn_sweeps([start])[0].kernel
    for other in (
        start,
        replace(start, epsilon=0.5),
        grid_problem((30, 20)),
        cast(start, torch.float32),
        problem(20, 30),
    ):
        with_it, without = (sinkhorn_sweeps([replace(other, kernel=k)])[0] for k in (kernel, None))
        assert torch.equal(with_it.f, without.f)
        assert torch.equal(with_it.g, without.g)


@pytest.mark.parametrize("backend", BACKENDS)
def test_grids_and_others_are_swept_together(backend):
    together = [
        problem(20, 30),
        grid_problem((5, 6)),
        cast(grid_problem((4, 3)), torch.float32),
        grid_problem((7,), omega=1.9),
    ]
    with kernels.use(backend):
        for one, found in zip(together, sinkhorn_sweeps(together), strict=True):
            alone = sinkhorn_sweeps([one])[0]
            torch.testing.assert_close(found.f, alone.f, rtol=0, atol=1e-13 if one.f.dtype == torch.float64 else 1e-6)


@needs_extension
def test_binding_of_a_grid_says_what_is_wrong():
    start, line = grid_problem((5, 6)), torch.zeros(2, 2, dtype=torch.float64)
    with pytest.raises(ValueError, match="`a` must have shape"):
        sinkhorn_sweeps([replace(start, a=start.a[:-1])])
    with pytest.raises(ValueError, match="one to three axes"):
        compiled.extension.Grid([])
    with pytest.raises(ValueError, match="one to three axes"):
        compiled.extension.Grid([compiled.plain(line) for _ in range(4)])
    with pytest.raises(ValueError, match="at least one node"):
        compiled.extension.Grid([compiled.plain(line[:0])])
    with pytest.raises(TypeError, match="dtype of the costs"):
        compiled.extension.Grid([compiled.plain(line), compiled.plain(line.float())])
    assert not is_swept(start.costs.to(torch.float16))
    assert not is_swept(start.costs, start.a.float())


@needs_extension
@pytest.mark.parametrize("kind", ["euclidean", "dot"])
def test_sweeps_know_other_costs(kind):
    exact = problem(50, 60, kind=kind, count=12)
    assert error(sinkhorn_sweeps([exact])[0], defined(exact)) < 1e-13


@pytest.mark.parametrize("backend", BACKENDS)
def test_forbidden_pairs_stay_forbidden(backend):
    exact = problem(30, 30, count=15)
    costs = exact.costs.block(slice(None)).clone()
    costs[torch.rand(30, 30, generator=torch.Generator().manual_seed(1)) < 0.3] = torch.inf
    exact = replace(exact, costs=Formula("stored", costs))
    with kernels.use(backend):
        assert error(sinkhorn_sweeps([exact])[0], defined(exact)) < 1e-12


@needs_extension
def test_kernel_is_made_anew_where_potentials_move_far():
    """Far from the solution a potential moves by hundreds of epsilon in a sweep: products alone would overflow."""
    exact = problem(60, 50, epsilon=1e-3, count=6)
    exact = replace(exact, f=30 * torch.rand(60, dtype=torch.float64), g=-40 * torch.rand(50, dtype=torch.float64))
    assert error(sinkhorn_sweeps([exact])[0], defined(exact)) < 1e-12
    assert error(sinkhorn_sweeps([cast(exact, torch.float32)])[0], defined(exact)) < 1e-5


@pytest.mark.parametrize("backend", BACKENDS)
def test_blocks_continue_each_other(backend):
    whole = problem(40, 50, omega=1.5, count=9, rho_a=1.0, rho_b=math.inf)
    with kernels.use(backend):
        first = sinkhorn_sweeps([replace(whole, count=4)])[0]
        rest = sinkhorn_sweeps(
            [replace(whole, count=5, f=first.f, g=first.g, last_omega=1.5, last_softmin=first.softmin, dual=first.dual)]
        )[0]
        at_once = sinkhorn_sweeps([whole])[0]
    torch.testing.assert_close(rest.f, at_once.f, rtol=0, atol=1e-13)
    torch.testing.assert_close(first.residuals + rest.residuals, at_once.residuals, rtol=1e-8, atol=1e-13)
    assert rest.dual == pytest.approx(at_once.dual, abs=1e-13)


@pytest.mark.parametrize("backend", BACKENDS)
def test_sweeps_stop_at_their_tolerance(backend):
    with kernels.use(backend):
        every = sinkhorn_sweeps([problem(40, 50, count=30)])[0]
        wanted = every.residuals[7]
        some = sinkhorn_sweeps([problem(40, 50, count=30, tolerance=wanted * 1.000001)])[0]
    assert len(every.residuals) == 30
    assert len(some.residuals) == 8
    torch.testing.assert_close(some.f, sinkhorn_sweeps([problem(40, 50, count=8)])[0].f, rtol=0, atol=1e-14)


@pytest.mark.parametrize("backend", BACKENDS)
def test_sweeps_stop_where_the_dual_value_drops(backend):
    start = problem(40, 50, omega=1.9, count=20)
    with kernels.use(backend):
        fine = sinkhorn_sweeps([start])[0]
        told_of_more = sinkhorn_sweeps([replace(start, dual=fine.dual + 1.0)])[0]
    assert told_of_more.has_dropped
    assert len(told_of_more.residuals) == 1
    assert told_of_more.dual < fine.dual


@pytest.mark.parametrize("backend", BACKENDS)
def test_problems_do_not_touch_each_other(backend):
    together = [problem(**case) for case in CASES.values() if case["n"] < 200]
    together.append(cast(together[0], torch.float32))
    together.append(replace(together[1], f=torch.full_like(together[1].f, torch.nan)))  # a lost one
    with kernels.use(backend):
        for one, found in zip(together, sinkhorn_sweeps(together), strict=True):
            alone = sinkhorn_sweeps([one])[0]
            torch.testing.assert_close(found.f, alone.f, rtol=0, atol=1e-14 * (1 + 10 * one.epsilon), equal_nan=True)
            assert len(found.residuals) == len(alone.residuals)
            if backend == "cpu" and not alone.f.isnan().any():
                assert torch.equal(found.exact_g, alone.exact_g)


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_problems_are_no_work(backend):
    with kernels.use(backend):
        assert sinkhorn_sweeps([]) == []


@needs_extension
def test_sweeps_do_not_depend_on_the_number_of_threads():
    problems = [problem(700, 900, epsilon=0.01, omega=1.3), problem(30, 40)]
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append([sinkhorn_sweeps([p])[0].g for p in problems] + [s.g for s in sinkhorn_sweeps(problems)])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, three) for one, three in zip(*found, strict=True))
    assert torch.equal(found[0][0], found[0][2])


CUT = {
    "cold": {"n": 301, "m": 447, "epsilon": 0.004},
    "very cold": {"n": 520, "m": 333, "d": 2, "epsilon": 0.0005, "omega": 1.7},
    "relaxed": {"n": 400, "m": 400, "epsilon": 0.01, "omega": 1.6},
    "zero weights": {"n": 350, "m": 401, "zero": True, "epsilon": 0.005, "omega": 1.3},
    "weights over six orders": {"n": 350, "m": 401, "spread": 6.0, "epsilon": 0.005},
    "weights over twelve orders": {"n": 350, "m": 401, "spread": 12.0, "epsilon": 0.005, "omega": 1.2},
    "unbalanced": {"n": 350, "m": 401, "epsilon": 0.005, "rho_a": 0.3, "rho_b": math.inf, "omega": 1.3},
    "many dimensions": {"n": 300, "m": 333, "d": 11, "epsilon": 0.02},
    "warm": {"n": 300, "m": 333, "epsilon": 0.1},
}


def in_cells(p: Sweeps) -> Sweeps:
    """The same problem with points that are close together next to each other."""
    assert isinstance(p.costs, Formula)
    x, y = p.costs.tensors
    rows, columns = sort_into_cells(x, 8), sort_into_cells(y, 8)
    costs = replace(p.costs, x=x[rows], y=y[columns])
    return replace(p, costs=costs, a=p.a[rows], b=p.b[columns])


def in_blocks(p: Sweeps, blocks: int) -> tuple[Swept, list[float]]:
    """Sweeps that hand their kernel on; all residuals."""
    residuals, kernel, found = list[float](), None, None
    for _ in range(blocks):
        found = sinkhorn_sweeps([replace(p, kernel=kernel)])[0]
        kernel = found.kernel
        assert kernel is not None
        p = replace(p, f=found.f, g=found.g, last_omega=p.omega, last_softmin=found.softmin)
        residuals += found.residuals
    assert found is not None
    return found, residuals


@needs_extension
@pytest.mark.parametrize("tolerance", [1e-3, 1e-9])
@pytest.mark.parametrize("name", CUT)
def test_what_a_kernel_leaves_out_is_below_its_tolerance(name, tolerance):
    """The residual counts in every digit that the tolerance can see, in both precisions, and blocks go on from each other."""
    whole = in_cells(problem(**CUT[name], count=40))
    truth = defined(whole)
    cut, residuals = in_blocks(replace(whole, count=8, tolerance=tolerance), 5)
    seen = [k for k, residual in enumerate(truth.residuals) if residual > tolerance]
    assert len(residuals) >= len(seen) > 2
    for k in seen[: len(residuals)]:
        assert residuals[k] == pytest.approx(truth.residuals[k], rel=1e-6, abs=tolerance / 16)
    if len(residuals) == 40:
        scale = 1.0 + float(truth.f.abs().max())
        assert float((cut.f - truth.f).abs().max()) < scale * tolerance
    single, residuals = in_blocks(replace(cast(whole, torch.float32), count=8, tolerance=max(tolerance, 1e-5)), 5)
    assert single.f.dtype == torch.float32
    for k in seen[: len(residuals)]:
        assert residuals[k] == pytest.approx(truth.residuals[k], rel=1e-2, abs=max(tolerance, 1e-3) / 16)


@needs_extension
def test_kernel_is_cut_only_where_a_tolerance_allows_it():
    whole = in_cells(problem(400, 400, epsilon=0.004, count=30))
    never, loose = sinkhorn_sweeps([whole])[0], sinkhorn_sweeps([replace(whole, tolerance=1e-4)])[0]
    assert error(never, defined(whole)) < 1e-13
    assert not torch.equal(loose.f, never.f)
    assert 0 < error(loose, never) < 1e-5


@needs_extension
def test_kernel_cut_for_a_loose_tolerance_serves_none():
    whole = in_cells(problem(400, 400, epsilon=0.004, count=60))
    first = sinkhorn_sweeps([replace(whole, tolerance=3e-2)])[0]
    assert first.residuals[-1] < 3e-2
    rest = replace(whole, f=first.f, g=first.g, count=5)
    assert error(sinkhorn_sweeps([replace(rest, kernel=first.kernel)])[0], defined(rest)) < 1e-12


@needs_extension
def test_cut_sweeps_do_not_depend_on_the_number_of_threads():
    start = in_cells(problem(700, 900, epsilon=0.003, omega=1.3, count=9, tolerance=1e-4))
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(in_blocks(start, 3)[0])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one.f, found[0].f) and torch.equal(one.exact_g, found[0].exact_g) for one in found)


@needs_extension
def test_kernel_of_another_temperature_or_size_is_not_used():
    hot, cold = problem(80, 90, epsilon=0.5), problem(80, 90, epsilon=0.02)
    kernel = sinkhorn_sweeps([hot])[0].kernel
    assert error(sinkhorn_sweeps([replace(cold, kernel=kernel)])[0], defined(cold)) < 1e-13
    other = problem(90, 70, epsilon=0.02)
    assert error(sinkhorn_sweeps([replace(other, kernel=kernel)])[0], defined(other)) < 1e-13
    single = cast(other, torch.float32)
    assert error(sinkhorn_sweeps([replace(single, kernel=kernel)])[0], defined(other)) < 1e-5


@needs_extension
def test_kernels_of_too_many_problems_are_not_kept(monkeypatch):
    assert sinkhorn_sweeps([problem(30, 40)])[0].kernel is not None
    monkeypatch.setattr(import_module("isotherm.kernels.sinkhorn_sweeps.cpu"), "KEPT_ENTRIES", 2 * 30 * 40 - 1)
    assert [s.kernel for s in sinkhorn_sweeps([problem(30, 40), problem(30, 40)])] == [None, None]


@needs_extension
def test_plain_sweep_is_the_fused_step():
    p = problem(60, 70, count=1)
    softmin, f, t = sinkhorn_step(
        p.costs, p.f, p.g + p.epsilon * p.b.log(), p.epsilon * p.a.log(), RowUpdate(), epsilon=p.epsilon
    )
    found = sinkhorn_sweeps([p])[0]
    for mine, its in ((found.f, f), (found.softmin, softmin), (found.exact_g, t)):
        torch.testing.assert_close(mine, its, rtol=0, atol=1e-14)


@needs_extension
def test_sweeps_leave_what_they_are_given():
    p = problem(20, 30)
    before: list[Tensor] = [t.clone() for t in (p.f, p.g, p.a, p.b)]
    sinkhorn_sweeps([p])
    assert all(torch.equal(*pair) for pair in zip(before, (p.f, p.g, p.a, p.b), strict=True))
    assert is_swept(p.costs, p.a)


@needs_extension
@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"f": torch.zeros(3, dtype=torch.float64)}, "`f` must have shape"),
        ({"b": torch.ones(20, dtype=torch.float64)}, "`b` must have shape"),
        ({"epsilon": 0.0}, "`epsilon` must be positive"),
        ({"omega": -1.0}, "must be positive"),
        ({"count": 0}, "`count` must be positive"),
    ],
)
def test_binding_says_what_is_wrong(change, match):
    with pytest.raises(ValueError, match=match):
        sinkhorn_sweeps([replace(problem(20, 30), **change)])
