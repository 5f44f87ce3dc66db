"""Many ragged problems at once against one after the other."""

import time

import pytest
import torch
from torch import Tensor

from isotherm import kernels
from isotherm.kernels import Batch, Formula, compiled, ops

needs_extension = pytest.mark.skipif(bool(compiled.why_missing()), reason="; ".join(compiled.why_missing()))
BACKENDS = ["reference", pytest.param("cpu", marks=needs_extension)]
SOURCES = (0, 1, 18, 18, 81, 84, 350, 351)  # odd sizes, none, one, and more than a chunk
TARGETS = (0, 7, 8, 21, 21, 100, 399, 402)  # the fourth problem has no target, the third no source
EPSILON = (1.0, 0.01, 0.3, 0.5, 1e-3, 0.2, 10.0)
INF = torch.inf


def ragged(kind: str = "sqeuclidean", d: int = 3, dtype: torch.dtype = torch.float64) -> tuple[Batch, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x, y, h = (torch.rand(*s, generator=generator, dtype=torch.float64) for s in ((351, d), (402, d), (402,)))
    return Batch(Formula(kind, x.to(dtype), y.to(dtype), 0.5, 0.1), SOURCES, TARGETS), h.to(dtype)


def dense(batch: Batch, h: Tensor) -> Tensor:
    found = []
    for k, epsilon in enumerate(EPSILON):
        rows, columns = slice(*SOURCES[k : k + 2]), slice(*TARGETS[k : k + 2])
        costs = batch.formula.block(slice(None))[rows, columns]
        found.append(-epsilon * torch.logsumexp((h[columns] - costs) / epsilon, 1))
    return torch.cat(found)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("guessed", [False, True])
@pytest.mark.parametrize("kind", ["sqeuclidean", "euclidean", "dot"])
@pytest.mark.parametrize(("d", "dtype"), [(1, torch.float64), (3, torch.float32), (11, torch.float64)])
def test_batch_equals_its_problems(kind, d, dtype, guessed, backend):
    batch, h = ragged(kind, d, dtype)
    h[TARGETS[4] : TARGETS[4] + 3] = -INF
    double = Batch(Formula(kind, batch.formula.x.double(), batch.formula.y.double(), 0.5, 0.1), SOURCES, TARGETS)
    truth = dense(double, h.double())
    guess = truth.to(dtype) + 0.01 if guessed else None
    with kernels.use(backend):
        found = kernels.batched_softmin(batch, h, epsilon=EPSILON, guess=guess)
    assert found.dtype == dtype
    tolerance = 3e-6 if dtype == torch.float32 else 1e-13
    torch.testing.assert_close(found.double(), truth, rtol=tolerance, atol=tolerance)
    assert torch.equal(found[18:81], torch.full_like(found[18:81], INF))  # no target


@pytest.mark.parametrize("backend", BACKENDS)
def test_problem_in_a_batch_is_reduced_as_by_itself(backend):
    batch, h = ragged()
    with kernels.use(backend):
        found = kernels.batched_softmin(batch, h, epsilon=EPSILON)
        for problem, (rows, columns), epsilon in zip(batch.problems(), batch.slices(), EPSILON, strict=True):
            assert torch.equal(found[rows], kernels.softmin(problem, h[columns], epsilon=epsilon))


@needs_extension
def test_batch_does_not_depend_on_the_number_of_threads():
    batch, h = ragged()
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            found.append(kernels.batched_softmin(batch, h, epsilon=EPSILON))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@pytest.mark.parametrize("backend", BACKENDS)
def test_batch_takes_one_temperature_for_all(backend):
    batch, h = ragged()
    with kernels.use(backend):
        found = kernels.batched_softmin(batch, h, epsilon=0.4)
        assert torch.equal(found, kernels.batched_softmin(batch, h, epsilon=(0.4,) * 7))


@pytest.mark.parametrize("backend", BACKENDS)
def test_batch_of_nothing_is_nothing(backend):
    none = Batch(Formula("dot", torch.zeros(0, 2), torch.zeros(0, 2)), (0,), (0,))
    empty = Batch(Formula("dot", torch.zeros(0, 2), torch.zeros(0, 2)), (0, 0, 0), (0, 0, 0))
    with kernels.use(backend):
        assert kernels.batched_softmin(none, torch.zeros(0), epsilon=1.0).shape == (0,)
        assert kernels.batched_softmin(empty, torch.zeros(0), epsilon=1.0).shape == (0,)


@pytest.mark.parametrize("backend", BACKENDS)
def test_batch_is_differentiable(backend):
    generator = torch.Generator().manual_seed(0)
    x, y, h = (
        torch.randn(*s, generator=generator, dtype=torch.float64).requires_grad_() for s in ((4, 2), (6, 2), (6,))
    )

    def run(x: Tensor, y: Tensor, h: Tensor) -> Tensor:
        batch = Batch(Formula("sqeuclidean", x, y), (0, 3, 3, 4), (0, 2, 3, 6))
        return kernels.batched_softmin(batch, h, epsilon=(0.5, 1.0, 2.0), guess=torch.zeros(4, dtype=torch.float64))

    with kernels.use(backend):
        assert torch.autograd.gradcheck(run, (x, y, h))


@needs_extension
def test_fused_batch_is_one_call(monkeypatch):
    batch, h = ragged()
    monkeypatch.setattr(ops, "softmin", None)  # what a loop over problems would call
    monkeypatch.setattr(Formula, "block", None)
    assert kernels.batched_softmin(batch, h, epsilon=EPSILON).shape == (351,)


@needs_extension
@pytest.mark.slow
def test_fused_batch_of_small_problems_beats_a_loop():
    count = 2000
    points = torch.rand(8 * count, 3)
    starts = tuple(range(0, 8 * count + 1, 8))
    batch, h = Batch(Formula("sqeuclidean", points, points), starts, starts), torch.zeros(8 * count)
    took = []
    for run in (
        lambda: kernels.batched_softmin(batch, h, epsilon=0.1),
        lambda: [kernels.softmin(one, h[:8], epsilon=0.1) for one in batch.problems()],
    ):
        run()
        begin = time.perf_counter()
        run()
        took.append(time.perf_counter() - begin)
    assert took[0] < 0.5 * took[1], took


def test_batch_says_what_is_wrong():
    formula = Formula("dot", torch.zeros(3, 2), torch.zeros(5, 2))
    for source_starts, target_starts, match in [
        ((0, 3), (0, 2, 5), "as many problems"),
        ((0, 2), (0, 5), r"`source_starts` must rise from 0 to 3"),
        ((0, 3), (1, 5), r"`target_starts` must rise from 0 to 5"),
        ((0, 2, 1, 3), (0, 0, 0, 5), r"`source_starts` must rise"),
        ((), (), r"`source_starts` must rise"),
    ]:
        with pytest.raises(ValueError, match=match):
            Batch(formula, source_starts, target_starts)
    with pytest.raises(TypeError, match="stored matrix"):
        Batch(Formula("stored", torch.zeros(3, 5)), (0, 3), (0, 5))
    with pytest.raises(ValueError, match="one for each of the 1 problems"):
        kernels.batched_softmin(Batch(formula, (0, 3), (0, 5)), torch.zeros(5), epsilon=(1.0, 2.0))


@needs_extension
def test_binding_of_batches_refuses_what_does_not_fit():
    extension = compiled.extension
    bound = compiled.bind_formula(Formula("dot", torch.zeros(3, 2), torch.zeros(5, 2)))
    h, out = torch.zeros(5), torch.empty(3)
    for source_starts, target_starts, epsilon in [
        ([0, 4], [0, 5], [1.0]),
        ([0, 3], [0, 6], [1.0]),
        ([0, -1, 3], [0, 2, 5], [1.0, 1.0]),
        ([0, 3], [0, 5], [1.0, 1.0]),
        ([], [], []),
        ([0, 3], [0, 5], [0.0]),
    ]:
        with pytest.raises(ValueError, match="must"):
            extension.batched_softmin(bound, source_starts, target_starts, h, None, epsilon, out, 1)
