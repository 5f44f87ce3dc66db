"""Data: the same for the same arguments, split without overlap, and a line that helps for all that is no data."""

import re
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from isotherm.models.data import PLANAR, DataSet, load_data, planar
from isotherm.models.data.shipped import principal_axes


def test_digits_are_split_as_by_scikit_learn():
    data, (x, y) = load_data("digits"), load_digits(return_X_y=True)
    train, test, train_labels, test_labels = train_test_split(x / 16, y, test_size=599, random_state=0, stratify=y)
    assert data.shape == (8, 8)
    assert data.scale == (0.0, 1.0)
    for found, expected in ((data.train, train), (data.test, test)):
        assert found.dtype == torch.float32
        assert np.array_equal(found.flatten(1).numpy(), expected.astype(np.float32))
    assert np.array_equal(data.train_labels, train_labels)
    assert np.array_equal(data.test_labels, test_labels)


def test_iris_has_three_centred_axes_in_falling_order():
    data = load_data("iris")
    x = torch.cat([data.train, data.test])
    assert x.shape == (150, 3)
    assert x.mean(0).abs().max() < 1e-6
    covariance = torch.cov(x.T)
    assert (covariance - covariance.diag().diag()).abs().max() < 1e-5
    assert torch.equal(covariance.diag().sort(descending=True).values, covariance.diag())
    assert torch.cat([data.train_labels, data.test_labels]).bincount().tolist() == [50, 50, 50]


def test_principal_axes_do_not_depend_on_the_sign_that_a_library_chose():
    x = torch.randn(20, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    turned = principal_axes(x[:, [2, 0, 3, 1]], 3)
    assert torch.allclose(principal_axes(x, 3), turned)


@pytest.mark.parametrize("name", PLANAR)
def test_planar_laws_are_seeded_and_leave_the_global_state_alone(name):
    before = torch.get_rng_state()
    first, part = planar(name, 64, generator=torch.Generator().manual_seed(3))
    again, _ = planar(name, 64, generator=torch.Generator().manual_seed(3))
    other, _ = planar(name, 64, generator=torch.Generator().manual_seed(4))
    assert first.shape == (64, 2)
    assert part.shape == (64,)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.get_rng_state())


def test_planar_moments():
    def moments(name):
        x, _ = planar(name, 40_000, generator=torch.Generator().manual_seed(0))
        return x.mean(0).tolist(), x.var(0).tolist()

    mean, variance = moments("gaussian")
    assert mean == pytest.approx([0, 0], abs=0.03)
    assert variance == pytest.approx([1, 1], rel=0.03)
    mean, variance = moments("8gaussians")  # 25 / 2 + 1 on each axis
    assert mean == pytest.approx([0, 0], abs=0.08)
    assert variance == pytest.approx([13.5, 13.5], rel=0.03)
    mean, variance = moments("circles")  # (1 + 4) / 4 + 0.01
    assert variance == pytest.approx([1.26, 1.26], rel=0.03)
    mean, _ = moments("moons")  # centred in x; heights 2/pi and 1/2 - 2/pi, doubled
    assert mean == pytest.approx([0, 0.5], abs=0.03)
    mean, variance = moments("spirals")  # radius pi sqrt(u): second moment pi^2 / 2 in all, and noise
    assert sum(variance) == pytest.approx(np.pi**2 / 2 + 0.02, rel=0.03)
    mean, variance = moments("scurve")  # var sin = 1/2, 1.5 times as wide, with noise
    assert variance[0] == pytest.approx(1.5**2 * (0.5 + 0.0025), rel=0.03)


def test_checkerboard_fills_the_black_fields_evenly():
    x, _ = planar("checkerboard", 16_000, generator=torch.Generator().manual_seed(0))
    field = torch.floor((x + 4) / 2).long()
    counts = torch.zeros(4, 4).index_put_((field[:, 0], field[:, 1]), torch.ones(len(x)), accumulate=True)
    black = (torch.arange(4)[:, None] + torch.arange(4)) % 2 == 0
    assert (counts[black] - 2000).abs().max() < 200
    assert counts[~black].sum() == 0


