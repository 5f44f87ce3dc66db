"""Couplings with few pairs: built, converted, thresholded."""

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from isotherm import PointCloud, Problem, SparseCoupling, solve
from isotherm.coupling import EntropicCoupling


def plan(n: int = 6, m: int = 5, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    masses = torch.rand(n, m, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    masses = torch.where(masses < 0.6, 0.0, masses)
    masses[0, 0] = 0.5
    return (masses / masses.sum()).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_sparse_coupling_converts_to_scipy_and_torch(dtype):
    coupling = SparseCoupling.from_matrix(plan(dtype=dtype))
    matrix = coupling.to_scipy()
    assert isinstance(matrix, scipy.sparse.csr_array)
    assert matrix.dtype == plan(dtype=dtype).numpy().dtype
    assert np.array_equal(matrix.toarray(), plan(dtype=dtype).numpy())
    tensor = coupling.to_torch()
    assert tensor.is_sparse
    assert tensor.dtype == dtype
    assert torch.equal(tensor.to_dense(), plan(dtype=dtype))
    assert torch.equal(coupling.transpose().to_torch().to_dense(), plan(dtype=dtype).T)


def test_sparse_coupling_holds_the_pairs_with_mass_only():
    coupling = SparseCoupling.from_matrix(plan())
    assert coupling.mass.shape == coupling.rows.shape == coupling.cols.shape == (int((plan() > 0).sum()),)
    assert torch.equal(plan()[coupling.rows, coupling.cols], coupling.mass)
    assert (coupling.mass > 0).all()


def test_sparse_coupling_from_numpy_speaks_numpy():
    coupling = SparseCoupling.from_matrix(plan().numpy())
    for array in (coupling.rows, coupling.cols, coupling.mass, coupling.apply(np.ones(5)), coupling.to_dense()):
        assert isinstance(array, np.ndarray)
    assert np.array_equal(coupling.to_dense(), plan().numpy())


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        ([[-0.1, 1.1]], ValueError),
        ([[np.nan, 1.0]], ValueError),
        ([[np.inf, 1.0]], ValueError),
        ([0.5, 0.5], ValueError),
        ([["a", "b"]], TypeError),
    ],
)
def test_sparse_coupling_refuses_what_is_no_plan(bad, error):
    with pytest.raises(error, match=r"plan"):
        SparseCoupling.from_matrix(np.array(bad))


def test_sparse_rows_are_found_in_any_order():
    coupling = SparseCoupling.from_matrix(plan())
    shuffled = torch.randperm(len(coupling.mass), generator=torch.Generator().manual_seed(0))
    disordered = SparseCoupling(
        coupling.sources[shuffled], coupling.targets[shuffled], coupling.pair_mass[shuffled], coupling.shape
    )
    for rows in (slice(None), slice(2, 5), torch.tensor([4, 0, 4, 1])):
        assert torch.equal(disordered.plan_rows(rows), plan()[rows])


@settings(deadline=None, derandomize=True, max_examples=60)
@given(n=st.integers(1, 8), m=st.integers(1, 8), seed=st.integers(0, 2**30), threshold=st.floats(0.0, 1.0))
def test_to_sparse_keeps_exactly_the_pairs_above_the_threshold(n, m, seed, threshold):
    dense = plan(n, m, seed)
    kept = (dense > 0) & (dense >= threshold * dense.sum(1, keepdim=True))
    found = SparseCoupling.from_matrix(dense).to_sparse(threshold)
    assert torch.equal(found.to_dense(), torch.where(kept, dense, 0.0))


def test_to_sparse_drops_at_most_its_threshold_of_each_source():
    x, y = (torch.randn(60, 2, generator=torch.Generator().manual_seed(s), dtype=torch.float64) for s in (1, 2))
    coupling = solve(x, y, epsilon=0.2, tolerance=1e-6).coupling
    sparse = coupling.to_sparse(1e-4)
    assert 0 < len(sparse.mass) < 0.7 * 60 * 60
    lost = coupling.marginals().source - sparse.marginals().source
    assert (lost >= -1e-15).all()
    assert (lost <= 60 * 1e-4 * coupling.marginals().source).all()


def test_to_sparse_of_everything_below_the_threshold_is_empty():
    empty = SparseCoupling.from_matrix(torch.full((3, 4), 1 / 12)).to_sparse(0.9)
    assert empty.shape == (3, 4)
    assert len(empty.mass) == 0
    assert torch.equal(empty.to_dense(), torch.zeros(3, 4))
    assert empty.to_scipy().nnz == 0
    assert empty.to_torch().shape == (3, 4)


def test_to_sparse_does_not_depend_on_the_block_size(monkeypatch):
    problem = Problem(PointCloud(plan(9, 2, 1), plan(8, 2, 2)), epsilon=0.1)
    coupling = EntropicCoupling(problem, torch.zeros(9).double(), torch.zeros(8).double())
    whole, best = coupling.to_sparse(0.1), coupling.top_k(3)
    monkeypatch.setattr("isotherm.kernels.source.BLOCK_ENTRIES", 17)
    again = coupling.to_sparse(0.1)
    assert torch.equal(again.rows, whole.rows)
    assert torch.equal(again.cols, whole.cols)
    assert torch.equal(coupling.top_k(3).indices, best.indices)


def test_sparse_coupling_remembers_the_points():
    x, y = plan(6, 2, 1), plan(5, 2, 2)
    sparse = solve(x, y, epsilon=0.1).coupling.to_sparse()
    assert torch.equal(sparse.target_points, y)
    assert torch.equal(sparse.transpose().target_points, x)
    torch.testing.assert_close(sparse.barycentric_map(), sparse.barycentric_map(y))


def test_sparse_normalised_entropy_at_both_ends():
    matching = SparseCoupling.from_matrix(
        torch.eye(7)[torch.randperm(7, generator=torch.Generator().manual_seed(0))] / 7
    )
    assert matching.normalised_entropy() == pytest.approx(0.0, abs=1e-7)
    product = torch.outer(torch.tensor([0.2, 0.8]), torch.tensor([0.5, 0.3, 0.2])).double()
    assert SparseCoupling.from_matrix(product).normalised_entropy() == pytest.approx(1.0, abs=1e-7)
    assert SparseCoupling.from_matrix(torch.tensor([[1.0]])).normalised_entropy() == 0.0
    assert SparseCoupling.from_matrix(30 * product).normalised_entropy() == pytest.approx(1.0, abs=1e-7)
