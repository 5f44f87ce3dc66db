"""Many ragged problems at once against one after the other."""

import os
import random
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from isotherm import kernels
from isotherm.kernels import Batch, BlockPattern, Formula, compiled, ops
from isotherm.kernels.batched import cpu

needs_extension = pytest.mark.skipif(bool(compiled.why_missing()), reason="; ".join(compiled.why_missing()))
BACKENDS = ["reference", pytest.param("cpu", marks=needs_extension)]
SIZES = [(1, 7), (17, 1), (0, 13), (63, 0), (3, 79), (266, 299), (1, 1)]  # none on a side, one, and more than a chunk
EPSILON = (1.0, 0.01, 0.3, 0.5, 1e-3, 0.2, 10.0)
POINTS = ("sqeuclidean", "euclidean", "dot")
INF = torch.inf

TRITON_DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
if TRITON_DEVICE == "cpu":  # must be set before triton is imported for the first time
    os.environ.setdefault("TRITON_INTERPRET", "1")


class Case(NamedTuple):
    """A batch and what lies beside its sources and targets."""

    batch: Batch
    p: Tensor  # (N,)
    q: Tensor  # (M,)
    values: Tensor  # (M, 3)

    def to(self, dtype: torch.dtype) -> "Case":
        """The same numbers in another dtype."""
        formulas = (
            Formula(f.kind, f.x.to(dtype), None if f.y is None else f.y.to(dtype), f.scale, f.offset)
            for f in self.batch.formulas
        )
        return Case(Batch(tuple(formulas)), *(tensor.to(dtype) for tensor in self[1:]))


def ragged(kinds: tuple[str, ...] = ("sqeuclidean",), widths: tuple[int, ...] = (3,)) -> Case:
    """Problems of the sizes above, of these kinds and numbers of coordinates in turn; numbers that float32 holds."""
    generator = torch.Generator().manual_seed(0)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator).double()

    formulas = []
    for k, (n, m) in enumerate(SIZES):
        kind, d = kinds[k % len(kinds)], widths[k % len(widths)]
        sides = (uniform(n, m), None) if kind == "stored" else (uniform(n, d), uniform(m, d))
        formulas.append(Formula(kind, *sides, 0.5, 0.1))  # pyright: ignore[reportArgumentType]
    batch = Batch(tuple(formulas))
    p, q, values = uniform(batch.shape[0]), uniform(batch.shape[1]), uniform(batch.shape[1], 3)
    p[2:4] = q[-100:-90] = q[8:11] = -INF
    return Case(batch, p, q, values)


def plans(case: Case) -> list[Tensor]:
    """The plans of all problems, dense."""
    found = []
    for costs, (rows, columns), epsilon in zip(case.batch.formulas, case.batch.slices(), EPSILON, strict=True):
        found.append(((case.p[rows, None] + case.q[columns] - costs.block(slice(None))) / epsilon).exp())
    return found


def with_small_masses(case: Case) -> Case:
    """The same with every row's sum of the plan about one, so that no exponential is huge."""
    f = kernels.batched_softmin(case.batch, case.q, epsilon=EPSILON)
    return case._replace(p=torch.where((case.p > -INF) & (f < INF), f, -INF))


def softmins(case: Case) -> list[Tensor]:
    found = []
    for costs, (_, columns), epsilon in zip(case.batch.formulas, case.batch.slices(), EPSILON, strict=True):
        found.append(-epsilon * torch.logsumexp((case.q[columns] - costs.block(slice(None))) / epsilon, 1))
    return found


def hard_mins(case: Case) -> list[Tensor]:
    with_last = [
        torch.cat([costs.block(slice(None)) - case.q[columns], torch.full((costs.shape[0], 1), INF).double()], 1)
        for costs, (_, columns) in zip(case.batch.formulas, case.batch.slices(), strict=True)
    ]
    return [scores.amin(1) for scores in with_last]


def products(case: Case) -> list[Tensor]:
    return [plan @ case.values[c] for plan, (_, c) in zip(plans(case), case.batch.slices(), strict=True)]


