"""All costs at once against the definition, a block at a time in float64."""

from __future__ import annotations

import pytest
import torch

from isotherm.kernels import CELL, BlockPattern, Formula, all_costs

KINDS = [
    ("sqeuclidean", 1.0, 0.0),
    ("sqeuclidean", 0.5, 0.25),
    ("sqeuclidean", -1.0, 0.5),
    ("dot", -1.0, 0.0),
    ("dot", -1.0, 1.0),
]
EPS = {torch.float32: 1.2e-7, torch.float64: 2.3e-16}


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def formula(kind, scale, offset, n=37, m=23, d=19, dtype=torch.float32):
    """Points that nearly coincide now and then, so that rounding could make a distance negative."""
    x = normal(n, d, dtype=dtype)
    y = torch.cat([x[: m // 2], normal(m - m // 2, d, seed=1, dtype=dtype)])
    return Formula(kind, x, y, scale, offset)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("kind", "scale", "offset"), KINDS)
@pytest.mark.parametrize(("n", "m", "d"), [(37, 23, 19), (1, 1, 9), (64, 128, 512), (5, 3, 2)])
def test_all_costs_are_those_of_blocks(kind, scale, offset, n, m, d, dtype):
    costs = formula(kind, scale, offset, n, m, d, dtype)
    size = float(costs.x.double().square().sum(1).max())
    found, wanted = all_costs(costs), costs.to(torch.float64).block(slice(None))
    assert found.shape == (n, m)
    assert found.dtype == dtype
    assert float((found.double() - wanted).abs().max()) <= 8 * EPS[dtype] * (size + abs(offset))


def test_all_costs_of_equal_points_are_not_negative():
    costs = formula("sqeuclidean", 1.0, 0.0)
    assert float(all_costs(costs).min()) >= 0.0
    assert float(all_costs(formula("sqeuclidean", -1.0, 0.0)).max()) <= 0.0


def test_all_costs_are_differentiable_where_a_derivative_is_asked_for():
    costs = formula("dot", -1.0, 0.0, dtype=torch.float64)
    x = costs.x.clone().requires_grad_()
    all_costs(Formula("dot", x, costs.y, -1.0)).sum().backward()
    torch.testing.assert_close(x.grad, -costs.y.sum(0).expand_as(x))


def test_all_costs_of_a_stored_matrix_are_its_entries():
    matrix = normal(3, 4)
    assert torch.equal(all_costs(Formula("stored", matrix, None, 2.0, 1.0)), 2.0 * matrix + 1.0)


def test_all_costs_of_unlisted_pairs_are_infinite():
    order, own = (
        torch.arange(2 * CELL),
        torch.arange(2, dtype=torch.int32),
    )  # each cell of sources meets its own of targets
    pattern = BlockPattern.from_list(order, order, torch.tensor([0, 1, 2]), own)
    found = all_costs(Formula("dot", normal(2 * CELL, 3), normal(2 * CELL, 3), pattern=pattern))
    assert bool(found[:CELL, CELL:].isinf().all())
    assert bool(found[:CELL, :CELL].isfinite().all())
