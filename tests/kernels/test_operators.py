"""The fused passes as operators of torch: derivatives of both orders, torch.compile, torch.library.opcheck."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor

from isotherm import kernels
from isotherm.geometry import CostMatrix, EuclideanPower, PointCloud
from isotherm.kernels import Formula, compiled, ops

pytestmark = pytest.mark.skipif(bool(compiled.why_missing()), reason="; ".join(compiled.why_missing()))

KINDS = ["sqeuclidean", "euclidean", "dot", "stored"]
DIMENSIONS = [1, 3, 9]  # differences below 9, inner products from there
COSTS = ["sqeuclidean", "half_sqeuclidean", "euclidean", "cosine", "negative_dot"]
EPSILON = 1.3
INF = torch.inf


def tensors(*shapes: tuple[int, ...], seed: int = 0) -> list[Tensor]:
    """Normal entries in float64, asking for derivatives."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_() for shape in shapes]


def points(kind: str, d: int, n: int = 5, m: int = 7) -> list[Tensor]:
    """What the costs are made of: two clouds, or the matrix."""
    return tensors((n, m)) if kind == "stored" else tensors((n, d), (m, d))


def costs(kind: str, given: tuple[Tensor, ...]) -> Formula:
    return Formula(kind, *given, scale=-0.3 if kind == "dot" else 0.7, offset=0.2)


def run_softmin(kind: str):
    return lambda h, *given: kernels.softmin(costs(kind, given), h, epsilon=EPSILON)


def run_plan_apply(kind: str):
    return lambda p, q, values, *given: kernels.plan_apply(costs(kind, given), p, q, values, epsilon=EPSILON)


def run_conditional_mean(kind: str):
    return lambda h, values, *given: kernels.conditional_mean(costs(kind, given), h, values, epsilon=EPSILON)


def run_plan_grad(kind: str):
    return lambda p, q, *given: kernels.plan_grad(costs(kind, given), p, q, epsilon=EPSILON)


RUNS = {  # the reduction, and the shapes of what it takes beside costs
    "softmin": (run_softmin, [(7,)]),
    "plan_apply": (run_plan_apply, [(5,), (7,), (7, 2)]),
    "conditional_mean": (run_conditional_mean, [(7,), (7, 2)]),
    "plan_grad": (run_plan_grad, [(5,), (7,)]),
}
CASES = [
    (name, kind, d)
    for name in RUNS
    for kind in KINDS
    for d in DIMENSIONS
    if not (kind == "stored" and (d > 1 or name == "plan_grad"))
]


def derivatives(run, inputs: list[Tensor], order: int = 2, seed: int = 3) -> list[Tensor]:
    """Value, gradient, and for order 2 the gradient of a random combination of the gradient."""
    generator = torch.Generator().manual_seed(seed)
    out = run(*inputs)
    outs = out if isinstance(out, tuple) else (out,)
    weights = [torch.randn(t.shape, generator=generator, dtype=t.dtype) for t in outs]
    first = torch.autograd.grad(outs, inputs, weights, create_graph=True)
    if order == 1:
        return [*outs, *first]
    weights = [torch.randn(t.shape, generator=generator, dtype=t.dtype) for t in first]
    second = torch.autograd.grad(first, inputs, weights, allow_unused=True, materialize_grads=True)
    return [*outs, *first, *second]


def without_cdist(monkeypatch) -> None:
    """Distances the reference can differentiate twice in any dimension; torch.cdist can be once."""
    monkeypatch.setattr("isotherm.kernels.pairs.MAX_DIFFERENCE_DIMENSION", 99)


@pytest.mark.parametrize(("name", "kind", "d"), CASES)
def test_derivatives_equal_those_of_the_reference(name, kind, d, monkeypatch):
    without_cdist(monkeypatch)
    make, shapes = RUNS[name]
    inputs = [*tensors(*shapes, seed=1), *points(kind, d)]
    order = 1 if name == "plan_grad" else 2
    with kernels.use("cpu"):
        fused = derivatives(make(kind), inputs, order)
    with kernels.use("reference"):
        plain = derivatives(defined_plan_grad(kind) if name == "plan_grad" else make(kind), inputs, order)
    for found, truth in zip(fused, plain, strict=True):
        torch.testing.assert_close(found, truth, rtol=1e-11, atol=1e-12)


