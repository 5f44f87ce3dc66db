"""Triton kernels as torch operators: gradients, fake tensors, compilation, and the way through the dispatcher."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from isotherm import kernels
from isotherm.geometry import CostMatrix, PointCloud
from isotherm.kernels.source import Formula
from isotherm.kernels.triton_launch import why_missing, why_not

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
if DEVICE == "cpu":  # must be set before triton is imported for the first time
    os.environ.setdefault("TRITON_INTERPRET", "1")
REASON = "needs triton: pip install 'isotherm[triton]'"
softmin = pytest.importorskip("isotherm.kernels.softmin.triton", reason=REASON, exc_type=ImportError)
plan_apply = pytest.importorskip("isotherm.kernels.plan_apply.triton", reason=REASON, exc_type=ImportError)
operators = pytest.importorskip("isotherm.kernels.triton_operators", reason=REASON, exc_type=ImportError)
conditional = pytest.importorskip("isotherm.kernels.conditional.triton", reason=REASON, exc_type=ImportError)

PARTS = {
    "softmin": softmin.softmin,
    "plan_apply": plan_apply.plan_apply,
    "conditional_mean": conditional.conditional_mean,
}
UNUSED = {"allow_unused": True, "materialize_grads": True}
POINT_KINDS = ("sqeuclidean", "euclidean", "dot")


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Numbers on the device under test, the same on each."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(DEVICE, dtype)


@pytest.fixture(autouse=True)
def run_operators_on_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the operators run the Triton kernels on the CPU too, in the interpreter; on CUDA they do so anyway."""
    for name in ("softmin", "plan_apply", "plan_grad"):
        operator = importlib.import_module(f"isotherm.kernels.ops.{name}")._operator
        monkeypatch.setitem(operator._backend_fns, "cpu", getattr(operators, f"run_{name}"))


def points(kind: str, *, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """What the costs are made of, at sizes that divide nothing: two clouds, or the matrix."""
    shapes = [(5, 7)] if kind == "stored" else [(5, 3), (7, 3)]
    return [normal(*shape, seed=k, dtype=dtype).requires_grad_() for k, shape in enumerate(shapes)]


def operator_inputs(name: str, kind: str) -> tuple[object, ...]:
    """Arguments of `torch.ops.isotherm.<name>` in float32."""
    x, y = (*points(kind, dtype=torch.float32), None)[:2]
    shapes = [(5,), (7,), (5, 2), (7, 2)]
    p, q, left, right = (normal(*shape, seed=k, dtype=torch.float32).requires_grad_() for k, shape in enumerate(shapes))
    settings = (kind, 0.5, 0.25, [], 1.3)
    return {
        "softmin": (x, y, q, None, *settings),
        "plan_apply": (x, y, p, q, right, *settings),
        "plan_grad": (x, y, p, q, left, right, *settings),
    }[name]


def dense_softmin(
    kind: str, x: Tensor, y: Tensor | None, scale: float, offset: float, h: Tensor, epsilon: float
) -> Tensor:
    """The definition."""
    base = {"sqeuclidean": lambda: (x[:, None] - y).square().sum(-1), "stored": lambda: x}[kind]()
    return -epsilon * torch.logsumexp((h - scale * base - offset) / epsilon, 1)


@pytest.mark.parametrize("kind", [*POINT_KINDS, "stored"])
@pytest.mark.parametrize("name", ["softmin", "plan_apply", "plan_grad"])
def test_triton_operator_passes_opcheck(name: str, kind: str) -> None:
    if name == "plan_grad" and kind == "stored":
        pytest.skip("a matrix has no points")
    torch.library.opcheck(getattr(torch.ops.isotherm, name).default, operator_inputs(name, kind))


RUNS = {
    "softmin": lambda part, c, p, q, v: part.softmin(c, q, epsilon=1.3),
    "softmin with a guess": lambda part, c, p, q, v: part.softmin(c, q, epsilon=1.3, guess=p),
    "plan_apply": lambda part, c, p, q, v: part.plan_apply(c, p, q, v, epsilon=1.3),
    "conditional_mean": lambda part, c, p, q, v: part.conditional_mean(c, q, v, epsilon=1.3),
}


@pytest.mark.parametrize("kind", [*POINT_KINDS, "stored"])
@pytest.mark.parametrize("name", RUNS)
def test_triton_derivatives_of_both_orders_are_those_of_the_definition(name: str, kind: str) -> None:
    potentials = [normal(*shape, seed=k + 5).requires_grad_() for k, shape in enumerate([(5,), (7,), (7, 3)])]
    given = points(kind)
    found = []
    for part in (SimpleNamespace(**PARTS), kernels):
        with kernels.use("reference"):
            out = RUNS[name](part, Formula(kind, *given, scale=0.5, offset=0.25), *potentials)
            inputs = [*given, *potentials]
            first = torch.autograd.grad(out.sin().sum(), inputs, create_graph=True, **UNUSED)
            second = torch.autograd.grad(sum(grad.sin().sum() for grad in first), inputs, **UNUSED)
        found.append([out, *first, *second])
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-10)