def test_splits_cover_everything_once_and_follow_the_seed(tmp_path):
    np.save(tmp_path / "numbers.npy", np.arange(50.0))
    data = load_data(tmp_path / "numbers.npy", seed=1)
    assert len(data.test) == 10
    assert torch.cat([data.train, data.test]).flatten().sort().values.tolist() == list(range(50))
    assert torch.equal(data.test, load_data(tmp_path / "numbers.npy", seed=1).test)
    assert not torch.equal(data.test, load_data(tmp_path / "numbers.npy", seed=2).test)
    assert len(load_data(tmp_path / "numbers.npy", share=0.5).test) == 25


def test_validation_split_never_sees_what_is_held_out():
    data = load_data("digits")
    inner = data.validation_split(seed=1)
    assert (len(inner.train), len(inner.test)) == (799, 399)
    assert inner.shape == data.shape
    assert inner.bounds == data.bounds

    def rows(x, labels):
        return sorted(map(tuple, torch.cat([x.flatten(1), labels[:, None]], 1).tolist()))

    both = torch.cat([inner.train, inner.test]), torch.cat([inner.train_labels, inner.test_labels])
    assert rows(*both) == rows(data.train, data.train_labels)  # each once, with its label


def test_validation_split_has_every_class_alike_and_follows_the_seed():
    data = load_data("digits")
    first, again, other = (data.validation_split(share=0.25, seed=seed) for seed in (0, 0, 1))
    expected = data.train_labels.bincount() * 0.25
    assert (first.test_labels.bincount() - expected).abs().max() <= 1.0
    assert torch.equal(first.test, again.test)
    assert not torch.equal(first.test, other.test)


def test_validation_split_without_classes():
    data = load_data("2d:gaussian", count=50)
    inner = data.validation_split(share=0.5)
    assert inner.train_labels is None
    assert (len(inner.train), len(inner.test)) == (20, 20)
    with pytest.raises(ValueError, match="`share` must lie between 0 and 1"):
        data.validation_split(share=1.0)


def test_labels_stay_with_their_observations(tmp_path):
    x = np.arange(20)
    np.savez(tmp_path / "a.npz", x=np.stack([x, x], 1), labels=x % 3)
    data = load_data(tmp_path / "a.npz")
    assert torch.equal(data.train[:, 0].long() % 3, data.train_labels)
    assert torch.equal(data.test[:, 0].long() % 3, data.test_labels)
    np.savez(tmp_path / "b.npz", train=x[:5, None], test=x[5:, None], test_labels=x[5:])
    data = load_data(tmp_path / "b.npz")
    assert data.train_labels is None
    assert data.test.flatten().tolist() == data.test_labels.tolist() == list(range(5, 20))


def test_eight_bit_pictures_are_divided_and_tables_of_bytes_are_not(tmp_path):
    np.save(tmp_path / "pictures.npy", np.full((4, 2, 2), 255, dtype=np.uint8))
    np.save(tmp_path / "table.npy", np.full((4, 2), 255, dtype=np.uint8))
    data = load_data(tmp_path / "pictures.npy")
    assert float(data.train.max()) == 1.0
    assert data.scale == (0.0, 1.0)
    assert float(load_data(tmp_path / "table.npy").train.max()) == 255.0


def test_folder_of_pictures(tmp_path):
    for k in range(5):
        Image.fromarray(np.full((3, 4), 51 * k, dtype=np.uint8)).save(tmp_path / f"{k}.png")
    (tmp_path / "readme.txt").write_text("no picture")
    data = load_data(tmp_path)
    assert data.shape == (3, 4)
    assert sorted(torch.cat([data.train, data.test])[:, 0, 0].tolist()) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    Image.fromarray(np.array([[[255, 0, 0]] * 4] * 3, dtype=np.uint8)).save(tmp_path / "red.png")
    data = load_data(tmp_path)
    assert data.shape == (3, 3, 4)
    every = torch.cat([data.train, data.test])
    assert [1.0, 0.0, 0.0] in every[:, :, 0, 0].tolist()


