"""Equal points as one: nothing changes but the number of pairs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from isotherm import PointCloud, Problem, solve
from isotherm.geometry import merge_equal_points


def copies():
    generator = torch.Generator().manual_seed(0)
    few = torch.randn(6, 2, generator=generator, dtype=torch.float64)
    weights = torch.rand(40, generator=generator, dtype=torch.float64)
    return few[torch.randint(6, (40,), generator=generator)], weights / weights.sum()


def test_weights_of_copies_add_up():
    points, weights = copies()
    merged = merge_equal_points(points, weights)
    assert merged.points.shape == (6, 2)
    assert float(merged.weights.sum()) == pytest.approx(1.0)
    assert torch.equal(merged.expand(merged.points), points)
    for k in range(6):
        mine = (points == merged.points[k]).all(1)
        assert float(merged.weights[k]) == pytest.approx(float(weights[mine].sum()))


def test_solution_on_distinct_points_is_the_solution():
    (x, a), y = copies(), torch.randn(9, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    merged = merge_equal_points(x, a)
    full = solve(x, y, a=a, epsilon=0.5, tolerance=1e-10)
    small = solve(merged.points, y, a=merged.weights, epsilon=0.5, tolerance=1e-10)
    assert torch.allclose(merged.expand(small.f), full.f, atol=1e-8)
    assert torch.allclose(small.g, full.g, atol=1e-8)
    assert torch.allclose(merged.expand(small.coupling.barycentric_map()), full.coupling.barycentric_map(), atol=1e-8)
    dense = PointCloud(x, y)
    assert float(small.value) == pytest.approx(float(full.value), abs=1e-9)
    assert Problem(dense, a, epsilon=0.5).geometry.shape == (40, 9)


def test_library_and_dtype_are_kept():
    merged = merge_equal_points(np.array([2.0, 1.0, 2.0], dtype=np.float32))
    assert isinstance(merged.points, np.ndarray)
    assert merged.weights.dtype == np.float32
    assert merged.expand(np.array([5.0, 6.0])).tolist() == [6.0, 5.0, 6.0]


def test_values_of_another_length_are_refused():
    with pytest.raises(ValueError, match="one row per distinct point, 1: got shape"):
        merge_equal_points(torch.zeros(3, 2)).expand(torch.zeros(3))
