"""What a problem accepts, refuses and derives."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch

from isotherm import CostMatrix, Grid, PointCloud, Problem, Relative

COST = torch.tensor([[0.0, 1.0, 4.0], [1.0, 0.0, 1.0]], dtype=torch.float64)
HALVES, THIRDS = torch.full((2,), 1 / 2, dtype=torch.float64), torch.full((3,), 1 / 3, dtype=torch.float64)


def problem(**changes) -> Problem:
    given = {"geometry": CostMatrix(COST), "a": None, "b": None, "epsilon": 0.5} | changes
    return Problem(given.pop("geometry"), given.pop("a"), given.pop("b"), **given)


def test_problem_weights_default_to_equal():
    default = problem()
    torch.testing.assert_close(default.a, HALVES)
    torch.testing.assert_close(default.b, THIRDS)
    assert default.is_balanced


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_problem_keeps_the_dtype_of_its_costs(dtype):
    asked = problem(geometry=CostMatrix(COST.to(dtype)), a=[0.25, 0.75], reference=np.ones((2, 3)))
    assert {asked.a.dtype, asked.b.dtype, asked.reference.dtype} == {dtype}


def test_problem_reads_integer_and_list_weights():
    asked = problem(a=np.array([1, 2]), b=[1, 1, 1])
    assert asked.a.tolist() == [1.0, 2.0]
    assert asked.b.tolist() == [1.0, 1.0, 1.0]


def test_problem_reads_images_on_grids():
    image = torch.rand(4, 5, generator=torch.Generator().manual_seed(0))
    grid = Grid((torch.arange(4.0), torch.arange(5.0)))
    asked = Problem(grid, image, image.flatten(), epsilon=1.0)
    assert asked.a.shape == (20,)
    torch.testing.assert_close(asked.a, asked.b)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"a": [0.5, 0.25, 0.25]}, r"`a` must have one weight per point, shape \(2,\): got \(3,\)"),
        ({"b": [0.5, 0.5]}, r"`b` must have one weight per point, shape \(3,\)"),
        ({"a": [1.5, -0.5]}, "`a` must be non-negative: got -0.5"),
        ({"a": [0.0, 0.0]}, "`a` must have a positive total mass"),
        ({"a": [math.nan, 1.0]}, r"`a` must be finite.*index \(0,\)"),
        ({"b": [0.0, math.inf, 1.0]}, r"`b` must be finite.*index \(1,\)"),
        ({"a": [0.5, 0.6]}, r"`a` must sum to the same mass as `b`: got 1\.1 and 1.*rho_a and rho_b"),
        ({"epsilon": -1.0}, "`epsilon` must be positive and finite: got -1"),
        ({"epsilon": math.nan}, "`epsilon` must be positive and finite: got nan"),
        ({"epsilon": math.inf}, "`epsilon` must be positive and finite: got inf"),
        ({"rho_a": 0.0}, "`rho_a` must be positive: got 0"),
        ({"rho_b": math.nan}, "`rho_b` must be positive: got nan"),
        ({"reference": torch.ones(3, 2)}, r"`reference` must have shape.*\(2, 3\): got \(3, 2\).*Transpose"),
        ({"reference": -torch.ones(2, 3)}, "`reference` must be non-negative"),
        ({"reference": torch.full((2, 3), math.nan)}, "`reference` must be finite"),
        ({"reference": [[0.0] * 3, [1.0] * 3]}, "connect every source that has mass: source 0"),
        ({"reference": [[0.0, 1.0, 1.0]] * 2}, "connect every target that has mass: target 0"),
        ({"geometry": CostMatrix(torch.zeros(2, 3)), "epsilon": Relative(0.1)}, "needs a positive finite mean"),
    ],
)
def test_problem_refuses_bad_values(changes, message):
    with pytest.raises(ValueError, match=message):
        problem(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"geometry": COST}, "`geometry` must be a PointCloud, CostMatrix or Grid: got Tensor"),
        ({"epsilon": "0.1"}, "`epsilon` must be a number"),
        ({"epsilon": True}, "`epsilon` must be a number"),
        ({"rho_a": "inf"}, "`rho_a` must be a positive number"),
        ({"a": ["x", "y"]}, "`a` must hold real numbers"),
    ],
)
def test_problem_refuses_bad_types(changes, message):
    with pytest.raises(TypeError, match=message):
        problem(**changes)


def test_problem_refuses_costs_of_a_function_that_are_not_finite():
    cloud = PointCloud(torch.tensor([1.0, 0.0]), torch.tensor([1.0]), lambda x, y: y.T / x)
    with pytest.raises(ValueError, match="cost function's value"):
        Problem(cloud, epsilon=1.0)


def test_problem_unequal_masses_are_legal_when_unbalanced():
    for rho_a, rho_b in ((1.0, math.inf), (math.inf, 1.0), (1.0, 1.0)):
        asked = problem(a=[0.5, 0.6], rho_a=rho_a, rho_b=rho_b)
        assert not asked.is_balanced
        assert float(asked.a.sum()) == pytest.approx(1.1)


@pytest.mark.parametrize("of", ["mean", "std"])
def test_problem_resolves_relative_temperature(of):
    a = torch.tensor([0.3, 0.7], dtype=torch.float64)
    weights = torch.outer(a, THIRDS)
    mean = float((weights * COST).sum())
    scale = mean if of == "mean" else float((weights * (COST - mean).square()).sum().sqrt())
    assert problem(a=a, epsilon=Relative(0.1, of=of)).epsilon == pytest.approx(0.1 * scale, rel=1e-12)
    heavy = problem(a=5 * a, b=5 * THIRDS, epsilon=Relative(0.1, of=of))
    assert heavy.epsilon == pytest.approx(0.1 * scale, rel=1e-12)


def test_problem_zero_temperature_is_legal():
    assert problem(epsilon=0).epsilon == 0.0


def test_problem_is_frozen():
    with pytest.raises(FrozenInstanceError):
        problem().epsilon = 1.0


def test_problem_at_changes_the_temperature_alone():
    asked = problem(a=[0.25, 0.75], reference=torch.ones(2, 3))
    cooler = asked.at(0.1)
    assert (asked.epsilon, cooler.epsilon) == (0.5, 0.1)
    assert cooler.geometry is asked.geometry
    assert cooler.a is asked.a
    with pytest.raises(ValueError, match="`epsilon`"):
        asked.at(-0.1)


def test_problem_temperature_reaches_the_tilted_costs():
    reference = torch.tensor([[0.5, 0.25, 0.25], [1.0, 1.0, 0.0]], dtype=torch.float64)
    asked = problem(reference=reference)
    for epsilon in (0.5, 0.1):
        ratio = reference.log() - torch.outer(HALVES, THIRDS).log()
        tilted = asked.at(epsilon).tilted_geometry.block(slice(None))
        torch.testing.assert_close(tilted, COST - epsilon * ratio)
    assert problem().tilted_geometry is not asked.tilted_geometry
    assert isinstance(problem().tilted_geometry, CostMatrix)


def test_problem_transpose_swaps_everything_and_twice_nothing():
    reference = torch.rand(2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    asked = problem(a=[0.25, 0.75], rho_a=1.0, rho_b=2.0, reference=reference)
    swapped = asked.transpose()
    assert swapped.geometry.shape == (3, 2)
    assert (swapped.rho_a, swapped.rho_b) == (2.0, 1.0)
    torch.testing.assert_close(swapped.geometry.block(slice(None)), COST.T)
    torch.testing.assert_close(swapped.a, asked.b)
    torch.testing.assert_close(swapped.reference, reference.T)
    back = swapped.transpose()
    torch.testing.assert_close(back.a, asked.a)
    torch.testing.assert_close(back.geometry.block(slice(None)), COST)


def test_problem_double_makes_masses_equal():
    generator = torch.Generator().manual_seed(1)
    a, b = (torch.rand(size, generator=generator) for size in (200, 300))
    cloud = PointCloud(torch.rand(200, 2, generator=generator), torch.rand(300, 2, generator=generator))
    asked = Problem(cloud, a / a.sum(), b / b.sum(), epsilon=0.1)
    precise = asked.double()
    assert {precise.a.dtype, precise.b.dtype, precise.geometry.dtype} == {torch.float64}
    assert abs(float(precise.a.sum() - precise.b.sum())) < 1e-15
    assert precise.double() is precise


@pytest.mark.parametrize("reference", [None, torch.full((2, 3), 0.2, dtype=torch.float64)])
def test_problem_reference_mass(reference):
    asked = problem(a=3 * HALVES, b=3 * THIRDS, reference=reference)
    assert float(asked.reference_mass) == pytest.approx(9.0 if reference is None else 1.2)


def test_problem_log_weights_mark_empty_points():
    log_a, _ = problem(a=[0.0, 1.0]).log_weights
    assert log_a.tolist() == [-math.inf, 0.0]


def test_problem_leaves_its_inputs():
    a, b = np.array([0.25, 0.75]), np.full(3, 1 / 3)
    copies = a.copy(), b.copy()
    a.flags.writeable = False
    problem(a=a, b=b)
    np.testing.assert_array_equal(a, copies[0])
    np.testing.assert_array_equal(b, copies[1])
