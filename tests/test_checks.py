"""Bad input gives one clear error before any work: what was expected, what came, what to do."""

import math
import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

import isotherm
from isotherm import (
    Annealed,
    CostMatrix,
    EntropicCoupling,
    EuclideanPower,
    Exact,
    Grid,
    LogSinkhorn,
    PointCloud,
    Problem,
    Relative,
    Scaling,
    solve,
)
from isotherm import _checks as checks

NAN, INF = math.nan, math.inf


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X, Y = normal(6, 2), normal(5, 2, seed=1)
CLOUD, COSTS = PointCloud(X, Y), normal(6, 5, seed=2)
A, B = torch.full((6,), 1 / 6, dtype=torch.float64), torch.full((5,), 1 / 5, dtype=torch.float64)
COUPLING = EntropicCoupling(Problem(CLOUD, epsilon=1.0), torch.zeros(6).double(), torch.zeros(5).double())
COSTS_ONLY = EntropicCoupling(Problem(CostMatrix(COSTS), epsilon=1.0), COUPLING.f, COUPLING.g)
HUGE = EntropicCoupling(
    Problem(PointCloud(torch.zeros(10**6, 1), torch.zeros(10**6, 1)), epsilon=1.0),
    torch.zeros(10**6),
    torch.zeros(10**6),
)


def spoilt(array: Tensor, value: float, *index: int) -> Tensor:
    """A copy with one entry replaced."""
    copy = array.clone()
    copy[index] = value
    return copy


def assert_three_parts(message: str) -> None:
    """`expected: what came. What to do.`; for memory, `what needs how much. What to do.`"""
    expected, colon, rest = message.partition(": ")
    sentences = re.split(r"[.?] (?=[A-Z`])", rest if colon else message)
    assert len(expected.split()) >= 3, f"does not say what was expected: {message}"
    assert colon or " needs " in message, f"does not say what came: {message}"
    assert len(sentences) >= 2, f"does not say what to do: {message}"
    assert message.endswith((".", "?")), f"does not end: {message}"


