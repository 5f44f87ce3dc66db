"""Reductions along one axis of a tensor: the compiled ones beside the definition in float64, on every instruction set."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from isotherm import kernels
from isotherm.kernels import compiled

has_extension = pytest.mark.skipif(bool(compiled.why_missing()), reason="; ".join(compiled.why_missing()))
SETS = compiled.extension.instruction_sets() if compiled.extension else []
SHAPES = [(1, 7, 5, 1), (3, 33, 47, 1), (5, 70, 50, 3), (2, 65, 33, 19), (1, 1, 1, 40), (1, 20, 18, 64), (2, 9, 1, 1)]
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def rand(*shape: int, seed: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def inputs(shape: tuple[int, int, int, int], kind: str, epsilon: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """h with some -inf, and costs; steep potentials send mass far, flat ones stay near."""
    outer, n, m, inner = shape
    x, y = rand(n, seed=1).sort().values, rand(m, seed=2).sort().values
    costs = {"square": (x[:, None] - y).square(), "distance": (x[:, None] - y).abs(), "any": rand(n, m, seed=3)}
    h = epsilon * rand(outer, m, inner, seed=4) + (2.0 * y[:, None] if kind == "square" else 0.0)
    h[rand(outer, m, inner, seed=5) < 0.2] = -torch.inf
    h[:, :, 0][rand(outer, seed=6) < 0.5] = -torch.inf  # lines without mass
    return h.to(dtype), costs[kind].to(dtype)


def log_sum(h: Tensor, costs: Tensor, epsilon: float) -> Tensor:
    scores = (h.double()[:, None] - costs.double()[None, :, :, None]) / epsilon  # (outer, n, m, inner)
    return epsilon * torch.logsumexp(scores, 2)


def rounding(h: Tensor, costs: Tensor, epsilon: float) -> float:
    """What a few roundings of the exponents amount to, in units of cost."""
    largest = float(h[h.isfinite()].abs().amax() if h.isfinite().any() else 0.0) + float(costs.abs().max())
    return 8 * torch.finfo(h.dtype).eps * (largest + 4 * epsilon)


@pytest.fixture(params=SETS)
def instruction_set(request: pytest.FixtureRequest) -> Iterator[str]:
    before = compiled.extension.instruction_set()
    compiled.extension.choose_instruction_set(request.param)
    yield request.param
    compiled.extension.choose_instruction_set(before)


@has_extension
@DTYPES
@pytest.mark.parametrize("epsilon", [1e-9, 1e-5, 1e-3, 1e-2, 1.0, 1e4])
@pytest.mark.parametrize("kind", ["square", "distance", "any"])
def test_axis_log_sum_is_its_definition_at_odd_sizes(instruction_set, kind, epsilon, dtype):
    for shape in SHAPES:
        h, costs = inputs(shape, kind, epsilon, dtype)
        with kernels.use("cpu"):
            found = kernels.axis_log_sum(h, costs, epsilon=epsilon)
        expected = log_sum(h, costs, epsilon)
        assert found.dtype == dtype
        assert torch.equal(found.isfinite(), expected.isfinite())
        assert not found.isnan().any()
        torch.testing.assert_close(found.double(), expected, rtol=0, atol=rounding(h, costs, epsilon))


@DTYPES
@pytest.mark.parametrize("backend", ["reference", pytest.param("cpu", marks=has_extension)])
@pytest.mark.parametrize("epsilon", [0.02, 1.0])
def test_axis_log_sum_with_weights_is_a_sum_of_products(backend, epsilon, dtype):
    for shape in SHAPES:
        h, costs = inputs(shape, "square", epsilon, dtype)
        weights = (costs - costs.min()).contiguous()
        with kernels.use(backend):
            found = (kernels.axis_log_sum(h, costs, epsilon=epsilon, weights=weights).double() / epsilon).exp()
        terms = ((h.double()[:, None] - costs.double()[None, :, :, None]) / epsilon).exp()
        expected = (weights.double()[None, :, :, None] * terms).sum(2)
        unit = terms.sum(2) * float(weights.max())
        error = torch.where(unit > 0, (found - expected).abs() / unit, found)
        assert float(error.max()) <= rounding(h, costs, epsilon) / epsilon


@pytest.mark.parametrize("epsilon", [1e-2, 1.0])
def test_axis_log_sum_reference_is_its_definition_and_differentiable(epsilon):
    h, costs = inputs((2, 5, 7, 3), "square", epsilon, torch.float64)
    with kernels.use("reference"):
        torch.testing.assert_close(kernels.axis_log_sum(h, costs, epsilon=epsilon), log_sum(h, costs, epsilon))
    finite = h.clamp(min=-1.0).requires_grad_()
    kernels.axis_log_sum(finite, costs, epsilon=epsilon).sum().backward()
    assert finite.grad is not None
    assert float(finite.grad.sum()) == pytest.approx(2 * 5 * 3)  # each of its results is moved by a constant as much


@has_extension
@DTYPES
def test_axis_max_is_its_definition(instruction_set, dtype):
    for shape in SHAPES:
        h, costs = inputs(shape, "any", 1.0, dtype)
        for backend in ("cpu", "reference"):
            with kernels.use(backend):
                found = kernels.axis_max(h, costs)
            assert torch.equal(found, (h[:, None] - costs[None, :, :, None]).amax(2))


@has_extension
@DTYPES
def test_axis_log_sum_does_not_depend_on_the_number_of_threads(dtype):
    h, costs = inputs((3, 33, 47, 29), "square", 0.01, dtype)
    found = []
    for threads in (1, 2, 5):
        out = torch.empty(3, 33, 29, dtype=dtype)
        compiled.extension.axis_log_sum(h, costs, None, 0.01, out, threads)
        found.append(out)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@has_extension
@DTYPES
def test_axis_log_sum_stays_finite_where_exponents_leave_the_floats(dtype):
    h, costs = torch.zeros(1, 4, 1, dtype=dtype), torch.tensor([[0.0, 1.0, 2.0, 3.0]] * 3, dtype=dtype)
    costs[1] += 1e30
    found = kernels.axis_log_sum(h, costs, epsilon=1e-37)
    assert found.isfinite().all()
    assert float(found[0, 0, 0]) == pytest.approx(0.0, abs=1e-30)


@has_extension
def test_axis_binding_names_what_does_not_fit():
    extension = compiled.extension
    h, costs, out = torch.zeros(2, 5, 3), torch.zeros(4, 5), torch.empty(2, 4, 3)
    with pytest.raises(ValueError, match=r"`costs` must have shape \(any, 5\): got \(4, 6\)"):
        extension.axis_log_sum(h, torch.zeros(4, 6), None, 1.0, out, 1)
    with pytest.raises(ValueError, match=r"`out` must have shape \(2, 4, 3\)"):
        extension.axis_log_sum(h, costs, None, 1.0, torch.empty(2, 5, 3), 1)
    with pytest.raises(ValueError, match=r"`weights` must have shape \(4, 5\)"):
        extension.axis_log_sum(h, costs, torch.zeros(5, 4), 1.0, out, 1)
    with pytest.raises(TypeError, match="float32"):
        extension.axis_max(h, costs.double(), out, 1)
    with pytest.raises(ValueError, match="epsilon"):
        extension.axis_log_sum(h, costs, None, 0.0, out, 1)
    with pytest.raises(ValueError, match="at least one node"):
        extension.axis_max(torch.zeros(1, 0, 1), torch.zeros(3, 0), torch.empty(1, 3, 1), 1)
    extension.axis_max(torch.zeros(0, 5, 3), costs, torch.empty(0, 4, 3), 1)
