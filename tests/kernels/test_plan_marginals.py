"""Both marginals of a plan in one pass against the dense definition in float64."""

import pytest
import torch
from torch import Tensor

from isotherm import kernels
from isotherm.geometry import CostMatrix, Grid, PointCloud, Tilted
from isotherm.kernels import BlockPattern, Formula, compiled
from isotherm.kernels.pattern import CELL

needs_extension = pytest.mark.skipif(bool(compiled.why_missing()), reason="; ".join(compiled.why_missing()))
BACKENDS = ["reference", pytest.param("cpu", marks=needs_extension)]
KINDS = ("sqeuclidean", "euclidean", "dot", "stored", "stored, transposed")
INF = torch.inf


def problem(kind: str, n: int, m: int, d: int = 3, epsilon: float = 0.3) -> tuple[Formula, Tensor, Tensor]:
    """Costs and potentials in float64, of numbers that float32 holds; rows of mass about one, some without."""
    generator = torch.Generator().manual_seed(n + m + d)
    x, y, matrix, q = (torch.rand(*s, generator=generator).double() for s in ((n, d), (m, d), (n, m), (m,)))
    formula = Formula(kind, x, y, 0.5, 0.125)  # pyright: ignore[reportArgumentType]
    if kind.startswith("stored"):
        formula = Formula("stored", matrix.T.contiguous().T if "transposed" in kind else matrix, None, 0.5, 0.125)
    q[: m // 7] = -INF
    p = kernels.softmin(formula, q, epsilon=epsilon).float().double()
    p[: n // 5] = -INF
    return formula, torch.where(p < INF, p, 0.0), q


def plan(formula: Formula, p: Tensor, q: Tensor, epsilon: float) -> Tensor:
    return ((p[:, None] + q - formula.block(slice(None))) / epsilon).exp()


def narrow(formula: Formula, dtype: torch.dtype) -> Formula:
    y = None if formula.y is None else formula.y.to(dtype)
    return Formula(formula.kind, formula.x.to(dtype), y, formula.scale, formula.offset)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "m", "d"), [(1, 1, 1), (67, 301, 3), (530, 9, 11), (0, 5, 2), (5, 0, 2)])
def test_both_marginals_equal_those_of_the_dense_plan(n, m, d, kind, dtype, backend):
    formula, p, q = problem(kind, n, m, d)
    truth = plan(formula, p, q, 0.3)
    with kernels.use(backend):
        found = kernels.plan_marginals(narrow(formula, dtype), p.to(dtype), q.to(dtype), epsilon=0.3)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-13
    for ours, theirs, potential in zip(found, (truth.sum(1), truth.sum(0)), (p, q), strict=True):
        assert ours.dtype == dtype
        torch.testing.assert_close(ours.double(), theirs, rtol=tolerance, atol=tolerance)
        assert (ours[potential == -INF] == 0).all()


@needs_extension
@pytest.mark.parametrize("kind", ["sqeuclidean", "stored", "stored, transposed"])
def test_columns_of_many_panels_equal_one_side_after_the_other(kind):
    n, m = 2100, 9000  # column sums of all chunks together are taken a panel at a time
    formula, p, q = problem(kind, n, m)
    rows, columns = kernels.plan_marginals(formula, p, q, epsilon=0.3)
    one = torch.ones(m, 1, dtype=torch.float64)
    torch.testing.assert_close(rows, kernels.plan_apply(formula, p, q, one, epsilon=0.3)[:, 0], rtol=1e-13, atol=0)
    other = kernels.plan_apply(formula.transpose(), q, p, one[:n], epsilon=0.3)[:, 0]
    torch.testing.assert_close(columns, other, rtol=1e-13, atol=0)


@needs_extension
def test_both_marginals_do_not_depend_on_the_number_of_threads():
    formula, p, q = problem("euclidean", 700, 333)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            found.append(torch.cat(kernels.plan_marginals(formula, p, q, epsilon=0.3)))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@needs_extension
