"""POT's barycenters."""

import warnings

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

import isotherm
import isotherm.compat.pot as ot

from .problems import LIBRARIES, arrays, as_numpy

AXIS = np.linspace(0.0, 1.0, 40)
COSTS = (AXIS[:, None] - AXIS) ** 2


def bump(mean, width=0.08):
    density = np.exp(-((AXIS - mean) ** 2) / (2 * width**2))
    return density / density.sum()


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("method", ["sinkhorn", "sinkhorn_stabilized", "sinkhorn_log"])
def test_barycenter_of_one_histogram_is_its_image_under_the_kernel(method, library):
    M = np.random.default_rng(0).random((6, 6))  # not symmetric: rows are the histogram's
    A = np.arange(1.0, 7.0)[:, None] / 21
    kernel = np.exp(-M / 0.2)
    found = ot.barycenter(*arrays(library, A, M), 0.2, method=method, stopThr=1e-12)
    np.testing.assert_allclose(as_numpy(found), kernel.T @ (A[:, 0] / kernel.sum(1)), atol=1e-12)


@pytest.mark.parametrize("library", LIBRARIES)
def test_barycenters_are_those_of_isotherm(library):
    A = np.stack([bump(0.3), bump(0.6)], 1)
    points = torch.from_numpy(AXIS[:, None])
    measures = [(points, torch.from_numpy(column)) for column in A.T]
    for function, is_debiased in ((ot.barycenter, False), (ot.bregman.barycenter_debiased, True)):
        found, log = function(*arrays(library, A, COSTS), 0.01, [0.3, 0.7], stopThr=1e-6, log=True)
        wanted = isotherm.barycenter(
            measures,
            [0.3, 0.7],
            epsilon=0.01,
            support=points,
            debiased=is_debiased,
            tolerance=1e-6,
            max_iterations=10000,
        ).weights
        np.testing.assert_allclose(as_numpy(found), wanted, atol=1e-5)
        assert type(found) is type(arrays(library, A))
        assert log["niter"] == len(log["err"])


def test_debiased_barycenter_of_one_histogram_is_itself_and_the_plain_one_is_wider():
    A = bump(0.5)[:, None]
    plain = ot.barycenter(A, COSTS, 0.01, stopThr=1e-9)
    debiased = ot.bregman.barycenter_debiased(A, COSTS, 0.01, stopThr=1e-6)
    np.testing.assert_allclose(debiased, A[:, 0], atol=1e-6)
    spread = [float(weights @ (AXIS - 0.5) ** 2) for weights in (plain, A[:, 0])]
    assert abs(spread[0] - spread[1] - 0.01 / 2) < 2e-4  # blurred by reg / 2


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("is_debiased", [False, True])
def test_images_are_histograms_on_the_unit_square(library, is_debiased):
    rng = np.random.default_rng(0)
    A = rng.random((3, 5, 7)) + 1.0
    A /= A.sum((1, 2), keepdims=True)
    grid = np.stack(np.meshgrid(np.linspace(0, 1, 5), np.linspace(0, 1, 7), indexing="ij"), -1).reshape(-1, 2)
    M = ot.dist(grid)
    names = ("barycenter_debiased", "convolutional_barycenter2d_debiased") if is_debiased else (
        "barycenter", "convolutional_barycenter2d",
    )  # fmt: skip
    flat, image = (getattr(ot.bregman, name) for name in names)
    wanted = flat(A.reshape(3, -1).T, M, 0.02, [0.2, 0.3, 0.5], stopThr=1e-8)
    found, log = image(arrays(library, A), 0.02, [0.2, 0.3, 0.5], stopThr=1e-8, log=True)
    np.testing.assert_allclose(as_numpy(found), wanted.reshape(5, 7), atol=1e-8)
    kernel = np.exp(-M / 0.02)
    u, v = (as_numpy(log[name]).reshape(3, -1) for name in "UV")
    np.testing.assert_allclose(u * (v @ kernel), A.reshape(3, -1), atol=1e-7)
    np.testing.assert_allclose(v * (u @ kernel), np.tile(wanted, (3, 1)), atol=1e-7)


@pytest.mark.parametrize("library", LIBRARIES)
def test_moving_points_meet_in_the_middle(library):
    clouds, masses = [[[-1.0], [-3.0]], [[2.0]]], [[0.5, 0.5], [1.0]]
    given = [arrays(library, cloud) for cloud in clouds], [arrays(library, mass) for mass in masses]
    found, log = ot.bregman.free_support_sinkhorn_barycenter(
        *given, arrays(library, [[9.0]]), 1.0, weights=arrays(library, [0.25, 0.75]), log=True
    )
    np.testing.assert_allclose(as_numpy(found), [[0.25 * -2.0 + 0.75 * 2.0]], atol=1e-12)
    assert len(log["displacement_square_norms"]) == 2  # one move, and one look


def test_moving_points_are_differentiable():
    cloud = torch.tensor([[-1.0], [0.5]], dtype=torch.float64, requires_grad=True)
    mass = torch.tensor([0.4, 0.6], dtype=torch.float64)
    start = torch.tensor([[0.0], [0.3]], dtype=torch.float64)

    def moved(cloud):
        return ot.bregman.free_support_sinkhorn_barycenter([cloud], [mass], start, 0.5, numItermax=2, stopThr=0.0)

    assert gradcheck(moved, cloud, atol=1e-6)


def test_warnings_and_errors():
    A = np.stack([bump(0.3), bump(0.6)], 1)
    images = np.stack([np.outer(bump(0.3), bump(0.4)), np.outer(bump(0.6), bump(0.5))])
    calls = [
        (ot.barycenter, (A, COSTS)),
        (ot.bregman.barycenter_debiased, (A, COSTS)),
        (ot.bregman.convolutional_barycenter2d, (images,)),
        (ot.bregman.convolutional_barycenter2d_debiased, (images,)),
    ]
    for function, arguments in calls:
        with pytest.warns(isotherm.ConvergenceWarning, match="numItermax"):
            function(*arguments, 0.01, numItermax=1)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            function(*arguments, 0.01, numItermax=1, warn=False)
        with pytest.raises(ValueError, match="Unknown method"):
            function(*arguments, 0.01, method="foo")
        with pytest.warns(UserWarning, match="stopTrh"):
            function(*arguments, 0.1, numItermax=1, warn=False, stopTrh=1)
        with pytest.raises(AssertionError, match="one share"):
            function(*arguments, 0.01, [1.0])
    with pytest.raises(NotImplementedError, match="not differentiated"):
        ot.barycenter(torch.from_numpy(A).requires_grad_(), torch.from_numpy(COSTS), 0.01)
