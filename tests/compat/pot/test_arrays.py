"""NumPy or torch in, the same out."""

import numpy as np
import pytest
import torch

from isotherm._arrays import Namespace
from isotherm.compat.pot.arrays import kind_of


@pytest.mark.parametrize(
    ("given", "namespace", "dtype"),
    [
        (([0.5], [1]), Namespace.NUMPY, torch.float64),
        ((np.zeros(2, np.float32), [1.0]), Namespace.NUMPY, torch.float32),
        ((np.zeros(2, np.float32), np.zeros(2)), Namespace.NUMPY, torch.float64),
        ((np.zeros(2, np.int64),), Namespace.NUMPY, torch.float64),
        ((np.zeros(2, np.int64), np.zeros(2, np.float32)), Namespace.NUMPY, torch.float32),
        ((torch.zeros(2), None, [1.0]), Namespace.TORCH, torch.float32),
        ((torch.zeros(2), torch.zeros(2, dtype=torch.float64)), Namespace.TORCH, torch.float64),
        ((np.zeros(0), torch.zeros(2)), Namespace.TORCH, torch.float32),
    ],
)
def test_kind_is_the_one_that_all_arrays_promote_to(given, namespace, dtype):
    kind = kind_of(*given)
    assert (kind.namespace, kind.dtype) == (namespace, dtype)


def test_kind_exports_to_the_library_it_came_from():
    assert kind_of(np.zeros(1, np.float32)).export(torch.ones(2, dtype=torch.float64)).dtype == np.float32
    assert isinstance(kind_of([1.0]).export(torch.tensor(2.0)), np.float64)
    assert kind_of(torch.zeros(1)).export(torch.ones(2, dtype=torch.float64)).dtype == torch.float32


def test_empty_weights_are_equal_ones():
    kind = kind_of(torch.zeros(1))
    for nothing in (None, [], torch.zeros(0)):
        assert torch.equal(kind.weights(nothing, "a", 4), torch.full((4,), 0.25))


def test_two_libraries_in_one_call_are_refused():
    with pytest.raises(TypeError, match="one library"):
        kind_of(np.zeros(2), torch.zeros(2))


def test_other_libraries_are_refused_by_name():
    class Array:
        __module__ = "jaxlib.xla_extension"

    with pytest.raises(TypeError, match=r"jaxlib.*numpy\.asarray"):
        kind_of(Array(), np.zeros(2))