def defined_plan_grad(kind: str):
    """The gradient of <P, C> with P a constant, by autograd on dense tensors."""

    def run(p: Tensor, q: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        plan = ((p[:, None] + q - costs(kind, (x, y)).block(slice(None))) / EPSILON).exp()
        moved = [t.view_as(t) for t in (x, y)]
        matrix = costs(kind, tuple(moved)).block(slice(None))
        by_x, by_y = torch.autograd.grad(matrix, moved, plan, create_graph=True)
        return by_x, by_y

    return run


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", RUNS)
def test_operator_passes_gradcheck(name, kind):
    if name == "plan_grad" and kind == "stored":
        pytest.skip("a matrix has no points")
    make, shapes = RUNS[name]
    inputs = [*tensors(*shapes, seed=1), *points(kind, 2)]
    with kernels.use("cpu"):
        assert torch.autograd.gradcheck(make(kind), inputs)
        if name != "plan_grad":
            assert torch.autograd.gradgradcheck(make(kind), inputs)


def test_third_derivative_by_points_is_refused():
    (x, y), (h,) = points("sqeuclidean", 2), tensors((7,))
    f = kernels.softmin(Formula("sqeuclidean", x, y), h, epsilon=EPSILON).sum()
    (first,) = torch.autograd.grad(f, x, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match=r'kernels\.use\("reference"\)'):
        torch.autograd.grad(second.square().sum(), x)


def test_third_derivative_by_potentials_is_right():
    (x, y), (h,) = points("sqeuclidean", 2), tensors((7,))
    found = []
    for backend in ("cpu", "reference"):
        with kernels.use(backend):
            value = kernels.softmin(Formula("sqeuclidean", x.detach(), y.detach()), h, epsilon=EPSILON).sum()
            for _ in range(2):
                (grad,) = torch.autograd.grad(value, h, create_graph=True)
                value = grad.square().sum()
            found.append(torch.autograd.grad(value, h)[0])
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-12)


# -------------------------------------------------------------------------------------- points of all kinds of geometry


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("d", [2, 10])
def test_gradient_through_a_point_cloud_is_the_references(cost, d):
    x, y, h = tensors((6, d), (8, d), (8,))
    found = []
    for backend in ("cpu", "reference"):
        with kernels.use(backend):
            cloud = PointCloud(x, y, cost)
            f = cloud.softmin(h, epsilon=EPSILON)
            mapped = cloud.conditional_mean(h, y, epsilon=EPSILON)
            found.append(torch.autograd.grad(f.sin().sum() + mapped.square().sum(), (x, y, h)))
    for fused, plain in zip(*found, strict=True):
        torch.testing.assert_close(fused, plain, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("cost", [*COSTS, "power_0.5", "power_3"])
@pytest.mark.parametrize("d", [2, 10])
def test_no_gradient_is_nan_at_coincident_points(cost, d, backend):
    (x, h) = tensors((6, d), (6,))
    y = x.detach().clone().requires_grad_()  # every x_i on a y_i
    named = EuclideanPower(float(cost.removeprefix("power_"))) if cost.startswith("power") else cost
    with kernels.use("reference" if cost.startswith("power") else backend):
        cloud = PointCloud(x, y, named)
        f = cloud.softmin(h, epsilon=0.1)
        product = cloud.plan_apply(f, h, y, epsilon=0.1)
        grads = torch.autograd.grad(f.sum() + product.square().sum(), (x, y, h))
    assert all(grad.isfinite().all() for grad in grads)


@pytest.mark.parametrize("kind", ["sqeuclidean", "euclidean", "dot"])
def test_no_second_derivative_is_nan_at_coincident_points(kind):
    (x, h) = tensors((6, 3), (6,))
    y = x.detach().clone().requires_grad_()
    found = derivatives(run_softmin(kind), [h, x, y])
    assert all(t.isfinite().all() for t in found)


def test_points_without_mass_have_no_derivative():
    x, y = points("sqeuclidean", 2)
    h = torch.tensor([0.0, -INF, 0.3, -INF, 0.1, 0.0, -0.2], dtype=torch.float64, requires_grad=True)
    f = kernels.softmin(Formula("sqeuclidean", x, y), h, epsilon=EPSILON)
    by_y, by_h = torch.autograd.grad(f.sum(), (y, h))
    assert torch.equal(by_h[[1, 3]], torch.zeros(2, dtype=torch.float64))
    assert torch.equal(by_y[[1, 3]], torch.zeros(2, 2, dtype=torch.float64))
    torch.testing.assert_close(-by_h.sum(), torch.tensor(5.0, dtype=torch.float64))


def test_rows_that_reach_no_target_have_derivative_zero():
    matrix = torch.tensor([[INF, INF], [0.5, INF]], dtype=torch.float64, requires_grad=True)
    h = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    f = kernels.softmin(Formula("stored", matrix), h, epsilon=1.0)
    assert f.tolist() == [INF, 0.5]
    by_c, by_h = torch.autograd.grad(f[1] + torch.where(f < INF, f, 0.0).sum(), (matrix, h))
    assert by_c.tolist() == [[0.0, 0.0], [2.0, 0.0]]
    assert by_h.tolist() == [-2.0, 0.0]


def test_guess_changes_no_derivative():
    (x, y), (h, guess) = points("sqeuclidean", 3), tensors((7,), (5,))
    f = kernels.softmin(Formula("sqeuclidean", x, y), h, epsilon=EPSILON)
    g = kernels.softmin(Formula("sqeuclidean", x, y), h, epsilon=EPSILON, guess=guess)
    for found, truth in zip(*(torch.autograd.grad(t.sum(), (x, y, h)) for t in (g, f)), strict=True):
        torch.testing.assert_close(found, truth, rtol=1e-12, atol=1e-13)
    assert torch.autograd.grad(g.sum(), guess, allow_unused=True) == (None,)


# ---------------------------------------------------------------------------------------------- how torch sees them


def operator_inputs(name: str, kind: str) -> tuple:
    """Arguments of `torch.ops.isotherm.<name>`."""
    given = points(kind, 3)
    x, y = (*given, None)[:2]
    p, q, left, right, z = tensors((5,), (7,), (5, 2), (7, 2), (5, 3), seed=1)
    settings = (kind, 0.7, 0.2, [], EPSILON)
    return {
        "softmin": (x, y, q, None, *settings),
        "plan_apply": (x, y, p, q, right, *settings),
        "plan_grad": (x, y, p, q, left, right, *settings),
        "plan_curvature": (*(t if t is None else t.detach() for t in (x, y, p, q, left, right, z)), *settings),
    }[name]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ops.__all__)
