"""Triton kernels as torch operators: gradients, fake tensors, compilation, and the way through the dispatcher."""

from __future__ import annotations

import os
import subprocess
import sys

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

POINT_KINDS = ("sqeuclidean", "euclidean", "dot")


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Numbers on the device under test, the same on each."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(DEVICE, dtype)


def arguments(kind: str, *, dtype: torch.dtype = torch.float64, needs_grad: bool = True) -> tuple[object, ...]:
    """Arguments of the operator at sizes that divide nothing."""
    x = normal(5, 3, dtype=dtype) if kind != "stored" else normal(5, 7, dtype=dtype)
    y = normal(7, 3, seed=1, dtype=dtype) if kind != "stored" else None
    h = normal(7, seed=2, dtype=dtype)
    for tensor in (x, y, h):
        if tensor is not None:
            tensor.requires_grad_(needs_grad)
    return kind, x, y, 0.5, 0.25, h, None, 0.7


def dense_softmin(
    kind: str, x: Tensor, y: Tensor | None, scale: float, offset: float, h: Tensor, epsilon: float
) -> Tensor:
    """The definition; the derivative of a zero distance is zero."""
    if y is None:
        base = x
    elif kind == "dot":
        base = x @ y.T
    else:
        squares = (x[:, None] - y).square().sum(-1)
        positive = squares > 0
        base = (
            squares if kind == "sqeuclidean" else torch.where(positive, torch.where(positive, squares, 1.0).sqrt(), 0.0)
        )
    return -epsilon * torch.logsumexp((h - scale * base - offset) / epsilon, 1)


@pytest.mark.parametrize("kind", [*POINT_KINDS, "stored"])
def test_triton_softmin_operator_passes_opcheck(kind: str) -> None:
    torch.library.opcheck(softmin.softmin_operator, arguments(kind, dtype=torch.float32))


def test_triton_softmin_backward_operator_passes_opcheck() -> None:
    kind, x, y, scale, offset, h, _, epsilon = arguments("sqeuclidean", dtype=torch.float32, needs_grad=False)
    assert isinstance(x, Tensor)
    given = (
        kind,
        x,
        y,
        scale,
        offset,
        h,
        normal(5, dtype=torch.float32),
        normal(5, seed=3, dtype=torch.float32),
        epsilon,
    )
    torch.library.opcheck(softmin.softmin_backward, given)


@pytest.mark.parametrize("kind", [*POINT_KINDS, "stored"])
def test_triton_softmin_gradient_is_that_of_the_definition(kind: str) -> None:
    _, x, y, scale, offset, h, guess, epsilon = given = arguments(kind)
    assert isinstance(h, Tensor)
    inputs = [tensor for tensor in (x, y, h) if isinstance(tensor, Tensor)]
    weights = normal(5, seed=4)
    ours = torch.autograd.grad(softmin.softmin_operator(*given) @ weights, inputs)
    exact = torch.autograd.grad(dense_softmin(kind, x, y, scale, offset, h, epsilon) @ weights, inputs)
    assert guess is None
    torch.testing.assert_close(ours, exact)


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


def test_triton_softmin_compiles() -> None:
    _, x, y, scale, offset, h, _, epsilon = arguments("sqeuclidean", dtype=torch.float32, needs_grad=False)
    assert isinstance(x, Tensor)

    def twice(x: Tensor, h: Tensor) -> Tensor:
        return 2.0 * softmin.softmin(Formula("sqeuclidean", x, y, scale, offset), h, epsilon=epsilon)

    # "aot_eager" traces all that torch.compile traces and needs no C++ compiler at run time.
    torch.testing.assert_close(torch.compile(twice, backend="aot_eager", fullgraph=True)(x, h), twice(x, h))


@pytest.mark.parametrize("cost", ["sqeuclidean", "half_sqeuclidean", "euclidean", "cosine", "negative_dot", "matrix"])
def test_triton_backend_agrees_with_reference_through_the_dispatcher(cost: str) -> None:
    x, y = normal(6, 3, dtype=torch.float32), normal(9, 3, seed=1, dtype=torch.float32)
    costs = CostMatrix(PointCloud(x, y).block(slice(None))) if cost == "matrix" else PointCloud(x, y, cost=cost)
    p, q, values = (normal(*shape, seed=k, dtype=torch.float32) for k, shape in enumerate([(6,), (9,), (9, 4)]))
    update = kernels.sinkhorn_step.__globals__["RowUpdate"](damping=0.9, relaxation=1.2)
    found = {}
    for name in ("triton", "reference"):
        with kernels.use(name):
            found[name] = [
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


def test_triton_interpreter_is_never_chosen_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(softmin, "softmin", None)
    assert kernels.softmin(PointCloud(normal(2, 1), normal(3, 1)), normal(3), epsilon=1.0).shape == (2,)


def test_triton_why_not_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert why_missing() == []
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert why_missing() == ["no CUDA device was found (and TRITON_INTERPRET=1 is not set)"]
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
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
