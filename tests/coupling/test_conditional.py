"""Drawing from tables of probabilities: by inversion, evenly spread, never what has no mass."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isotherm._arrays import Namespace
from isotherm.coupling import Conditional
from isotherm.coupling.conditional import draw_rows, invert_cdf

MASSES = st.lists(st.one_of(st.just(0.0), st.floats(1e-30, 1.0)), min_size=1, max_size=8).filter(any)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(masses=MASSES, draw=st.one_of(st.just(0.0), st.just(1.0 - 2.0**-53), st.floats(0.0, 1.0, exclude_max=True)))
def test_inversion_finds_the_entry_a_draw_falls_into(masses, draw):
    weights = torch.tensor(masses, dtype=torch.float64)
    index = int(invert_cdf(weights[None], torch.tensor([[draw]], dtype=torch.float64)))
    total = float(weights.sum())
    assert masses[index] > 0.0
    below, above = float(weights[:index].sum()) / total, float(weights[: index + 1].sum()) / total
    assert below - 1e-12 <= draw <= above + 1e-12


def test_inversion_takes_every_row_by_itself():
    weights = torch.tensor([[0.0, 1.0, 0.0], [3.0, 0.0, 1.0]])
    draws = torch.tensor([[0.0, 0.999], [0.74, 0.76]], dtype=torch.float64)
    assert invert_cdf(weights, draws).tolist() == [[1, 1], [0, 2]]


@settings(deadline=None, derandomize=True, max_examples=100)
@given(masses=MASSES, k=st.integers(1, 50), seed=st.integers(0, 2**30))
def test_stratified_rows_appear_as_often_as_their_share_rounded(masses, k, seed):
    weights = torch.tensor(masses, dtype=torch.float64)
    rows = draw_rows(weights, k, torch.Generator().manual_seed(seed), is_stratified=True)
    counts, wanted = torch.bincount(rows, minlength=len(masses)), k * weights / weights.sum()
    assert (counts >= (wanted - 1e-9).floor()).all()
    assert (counts <= (wanted + 1e-9).ceil()).all()
    assert torch.equal(rows, rows.sort().values)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_stratified_rows_of_equal_weights_appear_once_each(size, dtype):
    for seed in range(20):
        weights = torch.full((size,), 1 / size, dtype=dtype)
        rows = draw_rows(weights, size, torch.Generator().manual_seed(seed), is_stratified=True)
        assert torch.equal(rows, torch.arange(size))


def test_conditional_of_one_and_of_several():
    table = torch.tensor([[0.25, 0.75], [1.0, 0.0]], dtype=torch.float64)
    points = torch.tensor([[0.0, 4.0], [8.0, 0.0]], dtype=torch.float64)
    several = Conditional(table=table, points=points, namespace=Namespace.TORCH)
    assert several.mean().tolist() == [[6.0, 1.0], [0.0, 4.0]]
    assert several.mean(torch.tensor([4.0, 8.0])).tolist() == [7.0, 4.0]
    assert several.sample(3).shape == (2, 3)
    assert several.sample(50)[1].tolist() == [0] * 50
    one = Conditional(table=table[0], points=points, namespace=Namespace.NUMPY)
    assert one.mean().tolist() == [6.0, 1.0]
    assert one.mean([4.0, 8.0]) == 7.0
    assert one.sample(3).shape == (3,)


def test_conditional_refuses_bad_arguments():
    law = Conditional(table=torch.tensor([0.5, 0.5]), points=None, namespace=Namespace.TORCH)
    with pytest.raises(ValueError, match=r"Pass `values`, one per target"):
        law.mean()
    with pytest.raises(ValueError, match=r"`values` must have one entry per point, shape \(2,\)"):
        law.mean(torch.zeros(3))
    with pytest.raises(ValueError, match=r"`values` must be finite"):
        law.mean(torch.tensor([0.0, torch.nan]))
    with pytest.raises(ValueError, match=r"`k` must be at least 1"):
        law.sample(0)
    with pytest.raises(TypeError, match=r"`k` must be a whole number"):
        law.sample(1.5)