BAD: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    # not numbers
    "points are strings": (lambda: solve([["a", "b"]], [["c", "d"]]), TypeError, r"`x` must hold real numbers"),
    "points are objects": (lambda: solve(np.array([None, 1.0]), np.zeros(2)), TypeError, r"dtype object"),
    "points are mixed with strings": (lambda: solve([[1.0, "b"]], [[0.0, 0.0]]), TypeError, r"`x` must hold real numbers"),
    "points are complex": (lambda: solve(X * 1j, Y), TypeError, r"`x` must hold real numbers: got torch.complex128"),
    "numpy points are complex": (lambda: solve(X.numpy() * 1j, Y.numpy()), TypeError, r"complex128"),
    "points are ragged": (lambda: solve([[1.0, 2.0], [1.0]], [[1.0, 2.0]]), TypeError, r"rectangular array of numbers"),
    "points are dates": (lambda: solve(np.array(["2026-01-01"], "M8[D]"), np.zeros(1)), TypeError, r"datetime64"),
    "points are a dict": (lambda: solve({"x": 1}, X.numpy()), TypeError, r"`x` must hold real numbers"),
    "points are float16": (lambda: solve(X.half(), Y.half()), TypeError, r"must be float32 or float64: got torch.float16"),
    "points are bfloat16": (lambda: solve(X.bfloat16(), Y.bfloat16()), TypeError, r"torch.bfloat16"),
    "numpy points are float16": (lambda: solve(X.numpy().astype("f2"), Y.numpy().astype("f2")), TypeError, r"float16"),
    "points are long doubles": (lambda: solve(np.zeros(3, np.longdouble), np.zeros(3)), TypeError, r"`x`"),
    "weights are strings": (lambda: solve(X, Y, ["a"] * 6), TypeError, r"`a` must hold real numbers"),
    "weights are complex": (lambda: solve(X, Y, A * 1j), TypeError, r"`a` must hold real numbers"),
    "weights are float16": (lambda: solve(X, Y, A.half()), TypeError, r"`a` must be float32 or float64"),
    "cost matrix is of strings": (lambda: CostMatrix([["a"]]), TypeError, r"`cost matrix` must hold real numbers"),
    "reference is of objects": (lambda: solve(X, Y, reference=np.full((6, 5), None)), TypeError, r"`reference`"),
    # not finite
    "points hold NaN": (lambda: solve(spoilt(X, NAN, 3, 1), Y), ValueError, r"`x` must be finite: got 1 .*\(3, 1\)"),
    "points hold infinity": (lambda: solve(X, spoilt(Y, -INF, 0, 0)), ValueError, r"`y` must be finite: got 1"),
    "weights hold NaN": (lambda: solve(X, Y, spoilt(A, NAN, 2)), ValueError, r"`a` must be finite: got 1 .*\(2,\)"),
    "weights hold infinity": (lambda: solve(X, Y, A, spoilt(B, INF, 2)), ValueError, r"`b` must be finite"),
    "cost matrix holds NaN": (lambda: CostMatrix(spoilt(COSTS, NAN, 1, 2)), ValueError, r"`cost matrix` must be finite.*\(1, 2\)"),
    "cost matrix holds infinity": (lambda: CostMatrix(spoilt(COSTS, INF, 1, 2)), ValueError, r"`cost matrix` must be finite"),
    "cost function gives NaN": (lambda: solve(X, Y, cost=lambda x, y: x[:, :1] * NAN + y[:, 0]), ValueError, r"`cost function's value` must be finite"),
    "cost function gives NaN somewhere": (lambda: solve(X, Y, cost=lambda x, y: torch.where(x[:, :1] > 1, NAN, y[:, 0])), ValueError, r"`cost function's value` must be finite"),
    "distances overflow": (lambda: solve(X.float() * 1e25, Y.float() * 1e25), ValueError, r"float32"),
    "reference holds NaN": (lambda: solve(X, Y, reference=spoilt(COSTS.abs(), NAN, 1, 2)), ValueError, r"`reference` must be finite"),
    # dimensions
    "features differ": (lambda: solve(X, normal(5, 3)), ValueError, r"same number of features: got 2 and 3"),
    "points have three axes": (lambda: solve(normal(6, 2, 2), Y), ValueError, r"`x` must have shape \(points, features\): got \(6, 2, 2\)"),
    "points are a number": (lambda: solve(1.0, 2.0), ValueError, r"`x` must have shape \(points, features\)"),
    "there are no sources": (lambda: solve(X[:0], Y), ValueError, r"`x` must hold at least one point.*got shape \(0, 2\)"),
    "there are no targets": (lambda: solve(X, Y[:0]), ValueError, r"`y` must hold at least one point"),
    "there are no features": (lambda: solve(X[:, :0], Y[:, :0]), ValueError, r"`x` must hold at least one point with one feature"),
    "the list is empty": (lambda: solve([], []), ValueError, r"`x` must hold at least one point"),
    "cost matrix is a vector": (lambda: CostMatrix([1.0, 2.0]), ValueError, r"cost matrix.* must have shape \(sources, targets\)"),
    "cost matrix is empty": (lambda: CostMatrix(COSTS[:, :0]), ValueError, r"must have shape \(sources, targets\), both at least 1"),
    "weights are too few": (lambda: solve(X, Y, A[:-1]), ValueError, r"`a` must have one weight per point, shape \(6,\): got \(5,\)"),
    "weights are a column": (lambda: solve(X, Y, A[:, None]), ValueError, r"shape \(6,\): got \(6, 1\)"),
    "weights are swapped": (lambda: solve(X, Y, B, A), ValueError, r"shape \(6,\): got \(5,\)"),
    "reference is transposed": (lambda: solve(X, Y, reference=COSTS.abs().T), ValueError, r"= \(6, 5\): got \(5, 6\)"),
    "reference is a vector": (lambda: solve(X, Y, reference=A), ValueError, r"= \(6, 5\): got \(6,\)"),
    # mass
    "a weight is negative": (lambda: solve(X, Y, spoilt(A, -0.1, 0)), ValueError, r"`a` must be non-negative: got -0.1"),
    "weights are all zero": (lambda: solve(X, Y, A, 0 * B), ValueError, r"`b` must have a positive total mass: got all zeros"),
    "masses differ": (lambda: solve(X, Y, A, 0.97 * B), ValueError, r"same mass as `b`: got 1 and 0.97.*rho_a and rho_b"),
    "masses differ a little": (lambda: solve(X, Y, A, (1 + 1e-4) * B), ValueError, r"same mass as `b`: got 1 and 1.0001"),
    "reference is negative": (lambda: solve(X, Y, reference=COSTS), ValueError, r"`reference` must be non-negative: got -"),
    "reference strands a source": (lambda: solve(X, Y, reference=torch.diag(torch.ones(6))[:, :5]), ValueError, r"source 5 has mass and an all-zero row"),
    "reference strands a target": (lambda: solve(X, Y, reference=torch.ones(6, 1) * torch.tensor([1.0, 1, 0, 1, 1])), ValueError, r"target 2 has mass and an all-zero column"),
    "reference strands what has mass": (lambda: solve(X[:2], Y[:2], [1.0, 0.0], [1.0, 0.0], reference=1 - torch.eye(2)), ValueError, r"source 0 has mass"),
    # temperature
    "epsilon is negative": (lambda: solve(X, Y, epsilon=-0.1), ValueError, r"`epsilon` must be positive.*got -0.1"),
    "epsilon is zero": (lambda: solve(X, Y, epsilon=0.0), ValueError, r"`epsilon` must be positive.*got 0.0.*Exact\(\)"),
    "epsilon is NaN": (lambda: solve(X, Y, epsilon=NAN), ValueError, r"`epsilon` must be positive.*got nan"),
    "epsilon is infinite": (lambda: solve(X, Y, epsilon=INF), ValueError, r"`epsilon` must be positive.*got inf"),
    "epsilon is a string": (lambda: solve(X, Y, epsilon="0.1"), TypeError, r"`epsilon` must be a number.*got '0.1'"),
    "epsilon is a boolean": (lambda: solve(X, Y, epsilon=True), TypeError, r"`epsilon` must be a number.*got True"),
    "epsilon is a list": (lambda: solve(X, Y, epsilon=[0.1]), TypeError, r"`epsilon` must be a number.*got \[0.1\]"),
    "epsilon is complex": (lambda: solve(X, Y, epsilon=1j), TypeError, r"`epsilon` must be a number.*got 1j"),
    "problem's epsilon is negative": (lambda: Problem(CLOUD, epsilon=-1.0), ValueError, r"`epsilon` must be positive"),
    "problem's epsilon is missing": (lambda: Problem(CLOUD, epsilon=None), TypeError, r"`epsilon` must be a number"),
    "problem's epsilon is zero for a solver": (lambda: LogSinkhorn().run(Problem(CLOUD, epsilon=0)), ValueError, r"`epsilon` must be positive for an entropic solver"),
    "epsilon of a step of the dial": (lambda: isotherm.temperature_path(Problem(CLOUD, epsilon=1.0), [1.0, -1.0]), ValueError, r"`epsilon`"),
    "share of the mean is zero": (lambda: solve(X, Y, epsilon=Relative(0)), ValueError, r"`share` must be positive and finite: got 0"),
    "share is a string": (lambda: Relative("0.05"), TypeError, r"`share` must be a positive number: got '0.05'"),
    "share of something else": (lambda: Relative(0.05, of="median"), ValueError, r"`of` must be one of 'mean', 'std': got 'median'"),
    "share of no cost": (lambda: solve(X[:1], X[:1]), ValueError, r"needs a positive finite mean of the cost: got 0"),
    "rho is negative": (lambda: solve(X, Y, rho_a=-1.0), ValueError, r"`rho_a` must be positive: got -1"),
    "rho is zero": (lambda: solve(X, Y, rho_b=0.0), ValueError, r"`rho_b` must be positive: got 0"),
    "rho is NaN": (lambda: solve(X, Y, rho_b=NAN), ValueError, r"`rho_b` must be positive: got nan"),
    "rho is a string": (lambda: solve(X, Y, rho_b="inf"), TypeError, r"`rho_b` must be a positive number: got 'inf'"),
    # mixed arrays
    "libraries are mixed": (lambda: solve(X, Y.numpy()), TypeError, r"`x` and `y` must come from one library: got Tensor and ndarray"),
    "libraries are mixed the other way": (lambda: solve(X.tolist(), Y), TypeError, r"one library: got list and Tensor"),
    "dtypes are mixed": (lambda: solve(X, Y.float()), TypeError, r"same dtype: got torch.float64 and torch.float32"),
    "numpy dtypes are mixed": (lambda: solve(X.numpy(), Y.numpy().astype("f4")), TypeError, r"same dtype"),
    # names
    "cost name is misspelt": (lambda: solve(X, Y, cost="sqeucledian"), ValueError, r"`cost` must be one of .*Did you mean 'sqeuclidean'\?"),
    "cost name is unknown": (lambda: solve(X, Y, cost="xyzzy"), ValueError, r"`cost` must be one of 'cosine'"),
    "cost is no cost": (lambda: solve(X, Y, cost=2), TypeError, r"`cost` must be a cost object"),
    "solver name is misspelt": (lambda: solve(X, Y, solver="scalling"), ValueError, r"`solver` must be one of .*Did you mean 'scaling'\?"),
    "solver name is capitalised": (lambda: solve(X, Y, solver="Annealed"), ValueError, r"Did you mean 'annealed'\?"),
    "solver name is unknown": (lambda: solve(X, Y, solver="xyzzy"), ValueError, r"`solver` must be one of 'annealed'"),
    "solver is a class": (lambda: solve(X, Y, solver=LogSinkhorn), TypeError, r"`solver` must be a solver object"),
    "on_failure is unknown": (lambda: solve(X, Y, on_failure="rise"), ValueError, r"Did you mean 'raise'\?"),
    # geometry
    "targets are missing": (lambda: solve(X), TypeError, r"`y` must hold the targets"),
    "geometry and targets": (lambda: solve(CLOUD, Y), TypeError, r"A PointCloud already holds both sides"),
    "geometry and cost": (lambda: solve(CLOUD, cost="euclidean"), TypeError, r"A PointCloud already holds both sides"),
    "geometry is an array": (lambda: Problem(X, epsilon=1.0), TypeError, r"`geometry` must be a PointCloud, CostMatrix or Grid: got Tensor"),
    "grid's cost is not separable": (lambda: Grid((A, B), "euclidean"), ValueError, r"sum over axes: got 'euclidean' on 2 axes"),
    "grid has no axes": (lambda: Grid(()), ValueError, r"`axes` must be a sequence"),
    "grids differ in axes": (lambda: Grid((A, B), "sqeuclidean", (A,)), ValueError, r"same number of axes: got 2 and 1"),
    "power is negative": (lambda: EuclideanPower(-1), ValueError, r"`p` must be positive and finite: got -1"),
    # settings
    "tolerance is negative": (lambda: solve(X, Y, tolerance=-1e-3), ValueError, r"`tolerance` must be positive and finite"),
    "tolerance is NaN": (lambda: LogSinkhorn(tolerance=NAN), ValueError, r"`tolerance` must be positive and finite: got nan"),
    "budget is zero": (lambda: Scaling(max_iterations=0), ValueError, r"`max_iterations` must be at least 1: got 0"),
    "budget is a fraction": (lambda: LogSinkhorn(max_iterations=10.5), TypeError, r"`max_iterations` must be a whole number: got 10.5"),
    "annealing has no ratio": (lambda: Annealed(ratio=0.0), ValueError, r"`ratio`"),
    "init has another size": (lambda: solve(X, Y, init=(B, A)), ValueError, r"`init f` must have one entry per point, shape \(6,\): got \(5,\)"),
    # questions to a coupling
    "dense plan does not fit": (HUGE.to_dense, MemoryError, r"3725\.3 GiB .* GiB are free"),
    "dense laws do not fit": (lambda: HUGE.conditional(np.arange(10**6)), MemoryError, r"3725\.3 GiB"),
    "matches do not fit": (lambda: HUGE.top_k(10**6), MemoryError, r"GiB"),
    "index is out of range": (lambda: COUPLING.conditional(6), IndexError, r"`i` must lie in \[0, 6\): got indices from 6 to 6"),
    "index is a fraction": (lambda: COUPLING.conditional(0.5), TypeError, r"`i` must hold integer indices"),
    "index is a mask": (lambda: COUPLING.conditional([True] * 6), TypeError, r"`i` must hold integer indices.*nonzero"),
    "index is ragged": (lambda: COUPLING.conditional([[0, 1], [2]]), TypeError, r"`i` must"),
    "values have another size": (lambda: COUPLING.apply(A), ValueError, r"`v` must have one entry per point, shape \(5,\)"),
    "values are missing": (COSTS_ONLY.barycentric_map, ValueError, r"Pass `values`"),
    "more matches than targets": (lambda: COUPLING.top_k(6), ValueError, r"`k` must be at most the number of targets, 5: got 6"),
    "no samples": (lambda: COUPLING.sample(0), ValueError, r"`k` must be at least 1: got 0"),
    "sampling method is misspelt": (lambda: COUPLING.sample(3, method="flatt"), ValueError, r"Did you mean 'flat'\?"),
    "threshold is negative": (lambda: COUPLING.to_sparse(-0.1), ValueError, r"`threshold` must be positive"),
    "source without a law": (lambda: COUPLING.to_sparse(2.0).conditional(1), ValueError, r"(?i:source) 1 .*mass|mass.* (?i:source) 1"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_clear_error(name):
    ask, error, match = BAD[name]
    with pytest.raises(error, match=match) as info:
        ask()
    assert type(info.value) is error, "a subclass or an accident"


@pytest.mark.parametrize("name", BAD)
def test_bad_input_message_has_three_parts(name):
    ask, error, _ = BAD[name]
    with pytest.raises(error) as info:
        ask()
    assert_three_parts(str(info.value))


@pytest.mark.parametrize(
    "message",
    [
        "`k` must be positive: got 0.",
        "`k` must be positive. Pass more.",
        "bad value: got 0. Pass more.",
        "`k` must be positive: got 0. Pass more",
    ],
)
def test_three_parts_check_can_fail(message):
    with pytest.raises(AssertionError, match=r"does not"):
        assert_three_parts(message)


def test_three_parts_check_can_pass():
    assert_three_parts("`k` must be positive: got 0. Pass at least 1.")
    assert_three_parts("`k` must be one of 'a', 'b': got 'c'. Did you mean 'a'?")
    assert_three_parts("The dense plan needs 4.5 GiB of memory and 1.0 GiB are free. Use apply.")


@pytest.mark.parametrize("name", [name for name in BAD if "points" in name or "weight" in name or "epsilon" in name])
def test_bad_input_is_refused_before_any_work(name, monkeypatch):
    for kernel in ("softmin", "plan_apply", "hard_min"):
        monkeypatch.setattr(PointCloud, kernel, lambda *_, **__: pytest.fail("worked before it refused"))
        monkeypatch.setattr(CostMatrix, kernel, lambda *_, **__: pytest.fail("worked before it refused"))
    ask, error, match = BAD[name]
    with pytest.raises(error, match=match):
        ask()


# --------------------------------------------------------------------------------------------------- what is legal


@pytest.mark.parametrize(
    "legal",
    [
        lambda: solve(X, Y, epsilon=1),
        lambda: solve(X, Y, epsilon=np.float32(1.0)),
        lambda: solve(X, Y, epsilon=np.int64(1)),
        lambda: solve(X, Y, spoilt(A, 0.0, 0) * 1.2, B, epsilon=1.0),
        lambda: solve(X, Y, 3 * A, 3 * B, epsilon=1.0),
        lambda: solve(X, Y, 3 * A, B, epsilon=1.0, rho_a=1.0),
        lambda: solve(X, Y, 3 * A, B, epsilon=1.0, rho_a=1.0, rho_b=2.0),
        lambda: solve(X, Y, A.numpy(), B.tolist(), epsilon=1.0),
        lambda: solve(X, Y, A.float(), B.float(), epsilon=1.0),
        lambda: solve(X, Y, A.float(), epsilon=1.0),
        lambda: solve(X, Y, np.full(6, 1 / 6, np.float32), epsilon=1.0),
        lambda: solve(X, Y, [1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1], epsilon=1.0),
        lambda: solve(X, Y, epsilon=1.0, reference=np.ones((6, 5), dtype=int)),
        lambda: solve(X[:2], Y[:2], [1.0, 0.0], [0.0, 1.0], epsilon=1.0, reference=1 - torch.eye(2)),
        lambda: solve(X.int(), Y.int(), epsilon=1.0),
        lambda: solve([0, 1, 2], [0, 1], epsilon=1.0),
        lambda: solve(X, Y, epsilon=0.0, solver=Exact()),
        lambda: solve(X, Y, epsilon=Relative(0.5, of="std")),
    ],
)
def test_good_input_is_accepted(legal):
    assert legal().status.is_converged


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_weights_normalised_in_their_dtype_have_equal_masses(dtype):
    generator = torch.Generator().manual_seed(0)
    for size in (10, 1_000, 100_000):
        a, b = (torch.rand(n, generator=generator, dtype=torch.float64).to(dtype) for n in (size, size + 1))
        checks.check_equal_masses(a / a.sum(), b / b.sum())


def test_input_is_never_written_to():
    arrays = {"x": X.clone(), "y": Y.clone(), "a": A.clone(), "b": B.clone(), "reference": COSTS.abs()}
    before = {name: array.clone() for name, array in arrays.items()}
    solution = solve(**arrays, epsilon=1.0)
    assert solution.certificate.entropic_lower <= solution.certificate.entropic_upper
    solution.coupling.round().to_dense()
    for name, array in arrays.items():
        assert torch.equal(array, before[name]), name
    frozen = [array.numpy() for array in before.values()]
    for array in frozen:
        array.flags.writeable = False
    solve(*frozen[:4], epsilon=1.0, reference=frozen[4])


def test_points_that_require_gradients_are_accepted():
    x, a = X.clone().requires_grad_(), A.clone().requires_grad_()
    solution = solve(x, Y, a, epsilon=1.0)
    assert not solution.f.requires_grad
    assert x.grad is None


# ---------------------------------------------------------------------------------------------- checks by themselves


def test_check_choice_suggests_the_nearest_only_when_there_is_one():
    assert checks.check_choice("mean", "of", ("mean", "std")) == "mean"
    with pytest.raises(ValueError, match=r"Did you mean 'mean'\?$"):
        checks.check_choice("Mean", "of", ("mean", "std"))
    with pytest.raises(ValueError, match=r"`of` must be one of 'mean', 'std': got 7") as info:
        checks.check_choice(7, "of", ("mean", "std"))
    assert "Did you mean" not in str(info.value)


def test_check_count_takes_every_whole_number():
    assert checks.check_count(np.int32(3), "k") == 3
    assert checks.check_count(0, "k", minimum=0) == 0
    for bad in (True, 1.0, "1", None):
        with pytest.raises(TypeError, match=r"`k` must be a whole number"):
            checks.check_count(bad, "k")


def test_check_positive_takes_infinity_only_where_it_means_something():
    assert checks.check_positive(INF, "rho_a", allow_infinity=True) == INF
    with pytest.raises(ValueError, match=r"`p` must be positive and finite: got inf"):
        checks.check_positive(INF, "p")


def test_check_dense_fits_counts_bytes(monkeypatch):
    monkeypatch.setattr(checks, "available_memory", lambda _: 8 * 1000)
    device = torch.device("cpu")
    checks.check_dense_fits(10, 100, torch.float64, device, "It")
    checks.check_dense_fits(20, 100, torch.float32, device, "It")
    with pytest.raises(MemoryError, match=r"It of 10 x 101 needs 0.0 GiB"):
        checks.check_dense_fits(10, 101, torch.float64, device, "It")


def test_available_memory_is_a_number_of_bytes():
    assert 2**20 < checks.available_memory(torch.device("cpu")) < 2**50


def test_available_memory_without_proc_is_what_is_installed(monkeypatch):
    def missing(*_args, **_kwargs):
        raise FileNotFoundError

    monkeypatch.setattr("builtins.open", missing)
    assert 2**20 < checks.available_memory(torch.device("cpu")) < 2**50