def test_triton_derivative_of_the_plan_gradient_is_that_of_the_definition() -> None:
    x, y, p, q, left, right, *settings = (
        t.double().detach().requires_grad_() if isinstance(t, Tensor) else t
        for t in operator_inputs("plan_grad", "euclidean")
    )
    inputs = (x, y, p, q, left, right)
    found = torch.ops.isotherm.plan_grad(*inputs, *settings)
    weights = normal(*found.shape, seed=9)
    block = Formula("euclidean", x, y, 0.5, 0.25)
    plan = ((p[:, None] + q - block.block(slice(None))) / 1.3).exp() * (left @ right.T)
    moved = x.view_as(x)
    costs = Formula("euclidean", moved, y, 0.5, 0.25).block(slice(None))
    (exact,) = torch.autograd.grad(costs, moved, plan, create_graph=True)
    torch.testing.assert_close(found, exact)
    grads = (torch.autograd.grad((t * weights).sum(), inputs) for t in (found, exact))
    for ours, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("kind", POINT_KINDS)
def test_triton_softmin_gradient_is_finite_at_coincident_points_and_without_mass(kind: str) -> None:
    x = normal(4, 2).requires_grad_()
    h = torch.tensor([0.0, -torch.inf, 0.3, 0.1], device=DEVICE, dtype=torch.float64).requires_grad_()
    nothing = torch.full_like(h, -torch.inf)
    for potential in (h, nothing):
        f = softmin.softmin(Formula(kind, x, x), potential, epsilon=0.5)
        weights = torch.where(f.detach() < torch.inf, 1.0, 0.0)
        inputs = [tensor for tensor in (x, potential) if tensor.requires_grad]
        (loss := torch.where(weights > 0, f, 0.0).sum()).backward()
        assert loss.isfinite()
        assert all(tensor.grad is not None and tensor.grad.isfinite().all() for tensor in inputs)


