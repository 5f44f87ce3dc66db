"""Arrays in, arrays out: the same library, the same dtype, shared memory where possible, never written to."""

import numpy as np
import pytest
import torch

from isotherm import Grid, PointCloud, Problem, solve
from isotherm._arrays import Namespace, namespace_of, to_tensor


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (np.zeros(3, np.float32), torch.float32),
        (np.zeros(3, np.float64), torch.float64),
        (np.zeros(3, np.int32), torch.float64),
        (np.zeros(3, np.uint8), torch.float64),
        (np.zeros(3, np.uint64), torch.float64),
        (np.zeros(3, bool), torch.float64),
        (np.zeros(3, ">f4"), torch.float32),
        ([0, 1, 2], torch.float64),
        ([0.0, 1.0, 2.0], torch.float64),
        (torch.zeros(3), torch.float32),
        (torch.zeros(3).double(), torch.float64),
        (torch.zeros(3, dtype=torch.int64), torch.float32),
        (torch.zeros(3, dtype=torch.bool), torch.float32),
    ],
)
def test_to_tensor_keeps_floats_and_converts_integers(array, dtype):
    assert to_tensor(array, "v").dtype == dtype
    assert to_tensor(array, "v", dtype=torch.float32).dtype == torch.float32


def test_to_tensor_shares_memory_where_it_can():
    array, tensor = np.arange(3.0), torch.arange(3.0)
    assert to_tensor(array, "v").data_ptr() == array.ctypes.data
    assert to_tensor(tensor, "v") is tensor


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0)[::-1],
        np.arange(6.0).reshape(2, 3).T,
        np.arange(6.0).reshape(2, 3)[:, ::2],
        np.arange(6.0).astype(">f8"),
        np.broadcast_to(np.arange(3.0), (2, 3)),
        np.array(3.0),
        np.float64(3.0),
        np.array([2**40, 2**41], np.uint64),
    ],
)
def test_to_tensor_reads_every_layout(array):
    assert np.array_equal(to_tensor(array, "v").numpy(), array)


def test_to_tensor_copies_what_may_not_be_written():
    array = np.arange(3.0)
    array.flags.writeable = False
    assert to_tensor(array, "v").data_ptr() != array.ctypes.data


@pytest.mark.parametrize(
    "bad", [np.array(["1"]), np.array([None]), [1j], np.zeros(2, np.longdouble), "words", object()]
)
def test_to_tensor_refuses_what_is_not_real_numbers(bad):
    with pytest.raises(TypeError, match=r"`v` must hold real numbers: got an array of dtype"):
        to_tensor(bad, "v")


def test_to_tensor_refuses_ragged_lists_half_precision_and_complex_tensors():
    with pytest.raises(TypeError, match=r"`v` must be a rectangular array of numbers: got list"):
        to_tensor([[1.0], [1.0, 2.0]], "v")
    for dtype in (torch.float16, torch.bfloat16):
        with pytest.raises(TypeError, match=r"`v` must be float32 or float64: got torch"):
            to_tensor(torch.zeros(3, dtype=dtype), "v")
    with pytest.raises(TypeError, match=r"`v` must hold real numbers: got torch.complex64"):
        to_tensor(torch.zeros(3, dtype=torch.complex64), "v", dtype=torch.float32)


def test_namespace_is_that_of_the_input():
    assert namespace_of(torch.zeros(1)) is Namespace.TORCH
    for array in (np.zeros(1), [0.0], (0.0,), 0.0):
        assert namespace_of(array) is Namespace.NUMPY


def test_namespace_exports_to_the_library():
    tensor = torch.tensor([1.0, 2.0], requires_grad=True)
    assert Namespace.TORCH.export(tensor) is tensor
    exported = Namespace.NUMPY.export(tensor)
    assert isinstance(exported, np.ndarray)
    assert exported.dtype == np.float32
    scalar = Namespace.NUMPY.export(torch.tensor(2.0, dtype=torch.float64))
    assert isinstance(scalar, np.float64)
    assert scalar == 2.0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("kind", ["points", "grid"])
def test_every_public_array_comes_in_the_users_library_and_dtype(library, dtype, kind):
    def given(array):
        array = np.asarray(array, dtype)
        return array if library == "numpy" else torch.from_numpy(array)

    rng = np.random.default_rng(0)
    if kind == "points":
        solution = solve(given(rng.normal(size=(8, 2))), given(rng.normal(size=(6, 2))), epsilon=0.5, tolerance=1e-3)
    else:
        grid = Grid(
            (given(rng.normal(size=4)), given(rng.normal(size=2))),
            target_axes=(given([0.0, 1.0, 2.0]), given([0.0, 1.0])),
        )
        solution = solve(grid, epsilon=0.5, tolerance=1e-3)
    coupling = solution.coupling
    source, target = given(rng.normal(size=(8, 3))), given(rng.normal(size=(6, 3)))
    sparse, rounded = coupling.to_sparse(), coupling.round()
    numbers = {
        "f": solution.f, "g": solution.g, "value": solution.value, "transport_cost": solution.transport_cost,
        "entropy_value": solution.entropy_value, "to_dense": coupling.to_dense(), "apply": coupling.apply(target),
        "apply_transpose": coupling.apply_transpose(source), "marginals": coupling.marginals().source,
        "target marginal": coupling.marginals().target, "probabilities": coupling.conditional(0).probabilities,
        "mean": coupling.conditional([0, 1]).mean(), "mean of values": coupling.conditional(0).mean(target),
        "barycentric_map": coupling.barycentric_map(), "of values": coupling.barycentric_map(target),
        "map": coupling.map(source[:, :2]), "potential": coupling.potential(source[:, :2]),
        "top_k": coupling.top_k(2).mass, "sparse": sparse.mass, "sparse apply": sparse.apply(target),
        "sparse dense": sparse.to_dense(), "rounded": rounded.to_dense(), "rounded marginal": rounded.marginals().source,
        "entropy": coupling.entropy(), "sparse entropy": sparse.entropy(), "rounded entropy": rounded.entropy(),
        "transposed": coupling.transpose().to_dense(),
    }  # fmt: skip
    integers = {
        "sample i": coupling.sample(5)[0], "sample j": coupling.sample(5)[1], "top_k": coupling.top_k(2).indices,
        "rows": sparse.rows, "cols": sparse.cols, "draws": coupling.conditional(0).sample(3),
        "sparse sample": sparse.sample(5)[0], "rounded sample": rounded.sample(5)[1],
    }  # fmt: skip
    for name, array in (numbers | integers).items():
        assert isinstance(array, np.ndarray | np.generic if library == "numpy" else torch.Tensor), name
        wanted = dtype if name in numbers else "int64"
        if name != "top_k":
            assert str(array.dtype).endswith(wanted), name
    assert str(coupling.top_k(2).mass.dtype).endswith(dtype)


def test_weights_of_another_library_or_dtype_are_cast_to_the_points():
    problem = Problem(
        PointCloud(np.zeros((3, 1), np.float32), np.ones((2, 1), np.float32)),
        [1, 1, 2],
        torch.tensor([2.0, 2.0]).double(),
        epsilon=1.0,
    )
    assert problem.a.dtype == problem.b.dtype == torch.float32
    assert isinstance(solve(problem.geometry, a=problem.a, b=problem.b, epsilon=1.0).f, np.ndarray)