def test_operator_passes_opcheck(name, kind):
    if kind == "stored" and name in ("plan_grad", "plan_curvature"):
        pytest.skip("a matrix has no points")
    torch.library.opcheck(getattr(torch.ops.isotherm, name).default, operator_inputs(name, kind))


def test_operator_passes_opcheck_with_a_guess_and_without_weights():
    x, y, p, q, _, _, *settings = operator_inputs("plan_grad", "euclidean")
    torch.library.opcheck(torch.ops.isotherm.softmin.default, (x, y, q, p.detach(), *settings))
    torch.library.opcheck(torch.ops.isotherm.plan_grad.default, (x, y, p, q, None, None, *settings))


def mapped_loss(x: Tensor, y: Tensor, h: Tensor, epsilon: float) -> Tensor:
    formula = Formula("sqeuclidean", x, y)
    f = kernels.softmin(formula, h, epsilon=epsilon)
    return kernels.plan_apply(formula, f, h, y, epsilon=epsilon).square().sum()


def test_torch_compile_traces_the_passes_whole():
    (x, y), (h,) = points("sqeuclidean", 3), tensors((7,))
    fast = torch.compile(mapped_loss, fullgraph=True, backend="aot_eager")
    for epsilon in (0.5, 0.7):
        found = torch.autograd.grad(fast(x, y, h, epsilon), (x, y, h))
        truth = torch.autograd.grad(mapped_loss(x, y, h, epsilon), (x, y, h))
        for fused, eager in zip(found, truth, strict=True):
            torch.testing.assert_close(fused, eager, rtol=1e-12, atol=1e-13)
    with torch.no_grad():
        torch.testing.assert_close(fast(x, y, h, 0.3), mapped_loss(x, y, h, 0.3))


@pytest.mark.parametrize("geometry", ["cloud", "matrix"])
def test_torch_compile_traces_a_geometry_made_before(geometry):
    (x, y), (h,) = points("sqeuclidean", 3), tensors((7,))
    cloud = PointCloud(x.detach(), y.detach())
    source = cloud if geometry == "cloud" else CostMatrix(cloud.block(slice(None)))
    fast = torch.compile(lambda h: source.softmin(h, epsilon=0.5).sin().sum(), fullgraph=True, backend="aot_eager")
    (found,) = torch.autograd.grad(fast(h), h)
    (truth,) = torch.autograd.grad(source.softmin(h, epsilon=0.5).sin().sum(), h)
    torch.testing.assert_close(found, truth, rtol=1e-12, atol=1e-13)