def test_both_marginals_of_listed_pairs_leave_out_the_others():
    formula, p, q = problem("sqeuclidean", 2 * CELL, CELL)
    starts, blocks = torch.tensor([0, 0, 1]), torch.zeros(1, dtype=torch.int32)  # the second cell alone
    pattern = BlockPattern.from_list(torch.arange(2 * CELL), torch.arange(CELL), starts, blocks)
    listed = Formula("sqeuclidean", formula.x, formula.y, 0.5, 0.125, pattern)
    rows, columns = kernels.plan_marginals(listed, p, q, epsilon=0.3)
    truth = plan(formula, p, q, 0.3)
    truth[:CELL] = 0.0
    torch.testing.assert_close(rows, truth.sum(1), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(columns, truth.sum(0), rtol=1e-12, atol=1e-14)


@needs_extension
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("n", "m"), [(1, 1), (2000, 1300), (130, 4100)])
def test_both_marginals_of_a_list_in_another_order_are_sums_of_two_passes(n, m, dtype):
    formula, p, q = problem("sqeuclidean", n, m)
    generator = torch.Generator().manual_seed(1)
    cells = -(-n // CELL), -(-m // CELL)
    meets = torch.rand(cells, generator=generator) < 0.4
    meets[:, 0] = True
    starts = torch.cat([torch.zeros(1, dtype=torch.int64), meets.sum(1).cumsum(0)])
    orders = torch.randperm(n, generator=generator), torch.randperm(m, generator=generator)
    pattern = BlockPattern.from_list(*orders, starts, meets.nonzero()[:, 1].int())
    listed = Formula("sqeuclidean", formula.x.to(dtype), formula.tensors[1].to(dtype), 0.5, 0.125, pattern)
    with kernels.count_work() as work:
        rows, columns = kernels.plan_marginals(listed, p.to(dtype), q.to(dtype), epsilon=0.3)
    assert work.exponentials <= float(meets.sum()) * CELL**2  # one for each listed pair
    exact = Formula("sqeuclidean", formula.x, formula.y, 0.5, 0.125, pattern)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-13
    one = torch.ones(max(n, m), 1, dtype=torch.float64)
    wanted = kernels.plan_apply(exact, p, q, one[:m], epsilon=0.3)[:, 0]
    torch.testing.assert_close(rows.double(), wanted, rtol=tolerance, atol=tolerance)
    wanted = kernels.plan_apply(exact.transpose(), q, p, one[:n], epsilon=0.3)[:, 0]
    torch.testing.assert_close(columns.double(), wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", ["sqeuclidean", "stored"])
def test_both_marginals_are_differentiable(kind, backend):
    formula, p, q = problem(kind, 3, 4)
    inputs = [tensor.clone().requires_grad_() for tensor in (p, q, *formula.tensors)]

    def run(p: Tensor, q: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        return kernels.plan_marginals(Formula(formula.kind, *tensors, scale=0.5), p, q, epsilon=0.3)

    with kernels.use(backend):
        assert torch.autograd.gradcheck(run, inputs)


@pytest.mark.parametrize("name", ["cloud", "dear cloud", "function", "matrix", "grid", "tilted"])
def test_every_geometry_has_both_marginals(name):
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.rand(6, 70 if name == "dear cloud" else 2, generator=generator).double() for _ in range(2))
    cloud = PointCloud(x, y, "euclidean" if name == "cloud" else "sqeuclidean")
    geometry = {
        "function": PointCloud(x, y, lambda x, y: (x[:, None] - y).abs().sum(-1)),
        "matrix": CostMatrix(cloud.block(slice(None))),
        "grid": Grid([torch.linspace(0, 1, 3).double(), torch.linspace(0, 1, 2).double()]),
        "tilted": Tilted(cloud, torch.rand(6, 6, generator=generator).double(), 0.5),
    }.get(name, cloud)
    p, q = torch.rand(2, 6, generator=generator).double()
    dense = ((p[:, None] + q - geometry.block(slice(None))) / 0.5).exp()
    rows, columns = geometry.plan_marginals(p, q, epsilon=0.5)
    torch.testing.assert_close(rows, dense.sum(1), rtol=1e-11, atol=0)
    torch.testing.assert_close(columns, dense.sum(0), rtol=1e-11, atol=0)