def paid(case: Case) -> list[Tensor]:
    return [(plan * f.block(slice(None))).sum(1) for plan, f in zip(plans(case), case.batch.formulas, strict=True)]


def means(case: Case) -> list[Tensor]:
    found = []
    for costs, (_, columns), epsilon in zip(case.batch.formulas, case.batch.slices(), EPSILON, strict=True):
        scores = (case.q[columns] - costs.block(slice(None))) / epsilon
        law = torch.softmax(scores, 1)
        found.append(law @ case.values[columns] if law.shape[1] else torch.full((law.shape[0], 3), torch.nan).double())
    return found


# Each reduction as it is called, and its definition in float64.
REDUCTIONS: dict[str, tuple[Callable[[Case], Tensor], Callable[[Case], list[Tensor]]]] = {
    "softmin": (lambda c: kernels.batched_softmin(c.batch, c.q, epsilon=EPSILON), softmins),
    "guessed softmin": (lambda c: kernels.batched_softmin(c.batch, c.q, epsilon=EPSILON, guess=c.p), softmins),
    "hard_min": (lambda c: kernels.batched_hard_min(c.batch, c.q), hard_mins),
    "plan_apply": (lambda c: kernels.batched_plan_apply(c.batch, c.p, c.q, c.values, epsilon=EPSILON), products),
    "plan_cost": (lambda c: kernels.batched_plan_cost(c.batch, c.p, c.q, epsilon=EPSILON), paid),
    "conditional_mean": (lambda c: kernels.batched_conditional_mean(c.batch, c.q, c.values, epsilon=EPSILON), means),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kinds", [("sqeuclidean",), ("stored",), (*POINTS, "stored")])
@pytest.mark.parametrize("name", REDUCTIONS)
def test_batch_equals_its_problems(name, kinds, dtype, backend):
    reduce, define = REDUCTIONS[name]
    case = with_small_masses(ragged(kinds, (3, 1, 11)))
    case = case.to(torch.float32).to(torch.float64)  # what float32 is given
    truth = torch.cat(define(case))
    with kernels.use(backend):
        found = reduce(case.to(dtype))
    assert found.dtype == dtype
    # At the smallest temperature the rounding of an exponent is a thousand times that of the numbers.
    tolerance = 4e-4 if dtype == torch.float32 else 1e-11
    torch.testing.assert_close(found.double(), truth, rtol=tolerance, atol=tolerance / 100, equal_nan=True)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("widths", [(2,), (3, 1, 11)])
@pytest.mark.parametrize("kinds", [("sqeuclidean",), POINTS])
def test_gradients_of_a_batch_equal_autograd(kinds, widths, dtype, backend):
    case = with_small_masses(ragged(kinds, widths)).to(torch.float32).to(torch.float64)
    with kernels.use(backend):
        narrow = case.to(dtype)
        found = kernels.batched_plan_grad(narrow.batch, narrow.p, narrow.q, epsilon=EPSILON)
    assert len(found) == len(SIZES)
    for plan, costs, (by_x, by_y) in zip(plans(case), case.batch.formulas, found, strict=True):
        assert costs.y is not None
        x, y = costs.x.clone().requires_grad_(), costs.y.clone().requires_grad_()
        free = Formula(costs.kind, x, y, costs.scale, costs.offset)
        truth = torch.autograd.grad((plan * free.block(slice(None))).sum(), (x, y))
        for ours, theirs in zip((by_x, by_y), truth, strict=True):
            assert ours.dtype == dtype
            tolerance = 4e-4 if dtype == torch.float32 else 1e-11
            torch.testing.assert_close(ours.double(), theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("backend", BACKENDS)
def test_problem_in_a_batch_is_reduced_as_by_itself(backend):
    case = with_small_masses(ragged((*POINTS, "stored")))
    points = with_small_masses(ragged(POINTS))
    with kernels.use(backend):
        found = {name: reduce(case) for name, (reduce, _) in REDUCTIONS.items()}
        grads = kernels.batched_plan_grad(points.batch, points.p, points.q, epsilon=EPSILON)
        for k, (costs, (rows, columns)) in enumerate(zip(case.batch.formulas, case.batch.slices(), strict=True)):
            p, q, values, one = case.p[rows], case.q[columns], case.values[columns], EPSILON[k]
            alone = {
                "softmin": kernels.softmin(costs, q, epsilon=one),
                "guessed softmin": kernels.softmin(costs, q, epsilon=one, guess=p),
                "hard_min": kernels.hard_min(costs, q),
                "plan_apply": kernels.plan_apply(costs, p, q, values, epsilon=one),
                "plan_cost": kernels.plan_cost(costs, p, q, epsilon=one),
                "conditional_mean": kernels.conditional_mean(costs, q, values, epsilon=one),
            }
            for name, expected in alone.items():
                assert torch.equal(found[name][rows].nan_to_num(-7.0), expected.nan_to_num(-7.0)), name
            sides = kernels.plan_grad(points.batch.formulas[k], points.p[rows], points.q[columns], epsilon=one)
            assert all(torch.equal(*pair) for pair in zip(grads[k], sides, strict=True))


@needs_extension
@pytest.mark.parametrize("name", [*REDUCTIONS, "plan_grad"])
def test_batch_does_not_depend_on_the_number_of_threads(name):
    case = with_small_masses(ragged(POINTS, (2, 9)))
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            if name == "plan_grad":
                pairs = kernels.batched_plan_grad(case.batch, case.p, case.q, epsilon=EPSILON)
                found.append(torch.cat([side.flatten() for pair in pairs for side in pair]))
            else:
                found.append(REDUCTIONS[name][0](case).nan_to_num(-7.0))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@pytest.mark.parametrize("backend", BACKENDS)
def test_batch_takes_one_temperature_for_all(backend):
    case = ragged()
    with kernels.use(backend):
        found = kernels.batched_softmin(case.batch, case.q, epsilon=0.4)
        assert torch.equal(found, kernels.batched_softmin(case.batch, case.q, epsilon=(0.4,) * 7))
        assert torch.equal(found, kernels.batched_softmin(case.batch, case.q, epsilon=[0.4] * 7))


@pytest.mark.parametrize("backend", BACKENDS)
def test_batch_of_empty_problems_is_empty(backend):
    batch = Batch((Formula("dot", torch.zeros(0, 2), torch.zeros(0, 2)),) * 2)
    none = torch.zeros(0)
    with kernels.use(backend):
        assert kernels.batched_softmin(batch, none, epsilon=1.0).shape == (0,)
        assert kernels.batched_plan_apply(batch, none, none, torch.zeros(0, 4), epsilon=1.0).shape == (0, 4)
        (by_x, by_y), _ = kernels.batched_plan_grad(batch, none, none, epsilon=1.0)
        assert by_x.shape == by_y.shape == (0, 2)


@pytest.mark.parametrize("backend", BACKENDS)
def test_batch_is_differentiable(backend):
    generator = torch.Generator().manual_seed(0)
    sizes = ((3, 2), (1, 2), (4, 3))
    tensors = [
        torch.randn(*s, generator=generator, dtype=torch.float64).requires_grad_() for s in (*sizes, (6,), (4,), (6, 2))
    ]

    def run(x: Tensor, y: Tensor, matrix: Tensor, q: Tensor, p: Tensor, values: Tensor) -> tuple[Tensor, ...]:
        # The points are (3, 2) and (1, 2), the matrix (4, 3) is cut to (1, 3); one problem has no source.
        batch = Batch(
            (
                Formula("sqeuclidean", x, y),
                Formula("sqeuclidean", x[:0], y.repeat(2, 1)),
                Formula("stored", matrix[:1]),
            )
        )
        epsilon = (0.5, 1.0, 2.0)
        return (
            kernels.batched_softmin(batch, q, epsilon=epsilon, guess=torch.zeros(4, dtype=torch.float64)),
            kernels.batched_plan_apply(batch, p, q, values, epsilon=epsilon),
            kernels.batched_conditional_mean(batch, q, values, epsilon=epsilon),
        )

    with kernels.use(backend):
        assert torch.autograd.gradcheck(run, tensors)


@needs_extension
@pytest.mark.parametrize("name", REDUCTIONS)
def test_fused_batch_is_one_call(monkeypatch, name):
    case = ragged()
    for operator in ("softmin", "plan_apply"):
        monkeypatch.setattr(ops, operator, None)  # what a loop over problems would call
    monkeypatch.setattr(Formula, "block", None)
    calls = []
    monkeypatch.setattr(cpu, "_bind", lambda batch: calls.append(1) or bind(batch))
    REDUCTIONS[name][0](case)
    assert calls == [1]


def bind(batch: Batch) -> Any:
    return compiled.extension.Batch([compiled.bind_formula(formula) for formula in batch.formulas])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kinds", [("sqeuclidean",), ("stored",), (*POINTS, "stored")])
def test_curvatures_of_a_batch_are_those_of_its_problems(kinds, dtype, backend):
    case = with_small_masses(ragged(kinds, (3, 1, 11))).to(torch.float32).to(torch.float64)
    count = len(case.p)
    values = torch.stack([torch.linspace(-1.0, 1.0, count), torch.linspace(0.0, 9.0, count).cos()], 1)  # (N, 2)
    given = case.to(dtype)
    with kernels.use(backend):
        found = kernels.batched_plan_hessian(given.batch, given.p, given.q, values.to(dtype), epsilon=EPSILON)
    assert found.dtype == dtype
    tolerance = 4e-4 if dtype == torch.float32 else 1e-11
    for plan, (rows, _), epsilon in zip(plans(case), case.batch.slices(), EPSILON, strict=True):
        r, c, v = plan.sum(1), plan.sum(0)[:, None], values[rows].double()
        back = torch.where(c > 0, plan.T @ v / torch.where(c > 0, c, 1.0), 0.0)
        size = float((r[:, None] * v).abs().amax()) / epsilon if len(v) else 0.0  # of the terms that cancel
        wanted = (r[:, None] * v - plan @ back) / epsilon
        torch.testing.assert_close(found[rows].double(), wanted, rtol=tolerance, atol=tolerance * size)


@pytest.mark.parametrize("kind", ["euclidean", "stored"])
def test_batch_of_equal_sizes_is_cut_from_tensors(kind):
    x, y = torch.rand(4, 3, 2), None if kind == "stored" else torch.rand(4, 5, 2)
    batch = Batch.of_equal_sizes(kind, x, y, scale=2.0, offset=1.0)
    assert len(batch) == 4
    assert batch.source_starts == (0, 3, 6, 9, 12)
    assert batch.formulas[3].x.data_ptr() == x[3].data_ptr()
    one = Formula(kind, x[3], None if y is None else y[3], 2.0, 1.0)
    assert torch.equal(batch.formulas[3].block(slice(None)), one.block(slice(None)))


def test_batch_joins_what_is_of_one_kind():
    case = ragged()
    joined = case.batch.joined()
    assert joined is not None
    assert joined.shape == case.batch.shape
    assert torch.equal(joined.x[1:18], case.batch.formulas[1].x)
    assert ragged(POINTS).batch.joined() is None
    assert ragged(widths=(2, 3)).batch.joined() is None
    assert ragged(("stored",)).batch.joined() is None


def test_batch_says_what_is_wrong():
    points, matrix = Formula("dot", torch.zeros(3, 2), torch.zeros(5, 2)), Formula("stored", torch.zeros(3, 5))
    with pytest.raises(ValueError, match="needs a problem"):
        Batch(())
    with pytest.raises(TypeError, match="got Tensor"):
        Batch((points, torch.zeros(3, 2)))  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="one dtype and device"):
        Batch((points, Formula("stored", torch.zeros(3, 5).double())))
    starts, blocks = torch.tensor([0, 1]), torch.zeros(1, dtype=torch.int32)
    pattern = BlockPattern.from_list(torch.arange(3), torch.arange(5), starts, blocks)
    with pytest.raises(ValueError, match="list of pairs"):
        Batch((Formula("dot", points.x, points.y, pattern=pattern),))
    with pytest.raises(ValueError, match="problems, points, coordinates"):
        Batch.of_equal_sizes("dot", torch.zeros(3, 2), torch.zeros(5, 2))
    with pytest.raises(ValueError, match=r"got \(3, 2, 2\) and \(5, 2, 2\)"):
        Batch.of_equal_sizes("dot", torch.zeros(3, 2, 2), torch.zeros(5, 2, 2))
    batch, p, q = Batch((points, points)), torch.zeros(6), torch.zeros(10)
    for backend in ("reference", "cpu"):
        if backend == "cpu" and compiled.why_missing():
            continue
        with kernels.use(backend):
            with pytest.raises(ValueError, match="one for each of the 2 problems"):
                kernels.batched_softmin(batch, q, epsilon=(1.0, 2.0, 3.0))
            with pytest.raises(
                ValueError, match=r"`h` must have shape \(10,\), the targets of all problems: got \(11,\)"
            ):
                kernels.batched_hard_min(batch, torch.zeros(11))
            with pytest.raises(ValueError, match=r"`p` must have shape \(6,\)"):
                kernels.batched_plan_cost(batch, q, q, epsilon=1.0)
            with pytest.raises(ValueError, match=r"`values` must have shape \(10, columns\)"):
                kernels.batched_conditional_mean(batch, q, q, epsilon=1.0)
            with pytest.raises(TypeError, match="got a stored matrix"):
                kernels.batched_plan_grad(Batch((points, matrix)), p, q, epsilon=1.0)


@needs_extension
def test_binding_of_batches_names_what_does_not_fit():
    extension = compiled.extension
    batch = bind(Batch((Formula("dot", torch.zeros(3, 2), torch.zeros(5, 2)), Formula("stored", torch.zeros(1, 4)))))
    p, q = torch.zeros(4), torch.zeros(9)
    with pytest.raises(ValueError, match=r"`h` must have shape \(9,\): got \(5,\)"):
        extension.softmin(batch, torch.zeros(5), None, [1.0, 1.0], torch.empty(4), 1)
    with pytest.raises(ValueError, match=r"one for each of the 2 problems: got 3"):
        extension.softmin(batch, q, None, [1.0, 1.0, 1.0], torch.empty(4), 1)
    with pytest.raises(ValueError, match="positive and finite"):
        extension.softmin(batch, q, None, [1.0, 0.0], torch.empty(4), 1)
    with pytest.raises(ValueError, match="no points"):
        extension.plan_grad(batch, p, q, None, None, 1.0, torch.empty(4, 2), None, 1)
    with pytest.raises(TypeError, match="dtype of the costs"):
        extension.hard_min(batch, q.double(), torch.empty(4), 1)
    with pytest.raises(ValueError, match="needs a problem"):
        extension.Batch([])
    with pytest.raises(TypeError, match="one dtype"):
        extension.Batch(
            [
                extension.Costs("stored", torch.zeros(2, 2, dtype=t), None, 1.0, 0.0)
                for t in (torch.float32, torch.float64)
            ]
        )
    mixed = bind(Batch(tuple(Formula("dot", torch.zeros(3, d), torch.zeros(5, d)) for d in (1, 2))))
    with pytest.raises(ValueError, match=r"`by_x` must have shape \(9,\): got \(6, 2\)"):
        extension.plan_grad(mixed, torch.zeros(6), torch.zeros(10), None, None, 1.0, torch.empty(6, 2), None, 1)


@needs_extension
@pytest.mark.parametrize("seed", range(5))
def test_binding_of_batches_survives_strange_inputs(seed):
    rng = random.Random(seed)
    extension, accepted = compiled.extension, 0

    def strange(*shape: int) -> Any:
        if rng.random() < 0.8:
            return torch.ones(shape)
        sizes = [rng.choice([0, 1, 4, 9]) for _ in range(rng.choice([0, 1, 2]))]
        dtype = rng.choice([torch.float32, torch.float64, torch.int64, torch.float16])
        return rng.choice([None, torch.ones(sizes, dtype=dtype), torch.ones(*shape, 2)[..., 0]])

    for _ in range(300):
        sizes = [(rng.choice([0, 1, 4]), rng.choice([0, 1, 5])) for _ in range(rng.choice([0, 1, 3]))]
        n, m = (sum(side) for side in zip(*sizes, strict=True)) if sizes else (0, 0)
        epsilon = rng.choice([1.0, [1.0] * len(sizes), (1.0,) * len(sizes), [1.0], [], "1", None, [float("nan")] * 3])
        threads = rng.choice([-1, 0, 1, 2, 5])
        kinds = [rng.choice(["dot", "dot", "stored"]) for _ in sizes]
        widths = [rng.choice([2, 2, 3]) for _ in sizes]
        try:
            batch = extension.Batch(
                [
                    extension.Costs(kind, torch.ones(r, c), None, 1.0, 0.0)
                    if kind == "stored"
                    else extension.Costs(kind, torch.ones(r, d), torch.ones(c, d), 1.0, 0.0)
                    for (r, c), kind, d in zip(sizes, kinds, widths, strict=True)
                ]
            )
            p, q, values, row, wide = strange(n), strange(m), strange(m, 3), strange(n), strange(n, 3)
            match rng.randrange(6):
                case 0:
                    extension.softmin(batch, q, rng.choice([None, p]), epsilon, row, threads)
                case 1:
                    extension.hard_min(batch, q, row, threads)
                case 2:
                    extension.plan_apply(batch, p, q, values, epsilon, wide, threads)
                case 3:
                    extension.plan_cost(batch, p, q, epsilon, row, threads)
                case 4:
                    entries = sum(r * d for (r, _), d in zip(sizes, widths, strict=True))
                    by_x = rng.choice([torch.empty(entries), torch.empty(n, 2), strange(n, 2)])
                    extension.plan_grad(batch, p, q, None, None, epsilon, by_x, None, threads)
                case _:
                    extension.conditional_mean(batch, q, values, epsilon, wide, threads)
            accepted += 1
        except (TypeError, ValueError, BufferError, RuntimeError):
            continue
    assert 0 < accepted < 300


@pytest.mark.skipif(find_spec("triton") is None, reason="needs triton: pip install 'isotherm[triton]'")
@pytest.mark.filterwarnings("ignore:overflow encountered in exp2:RuntimeWarning")
@pytest.mark.parametrize("kinds", [("sqeuclidean",), ("sqeuclidean", "stored")])
@pytest.mark.parametrize("name", ["softmin", "guessed softmin", "plan_apply"])
def test_triton_reduces_batches(monkeypatch, name, kinds):
    launch = pytest.importorskip("isotherm.kernels.batched.triton", exc_type=ImportError)
    launches = []
    monkeypatch.setattr(
        launch, "softmin_ragged", lambda *given, **also: launches.append(1) or ragged_softmin(*given, **also)
    )
    ragged_softmin = pytest.importorskip("isotherm.kernels.softmin.triton").softmin_ragged
    case = with_small_masses(ragged(kinds))
    small = Batch(tuple(case.batch.formulas[k] for k in (0, 1, 2, 3, 4, 6)))
    rows = torch.cat([torch.arange(*one.indices(1000)) for k, (one, _) in enumerate(case.batch.slices()) if k != 5])
    columns = torch.cat([torch.arange(*one.indices(1000)) for k, (_, one) in enumerate(case.batch.slices()) if k != 5])
    epsilon = (*EPSILON[:5], EPSILON[6])
    given = Case(small, case.p[rows], case.q[columns], case.values[columns])

    def run(one: Case) -> Tensor:
        if name == "plan_apply":
            return kernels.batched_plan_apply(one.batch, one.p, one.q, one.values, epsilon=epsilon)
        return kernels.batched_softmin(one.batch, one.q, epsilon=epsilon, guess=one.p if "guess" in name else None)

    with kernels.use("reference"):
        truth = run(given)
    formulas = (
        Formula(f.kind, f.x.to(TRITON_DEVICE), None if f.y is None else f.y.to(TRITON_DEVICE), f.scale, f.offset)
        for f in small.formulas
    )
    moved = Case(Batch(tuple(formulas)), *(tensor.to(TRITON_DEVICE) for tensor in given[1:]))
    with kernels.use("triton"):
        found = run(moved).cpu()
    torch.testing.assert_close(found, truth, rtol=1e-11, atol=1e-12)
    assert len(launches) == ("softmin" in name and "stored" not in kinds)