def test_triton_passes_compile() -> None:
    (x, y), h = points("sqeuclidean"), normal(7, seed=2)

    def loss(x: Tensor, h: Tensor) -> Tensor:
        formula = Formula("sqeuclidean", x, y, 0.5, 0.25)
        f = softmin.softmin(formula, h, epsilon=0.7)
        return plan_apply.plan_apply(formula, f, h, y, epsilon=0.7).square().sum()

    # "aot_eager" traces all that torch.compile traces and needs no C++ compiler at run time.
    fast = torch.compile(loss, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(fast(x, h), loss(x, h))
    torch.testing.assert_close(torch.autograd.grad(fast(x, h), x), torch.autograd.grad(loss(x, h), x))


@pytest.mark.parametrize("cost", ["sqeuclidean", "half_sqeuclidean", "euclidean", "cosine", "negative_dot", "matrix"])
def test_triton_backend_agrees_with_reference_through_the_dispatcher(cost: str) -> None:
    x, y = normal(6, 3, dtype=torch.float32), normal(9, 3, seed=1, dtype=torch.float32)
    costs = CostMatrix(PointCloud(x, y).block(slice(None))) if cost == "matrix" else PointCloud(x, y, cost=cost)
    p, q, values = (normal(*shape, seed=k, dtype=torch.float32) for k, shape in enumerate([(6,), (9,), (9, 4)]))
    update = kernels.sinkhorn_step.__globals__["RowUpdate"](damping=0.9, relaxation=1.2)
    own = CostMatrix(torch.cdist(x, x)) if cost == "matrix" else PointCloud(x, x, cost=cost)
    found = {}
    for name in ("triton", "reference"):
        with kernels.use(name):
            found[name] = [
                kernels.symmetric_softmin(own, p, epsilon=0.5, guess=p),
                kernels.softmin(costs, q, epsilon=0.5),
                kernels.softmin(costs, q, epsilon=0.5, guess=p),
                kernels.hard_min(costs, q),
                kernels.plan_apply(costs, p, q, values, epsilon=2.0),
                kernels.plan_cost(costs, p, q, epsilon=2.0),
                kernels.conditional_mean(costs, q, values, epsilon=0.5),
                *kernels.sinkhorn_step(costs, p, q, p, update, epsilon=0.5),
                *(kernels.plan_grad(costs, p, q, epsilon=2.0) if cost != "matrix" else ()),
            ]
    torch.testing.assert_close(found["triton"], found["reference"], rtol=2e-5, atol=2e-5)


def test_triton_backend_refuses_what_it_cannot_do() -> None:
    costs = PointCloud(normal(2, 1), normal(3, 1), cost=lambda x, y: (x - y.T).abs())
    with kernels.use("triton"), pytest.raises(RuntimeError, match="not a formula the kernels know"):
        kernels.softmin(costs, normal(3), epsilon=1.0)
    leaf = PointCloud(normal(2, 1).requires_grad_(), normal(3, 1))
    with kernels.use("triton"), pytest.raises(RuntimeError, match="a derivative is asked for"):
        kernels.hard_min(leaf, normal(3))
    with kernels.use("triton"), pytest.raises(RuntimeError, match="which this kernel does not record"):
        kernels.plan_cost(leaf, normal(2), normal(3), epsilon=1.0)


@pytest.mark.skipif(DEVICE == "cuda", reason="the interpreter is not used")
def test_triton_derivative_on_the_cpu_is_refused() -> None:
    leaf = PointCloud(normal(2, 1).requires_grad_(), normal(3, 1))
    with kernels.use("triton"), pytest.raises(RuntimeError, match="on the CPU operators run the compiled kernels"):
        kernels.softmin(leaf, normal(3), epsilon=1.0)


@pytest.mark.gpu
@pytest.mark.skipif(DEVICE == "cpu", reason="needs a CUDA device")
def test_triton_is_chosen_on_cuda_with_and_without_derivatives() -> None:
    (x, y), h = points("sqeuclidean"), normal(7, seed=2)
    found = []
    for backend in ("triton", "reference"):
        with kernels.use(backend):
            f = kernels.softmin(Formula("sqeuclidean", x, y), h, epsilon=0.7)
            found.append([f, *torch.autograd.grad(f.sin().sum(), (x, y))])
    torch.testing.assert_close(*found)
    assert "isotherm" in type(kernels.softmin(Formula("sqeuclidean", x, y), h, epsilon=0.7).grad_fn).__name__


def test_triton_interpreter_is_never_chosen_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(softmin, "softmin", None)
    assert kernels.softmin(PointCloud(normal(2, 1), normal(3, 1)), normal(3), epsilon=1.0).shape == (2,)


def test_triton_why_not_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert why_missing() == []
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert why_missing() == ["no CUDA device was found (and TRITON_INTERPRET=1 is not set)"]
    monkeypatch.setattr("isotherm.kernels.triton_launch._is_installed", lambda: False)
    formula = Formula("dot", torch.zeros(1, 1), torch.zeros(1, 1))
    assert why_missing() == ["triton is not installed: pip install 'isotherm[triton]'"]
    assert why_not(formula) == [*why_missing(), "tensors are on cpu; Triton kernels need CUDA (or TRITON_INTERPRET=1)"]


@pytest.mark.gpu
@pytest.mark.skipif(DEVICE == "cpu", reason="needs a CUDA device")
def test_triton_softmin_is_captured_in_a_cuda_graph() -> None:
    x, y, h, guess = normal(500, 3), normal(400, 3), normal(400), normal(500)
    formula, out = Formula("sqeuclidean", x, y), torch.empty_like(guess)
    softmin.launch_softmin(formula, h, epsilon=0.5, guess=guess, out=out)  # compiles
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        softmin.launch_softmin(formula, h, epsilon=0.5, guess=guess, out=out)
    h += 1.0
    graph.replay()
    torch.testing.assert_close(out, softmin.launch_softmin(formula, h, epsilon=0.5))


@pytest.mark.gpu
@pytest.mark.skipif(DEVICE == "cpu", reason="needs a CUDA device")
@pytest.mark.parametrize("dimension", [3, 64, 512])
def test_triton_softmin_keeps_float32_at_full_size(dimension: int) -> None:
    scale = dimension**-0.5
    x, y = (scale * normal(3000, dimension, seed=k) for k in (0, 1))
    h, epsilon = 0.1 * normal(3000, seed=2), 0.05
    exact = dense_softmin("sqeuclidean", x, y, 1.0, 0.0, h, epsilon)
    x, y, h = (tensor.float() for tensor in (x, y, h))
    norms = x.square().sum(1)[:, None] + y.square().sum(1)
    costs = torch.addmm(norms, x, y.T, alpha=-2.0) if dimension > 8 else torch.cdist(x, y).square()
    plain = -epsilon * torch.logsumexp((h - costs) / epsilon, 1)
    for guess in (None, exact.float()):
        ours = softmin.launch_softmin(Formula("sqeuclidean", x, y), h, epsilon=epsilon, guess=guess)
        assert float((ours - exact).abs().max()) <= 2.0 * float((plain - exact).abs().max()) + 1e-6


def test_triton_files_import_without_triton() -> None:
    program = """
import importlib, importlib.util, pkgutil, sys
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "triton" else found(name, *rest)
sys.modules["triton"] = None
import torch
import isotherm.kernels
names = [module.name for module in pkgutil.walk_packages(isotherm.kernels.__path__, "isotherm.kernels.")]
for name in names:
    importlib.import_module(name)
assert sum("triton" in name for name in names) >= 8
from isotherm.kernels.hard_min.triton import hard_min
from isotherm.kernels.source import Formula
from isotherm.kernels.triton_launch import why_missing
print(*why_missing())
try:
    hard_min(Formula("dot", torch.zeros(1, 1), torch.zeros(1, 1)), torch.zeros(1))
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == "triton is not installed: pip install 'isotherm[triton]'"
    assert "needed to run kernels on a GPU" in done.stdout
