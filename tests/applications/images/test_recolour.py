"""Recolouring: uint8 in, uint8 out, by the map for new points."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import isotherm
from isotherm.applications.images import map_colours, recolour, sample_colours


@pytest.fixture
def pictures() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    source = generator.integers(0, 256, (12, 10, 3), dtype=np.uint8)
    return source, generator.integers(60, 200, (7, 9, 3), dtype=np.uint8)


def test_picture_keeps_its_shape_and_type(pictures) -> None:
    source, target = pictures
    before = source.copy()
    recoloured = recolour(source, target, samples=50)
    assert recoloured.image.shape == source.shape
    assert recoloured.image.dtype == np.uint8
    assert len(recoloured.source_pixels) == len(recoloured.target_pixels) == 50
    assert recoloured.solution.status.is_converged
    np.testing.assert_array_equal(source, before)


def test_every_pixel_gets_the_mean_of_its_law(pictures) -> None:
    source, target = pictures
    recoloured = recolour(source, target, epsilon=0.05, samples=40)
    solution, colours = recoloured.solution, source.reshape(-1, 3) / 255
    y, b = solution.problem.geometry.y.numpy(), solution.problem.b.numpy()
    cost = ((colours[:, None] - y) ** 2).sum(-1)
    weights = b * np.exp((solution.g - cost) / solution.epsilon)
    expected = (weights @ y) / weights.sum(1, keepdims=True)
    np.testing.assert_allclose(recoloured.image.reshape(-1, 3) / 255, expected, atol=0.51 / 255)


def test_small_pictures_are_taken_whole(pictures) -> None:
    recoloured = recolour(*pictures, samples=10_000)
    np.testing.assert_array_equal(recoloured.source_pixels, np.arange(120))
    np.testing.assert_array_equal(recoloured.target_pixels, np.arange(63))


def test_pixels_of_one_colour_are_coupled_as_one(pictures) -> None:
    few = (pictures[0] // 128 * 255, pictures[1] // 100 * 100)
    solution = recolour(*few, samples=10_000).solution
    for points, weights, picture in zip(
        (solution.problem.geometry.x, solution.problem.geometry.y),
        (solution.problem.a, solution.problem.b),
        few,
        strict=True,
    ):
        distinct, counts = np.unique(picture.reshape(-1, 3), axis=0, return_counts=True)
        np.testing.assert_allclose(points.numpy() * 255, distinct, atol=1e-4)
        np.testing.assert_allclose(weights.numpy(), counts / counts.sum(), rtol=1e-6)


def test_hot_end_is_the_mean_colour(pictures) -> None:
    source, target = pictures
    image = recolour(source, target, epsilon=1e5).image
    np.testing.assert_allclose(image.reshape(-1, 3), np.broadcast_to(target.mean((0, 1)), (120, 3)), atol=1)


def test_cold_end_gives_a_picture_back_to_itself() -> None:
    steps = np.array([0, 85, 170, 255], dtype=np.uint8)
    picture = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(8, 8, 3)
    shuffled = picture[::-1, ::-1]
    np.testing.assert_array_equal(recolour(picture, shuffled, epsilon=0.002).image, picture)


def test_same_seed_same_picture(pictures) -> None:
    first, second = (recolour(*pictures, samples=30) for _ in range(2))
    np.testing.assert_array_equal(first.image, second.image)
    other = recolour(*pictures, samples=30, generator=torch.Generator().manual_seed(1))
    assert set(other.source_pixels) != set(first.source_pixels)


def test_global_random_state_is_left_alone(pictures) -> None:
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    recolour(*pictures, samples=30)
    assert torch.equal(before, torch.get_rng_state())
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)


def test_progress_and_callback_are_told(pictures) -> None:
    shares, checks = [], []
    recolour(*pictures, callback=checks.append, progress=shares.append)
    assert shares[-1] == 1.0
    assert checks[-1].marginal_error <= 1e-4


def test_each_distinct_colour_is_mapped_once(pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    recoloured = recolour(*pictures)
    sizes = []
    original = isotherm.EntropicCoupling.map
    monkeypatch.setattr(
        isotherm.EntropicCoupling, "map", lambda self, x_new: sizes.append(len(x_new)) or original(self, x_new)
    )
    flat = np.zeros((200, 300, 3), dtype=np.uint8)
    flat[:, 150:] = (10, 20, 30)
    image = map_colours(recoloured.solution.coupling, flat)
    assert sizes == [2]
    assert len(np.unique(image.reshape(-1, 3), axis=0)) == 2
    assert (image[:, :150] == image[0, 0]).all()


def test_coupling_reads_both_ways(pictures) -> None:
    source, target = pictures
    solution = recolour(source, target).solution
    there, back = map_colours(solution.coupling, source), map_colours(solution.coupling.transpose(), target)
    assert there.shape == source.shape
    assert back.shape == target.shape
    assert back.std() > there.std()  # the source has the wider range of colours


def test_exact_coupling_has_no_map(pictures) -> None:
    source, target = pictures
    generator = torch.Generator().manual_seed(0)
    x, y = (sample_colours(picture, 20, generator=generator)[1] for picture in (source, target))
    with pytest.raises(ValueError, match="positive temperature"):
        map_colours(isotherm.solve(x, y, solver="exact").coupling, source)


@pytest.mark.parametrize("bad", [np.zeros((4, 4, 3)), [[[0, 0, 0]]], torch.zeros(4, 4, 3, dtype=torch.uint8)])
def test_other_arrays_are_refused(pictures, bad) -> None:
    with pytest.raises(TypeError, match="must be a NumPy array of dtype uint8"):
        recolour(pictures[0], bad)


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4), (0, 4, 3)])
def test_other_shapes_are_refused(pictures, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="`source_image` must have shape"):
        recolour(np.zeros(shape, dtype=np.uint8), pictures[1])


def test_bad_number_of_samples_is_refused(pictures) -> None:
    with pytest.raises(ValueError, match="`samples` must be at least 1"):
        recolour(*pictures, samples=0)