def test_folders_within_are_classes(tmp_path):
    for name, level in (("cats", 0), ("dogs", 255)):
        (tmp_path / name).mkdir()
        for k in range(3):
            Image.fromarray(np.full((2, 2), level, dtype=np.uint8)).save(tmp_path / name / f"{k}.png")
    data = load_data(tmp_path)
    assert torch.equal(data.train[:, 0, 0].long(), data.train_labels)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("digit", "Did you mean 'digits'"),
        ("moons", "Did you mean '2d:moons'"),
        ("2d:moon", "Did you mean 'moons'"),
        ("nowhere-at-all", "a folder of pictures: got 'nowhere-at-all'"),
    ],
)
def test_unknown_names_get_the_nearest(source, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        load_data(source)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="must be a file: there is none"):
        load_data(tmp_path / "x.npy")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.array([{}, {}], dtype=object), "got Python objects"),
        (np.array(["a", "b"]), "must hold real numbers"),
        (np.array([1j, 2.0]), "must hold real numbers"),
        (np.array([[1.0], [np.nan]]), r"the first at index \(1, 0\)"),
        (np.array([[1.0], [1e300]]), "must hold finite numbers"),
        (np.zeros((0, 3)), "at least one observation"),
        (np.float64(3.0), "at least one observation"),
        (np.zeros((1, 3)), "at least two observations"),
    ],
)
def test_arrays_that_are_no_observations(tmp_path, values, said):
    np.save(tmp_path / "x.npy", values, allow_pickle=True)
    with pytest.raises(ValueError, match=said):
        load_data(tmp_path / "x.npy")


def test_archives_that_are_no_observations(tmp_path):
    np.savez(tmp_path / "two.npz", a=np.zeros(3), b=np.zeros(3))
    with pytest.raises(ValueError, match="got 'a', 'b'"):
        load_data(tmp_path / "two.npz")
    np.savez(tmp_path / "labels.npz", x=np.zeros(3), labels=np.zeros(2, dtype=int))
    with pytest.raises(ValueError, match="one label per observation"):
        load_data(tmp_path / "labels.npz")
    np.savez(tmp_path / "shapes.npz", train=np.zeros((3, 2)), test=np.zeros((3, 1)))
    with pytest.raises(ValueError, match="observations like those of `train`"):
        load_data(tmp_path / "shapes.npz")
    np.savez(tmp_path / "objects.npz", x=np.array([{}, {}], dtype=object))
    with pytest.raises(ValueError, match="got Python objects"):
        load_data(tmp_path / "objects.npz")
    for name in ("x.npy", "x.npz"):
        (tmp_path / name).write_bytes(b"not an array")
        with pytest.raises(ValueError, match="arrays of numbers"):
            load_data(tmp_path / name)


def test_folders_that_are_no_pictures(tmp_path):
    with pytest.raises(ValueError, match="must hold pictures"):
        load_data(tmp_path)
    Image.new("L", (4, 3)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="at least two observations"):
        load_data(tmp_path)
    Image.new("L", (5, 3)).save(tmp_path / "b.png")
    with pytest.raises(ValueError, match=r"4 x 3 in a\.png and 5 x 3 in b\.png"):
        load_data(tmp_path)
    (tmp_path / "b.png").write_bytes(b"not a picture")
    with pytest.raises(ValueError, match=r"b\.png must be a picture"):
        load_data(tmp_path)


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0])
def test_share_must_leave_something_on_both_sides(share):
    with pytest.raises(ValueError, match="`share` must lie between 0 and 1"):
        load_data("2d:moons", share=share)


def test_labels_must_fit():
    with pytest.raises(ValueError, match="one label per observation"):
        DataSet(name="x", description="", train=torch.zeros(2, 1), test=torch.zeros(2, 1), train_labels=torch.zeros(3))
    with pytest.raises(ValueError, match="must have shape"):
        DataSet(name="x", description="", train=torch.zeros(2), test=torch.zeros(2, 1))


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r"isotherm\[train\]"):
        load_data("digits")
