"""Costs given as a matrix: held as they are, checked once."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from isotherm._arrays import Namespace
from isotherm.geometry import CostMatrix


def matrix(n: int = 6, m: int = 4, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(n, m, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)


def test_cost_matrix_block_is_the_matrix():
    costs = CostMatrix(matrix())
    assert torch.equal(costs.block(slice(None)), matrix())
    assert torch.equal(costs.block(torch.tensor([3, 0])), matrix()[[3, 0]])
    assert (costs.shape, costs.dtype, costs.namespace) == ((6, 4), torch.float64, Namespace.TORCH)
    assert costs.source_points is None
    assert costs.target_points is None


def test_cost_matrix_transposed_is_the_transpose():
    costs = CostMatrix(matrix())
    assert torch.equal(costs.transpose().block(slice(None)), matrix().T)
    assert torch.equal(costs.transpose().for_iteration().block(slice(None)), matrix().T)
    assert costs.transpose().for_iteration().matrix.is_contiguous()
    assert torch.equal(costs.transpose().transpose().block(slice(None)), matrix())
    assert costs.for_iteration() is costs


def test_cost_matrix_double_is_the_same_matrix():
    costs = CostMatrix(matrix(dtype=torch.float32))
    assert costs.dtype == torch.float32
    assert torch.equal(costs.double().block(slice(None)), matrix(dtype=torch.float32).double())


def test_cost_matrix_range_and_scale():
    assert CostMatrix(matrix()).cost_range() == (float(matrix().min()), float(matrix().max()))
    assert CostMatrix(matrix()).coordinate_scale == float(matrix().abs().max())


def test_cost_matrix_from_numpy_shares_nothing_it_writes_to():
    array = matrix().numpy().copy()
    before = array.copy()
    costs = CostMatrix(array)
    costs.softmin(torch.zeros(4, dtype=torch.float64), epsilon=0.1)
    costs.plan_cost(torch.zeros(6).double(), torch.zeros(4).double(), epsilon=0.1)
    costs.product_square_deviation(torch.ones(6).double(), torch.ones(4).double(), torch.tensor(0.5).double())
    assert np.array_equal(array, before)
    assert costs.namespace is Namespace.NUMPY


def test_cost_matrix_takes_lists_and_integers():
    assert CostMatrix([[0, 1], [1, 0]]).dtype == torch.float64
    assert CostMatrix(torch.tensor([[0, 1], [1, 0]])).dtype == torch.get_default_dtype()


@pytest.mark.parametrize("shape", [(3,), (), (0, 3), (3, 0), (2, 2, 2)])
def test_cost_matrix_refuses_other_shapes(shape):
    with pytest.raises(ValueError, match=r"must have shape \(sources, targets\)"):
        CostMatrix(torch.zeros(shape))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_cost_matrix_refuses_entries_that_are_not_finite(bad):
    costs = matrix()
    costs[2, 1] = bad
    with pytest.raises(ValueError, match=r"`cost matrix` must be finite: got 1 .* \(2, 1\)"):
        CostMatrix(costs)


@pytest.mark.parametrize("bad", [[["a", "b"]], [[None, 1.0]], [[1.0, 2.0], [1.0]], [[1j, 0.0]]])
def test_cost_matrix_refuses_what_is_not_numbers(bad):
    with pytest.raises(TypeError, match=r"`cost matrix`"):
        CostMatrix(bad)


def test_cost_matrix_shows_its_size_not_its_entries():
    assert repr(CostMatrix(matrix())) == "CostMatrix(6 x 4, torch.float64, cpu)"


def test_cost_matrix_detached_is_outside_every_graph():
    costs = CostMatrix(matrix().requires_grad_())
    assert not costs.detach().block(slice(None)).requires_grad
    assert torch.equal(costs.detach().block(slice(None)), matrix())


def test_cost_matrix_cannot_be_extended():
    with pytest.raises(
        TypeError, match=r"New points can be mapped only where the cost is a function of points.*PointCloud"
    ):
        CostMatrix(matrix()).extend(torch.zeros(1, 2))