def test_import_does_not_load_the_compiler():
    program = "import sys, isotherm; sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_compiled_function_keeps_the_backend_it_was_traced_with():
    (x, y), (h,) = points("sqeuclidean", 3), tensors((7,))
    seen = []

    def count(graph: torch.fx.GraphModule, _: list) -> torch.fx.GraphModule:
        seen.append(str(graph.code))
        return graph

    fast = torch.compile(mapped_loss, fullgraph=True, backend=count)
    with torch.no_grad(), kernels.use("reference"):
        reference = fast(x, y, h, 0.5)
    assert "isotherm" not in seen[0]
    torch.testing.assert_close(reference, mapped_loss(x, y, h, 0.5).detach())
    torch._dynamo.reset()
    with torch.no_grad():
        fast(x, y, h, 0.5)
    assert "isotherm.softmin" in seen[-1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch 2.13 about itself
def test_default_torch_compile_runs_the_passes(has_inductor):
    (x, y), (h,) = points("sqeuclidean", 3), tensors((7,))
    with torch.no_grad():
        fast = torch.compile(mapped_loss, fullgraph=True)
        torch.testing.assert_close(fast(x, y, h, 0.5), mapped_loss(x, y, h, 0.5))


@pytest.fixture
def has_inductor() -> None:
    """Skips where torch's default compiler finds no C++ compiler."""
    from torch._inductor import exc  # noqa: PLC0415  (slow to import, and only one test needs it)
    from torch._inductor.cpp_builder import get_cpp_compiler  # noqa: PLC0415

    try:
        get_cpp_compiler()
    except exc.InvalidCxxCompiler as error:
        pytest.skip(f"torch.compile finds no C++ compiler: {error}")


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_operators_run_where_nothing_is_recorded(mode):
    (x, y), (h,) = points("sqeuclidean", 3), tensors((7,))
    truth = mapped_loss(x, y, h, 0.5).detach()
    with mode():
        found = mapped_loss(x, y, h, 0.5)
    assert not found.requires_grad
    torch.testing.assert_close(found, truth)


# ------------------------------------------------------------------------------------------- what goes to the reference


def test_kernels_without_a_derivative_say_so_and_leave_it_to_the_reference():
    (x, y), (p, q) = points("sqeuclidean", 2), tensors((5,), (7,))
    cloud = Formula("sqeuclidean", x, y)
    truth = torch.autograd.grad(kernels.plan_cost(cloud, p, q, epsilon=EPSILON).sum(), (x, y, p, q))
    assert all(grad.isfinite().all() and grad.abs().sum() > 0 for grad in truth)
    (hard,) = torch.autograd.grad(kernels.hard_min(cloud, q).sum(), q)
    assert float(hard.sum()) == -5.0
    for run in (
        lambda: kernels.plan_cost(cloud, p, q, epsilon=EPSILON),
        lambda: kernels.hard_min(cloud, q),
        lambda: kernels.product_sum(cloud, p, q),
    ):
        with kernels.use("cpu"), pytest.raises(RuntimeError, match="derivative is asked for, which this kernel"):
            run()


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch 2.13 calls it itself, for jvp
def test_functional_and_forward_derivatives_go_to_the_reference():
    (x, y), (h, tangent) = (t.detach() for t in points("euclidean", 2)), (t.detach() for t in tensors((7,), (7,)))
    cloud = Formula("euclidean", x, y)

    def value(h: Tensor) -> Tensor:
        return kernels.softmin(cloud, h, epsilon=EPSILON).sin().sum()

    leaf = h.clone().requires_grad_()
    (truth,) = torch.autograd.grad(value(leaf), leaf)
    torch.testing.assert_close(torch.func.grad(value)(h), truth)
    torch.testing.assert_close(torch.func.jvp(value, (h,), (tangent,))[1], truth @ tangent)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(h, tangent)
        torch.testing.assert_close(torch.autograd.forward_ad.unpack_dual(value(dual)).tangent, truth @ tangent)
        with kernels.use("cpu"), pytest.raises(RuntimeError, match="forward-mode"):
            value(dual)
