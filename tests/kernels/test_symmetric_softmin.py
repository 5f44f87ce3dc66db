"""A softmin over the points themselves, half the pairs, against the dense definition in float64."""

import pytest
import torch
from torch import Tensor

from isotherm import kernels
from isotherm.geometry import BlockSparse, Clusters, PointCloud
from isotherm.kernels import BlockPattern, Formula, compiled
from isotherm.kernels.pattern import CELL

needs_extension = pytest.mark.skipif(bool(compiled.why_missing()), reason="; ".join(compiled.why_missing()))
BACKENDS = ["reference", pytest.param("cpu", marks=needs_extension)]
KINDS = ("sqeuclidean", "euclidean", "dot", "stored", "stored, transposed")
INF = torch.inf


def problem(kind: str, n: int, d: int) -> tuple[Formula, Tensor]:
    """Symmetric costs and a weighted potential, some of it without mass, of numbers that float32 holds."""
    generator = torch.Generator().manual_seed(n + d)
    x, h = torch.rand(n, d, generator=generator).double(), torch.randn(n, generator=generator).double()
    h[: n // 7] = -INF
    if not kind.startswith("stored"):
        return Formula(kind, x, x, 0.5, 0.125), h  # pyright: ignore[reportArgumentType]
    matrix = torch.rand(n, n, generator=generator).double()
    matrix = (matrix + matrix.T).float().double()
    return Formula("stored", matrix.T if "transposed" in kind else matrix, None, 0.5, 0.125), h


def narrow(formula: Formula, dtype: torch.dtype) -> Formula:
    x = formula.x.to(dtype)
    return Formula(formula.kind, x, None if formula.y is None else x, formula.scale, formula.offset)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("epsilon", [0.02, 3.0, 1e6])
@pytest.mark.parametrize(("n", "d"), [(0, 2), (1, 1), (63, 2), (65, 3), (530, 8), (1031, 11)])
def test_symmetric_softmin_equals_the_dense_one_at_odd_sizes(n, d, epsilon, kind, dtype, backend):
    formula, h = problem(kind, n, d)
    truth = -epsilon * ((h - formula.block(slice(None))) / epsilon).logsumexp(1) if n else h
    with kernels.use(backend):
        found = kernels.symmetric_softmin(narrow(formula, dtype), h.to(dtype), epsilon=epsilon, guess=truth.to(dtype))
    assert found.dtype == dtype
    scale = max(1.0, epsilon)
    torch.testing.assert_close(
        found.double(), truth, rtol=0.0, atol=scale * (3e-6 if dtype == torch.float32 else 1e-13)
    )


@needs_extension
@pytest.mark.parametrize("shift", [-40.0, 0.0, 40.0])
def test_a_guess_far_off_changes_nothing_beyond_rounding(shift):
    formula, h = problem("sqeuclidean", 300, 3)
    truth = kernels.softmin(formula, h, epsilon=0.02)
    found = kernels.symmetric_softmin(formula, h, epsilon=0.02, guess=truth + shift)
    torch.testing.assert_close(found, truth, rtol=0.0, atol=1e-12)


@needs_extension
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_whose_sums_fall_beside_the_others_are_right_as_well(dtype):
    x = torch.rand(200, 2, generator=torch.Generator().manual_seed(0)).to(dtype)
    h = torch.linspace(0.0, -60.0, 200, dtype=dtype)  # over epsilon: factors down to e^-600
    formula = Formula("sqeuclidean", x, x, 1.0, 0.0)
    truth = kernels.softmin(Formula("sqeuclidean", x.double(), x.double(), 1.0, 0.0), h.double(), epsilon=0.1)
    found = kernels.symmetric_softmin(formula, h, epsilon=0.1, guess=h)
    torch.testing.assert_close(found.double(), truth, rtol=0.0, atol=1e-5 if dtype == torch.float32 else 1e-12)


@needs_extension
def test_points_at_infinite_cost_from_all_have_an_infinite_softmin():
    matrix = torch.tensor([[0.0, 1.0, INF], [1.0, 0.0, INF], [INF, INF, INF]])
    found = kernels.symmetric_softmin(
        Formula("stored", matrix, None, 1.0, 0.0), torch.zeros(3), epsilon=1.0, guess=torch.zeros(3)
    )
    assert found[2] == INF
    torch.testing.assert_close(found[:2], -(1.0 + torch.exp(torch.tensor([-1.0, -1.0]))).log())


def listed(n: int, dtype: torch.dtype) -> tuple[BlockSparse, Tensor]:
    """Points with the pairs of cells that matter for a potential."""
    x = torch.rand(n, 2, generator=torch.Generator().manual_seed(n)).to(dtype)
    f = 0.01 * x.sum(1)
    cells = Clusters.of(x.double())
    return BlockSparse.around(PointCloud(x, x), cells, cells, f, f, least=-0.05), f


@needs_extension
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [CELL - 1, 1000, 3000])
def test_lists_of_pairs_are_met_once(n, dtype):
    geometry, f = listed(n, dtype)
    pattern = geometry.pattern
    assert pattern.is_symmetric
    assert n < 1000 or pattern.density < 0.7
    h = f.clone()
    h[::9] = -INF  # rows that are done by themselves
    for each in (f, h):
        truth = kernels.softmin(geometry, each, epsilon=0.005)
        found = kernels.symmetric_softmin(geometry, each, epsilon=0.005, guess=truth)
        torch.testing.assert_close(found, truth, rtol=0.0, atol=1e-7 if dtype == torch.float32 else 1e-14)


@needs_extension
def test_a_list_that_is_not_symmetric_is_met_as_it_is():
    n = 3 * CELL
    x = torch.rand(n, 2, generator=torch.Generator().manual_seed(0))
    order = torch.arange(n)
    pattern = BlockPattern.from_list(
        order, order, torch.tensor([0, 2, 3, 4]), torch.tensor([0, 2, 1, 2], dtype=torch.int32)
    )
    assert not pattern.is_symmetric
    formula = Formula("sqeuclidean", x, x, 1.0, 0.0, pattern)
    truth = kernels.softmin(formula, x[:, 0], epsilon=0.1)
    found = kernels.symmetric_softmin(formula, x[:, 0], epsilon=0.1, guess=truth)
    torch.testing.assert_close(found, truth)


@needs_extension
def test_the_number_of_threads_changes_nothing():
    formula, h = problem("sqeuclidean", 5000, 3)
    formula, h = narrow(formula, torch.float32), h.float()
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            found.append(kernels.symmetric_softmin(formula, h, epsilon=0.1, guess=h))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@needs_extension
def test_the_binding_wants_as_many_sources_as_targets():
    x, y = torch.rand(3, 2), torch.rand(4, 2)
    with pytest.raises(ValueError, match="as many sources as targets: got 3 and 4"):
        kernels.symmetric_softmin(
            Formula("sqeuclidean", x, y, 1.0, 0.0), torch.zeros(4), epsilon=1.0, guess=torch.zeros(3)
        )
