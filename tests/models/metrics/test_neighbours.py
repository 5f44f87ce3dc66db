"""Precision, recall, density, coverage and copies, on lines where each ball can be seen."""

import pytest
import torch

from isotherm.models.metrics import memorisation, nearest_distances, support
from isotherm.models.metrics import neighbours as module


def written_out(generated, real, k):
    """The definitions, as loops."""

    def radius(points, i):
        others = sorted(abs(points[i] - p) for j, p in enumerate(points) if j != i)
        return others[k - 1]

    inside = [[abs(y - x) <= radius(real, i) for i, x in enumerate(real)] for y in generated]
    around = [[abs(y - x) <= radius(generated, j) for j, y in enumerate(generated)] for x in real]
    return (
        sum(any(row) for row in inside) / len(generated),
        sum(any(row) for row in around) / len(real),
        sum(map(sum, inside)) / (k * len(generated)),
        sum(any(row[i] for row in inside) for i in range(len(real))) / len(real),
    )


def four(found):
    return found.precision, found.recall, found.density, found.coverage


def test_support_by_hand():
    # Balls of real ones: [-1, 1], [0, 2], [1, 3], [2, 18].
    real, generated = [[0.0], [1.0], [2.0], [10.0]], [[1.5], [-5.0]]
    found = support(generated, real, k=1)
    # 1.5 lies in two of them, -5 in none. Balls of generated ones: [-5, 8], [-11.5, 1.5]; 10 lies in none.
    assert four(found) == (0.5, 0.75, 1.0, 0.5)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_support_is_its_definition(k, generator):
    real = torch.randn(13, generator=generator).tolist()
    generated = (1.0 + 2.0 * torch.randn(9, generator=generator)).tolist()
    found = support([[y] for y in generated], [[x] for x in real], k=k)
    assert four(found) == pytest.approx(written_out(generated, real, k))


def test_same_sample_is_perfect(generator):
    x = torch.randn(40, 3, generator=generator)
    found = support(x, x.flip(0), k=3)
    assert (found.precision, found.recall, found.coverage) == (1.0, 1.0, 1.0)
    assert found.density >= (3 + 1) / 3  # each lies in its own ball, and, counted over all, in three of others


def test_far_sample_is_worthless(generator):
    x = torch.randn(20, 3, generator=generator)
    assert four(support(x + 100.0, x, k=3)) == (0.0, 0.0, 0.0, 0.0)


def test_one_mode_of_two_is_precise_and_covers_half(generator):
    left, right = torch.randn(30, 2, generator=generator), torch.randn(30, 2, generator=generator) + 50.0
    found = support(left + 1e-6, torch.cat([left, right]), k=3)
    assert found.precision == 1.0
    assert found.coverage == 0.5
    assert found.recall == 0.5


def test_density_of_the_law_itself_is_one(generator):
    x, y = torch.randn(2, 1500, 2, generator=generator)
    assert support(x, y, k=5).density == pytest.approx(1.0, abs=0.05)


def test_noise_raises_recall_and_not_coverage(generator):
    x = torch.randn(200, 2, generator=generator)
    noise = support(10.0 * torch.randn(200, 2, generator=generator), x, k=5)
    assert noise.recall > 0.9
    assert noise.coverage < 0.3


def test_chunks_do_not_show(monkeypatch, generator):
    x, y = torch.randn(23, 2, generator=generator), torch.randn(17, 2, generator=generator)
    whole, near = support(x, y, k=2), nearest_distances(x, k=2)
    monkeypatch.setattr(module, "CHUNK", 5)
    assert support(x, y, k=2) == whole
    assert torch.equal(nearest_distances(x, k=2), near)


def test_nearest_of_copies_is_the_copy_and_not_itself():
    x = torch.tensor([[0.0], [0.0], [3.0]])
    assert nearest_distances(x).tolist() == [0.0, 0.0, 3.0]
    assert nearest_distances(x, k=2).tolist() == [3.0, 3.0, 3.0]
    assert nearest_distances(x, [[1.0], [5.0]]).tolist() == [1.0, 1.0, 2.0]


def test_too_few_for_a_ball():
    with pytest.raises(ValueError, match="at least 6 observations: got 5"):
        support(torch.rand(5, 2), torch.rand(9, 2))
    with pytest.raises(ValueError, match="`y` must hold at least 3"):
        nearest_distances(torch.rand(5, 2), torch.rand(2, 2), k=3)


def test_copies_are_memorised_and_new_ones_are_not(generator):
    train, test, new = torch.randn(3, 300, 4, generator=generator)
    copies = memorisation(train[:100], train, test)
    assert (copies.ratio, copies.copies) == (0.0, 1.0)
    fresh = memorisation(new, train, test)
    assert fresh.ratio == pytest.approx(1.0, abs=0.1)
    assert fresh.copies < 0.05
    blurred = memorisation(train + 0.05 * torch.randn(300, 4, generator=generator), train, test)
    assert 0.0 < blurred.ratio < 0.3
    assert blurred.copies > 0.5


def test_memorisation_ratio_by_hand():
    # Generated are 2 and 4 from the training data, held-out ones 1, 1 and 8: torch's median of two is the lower.
    found = memorisation([[2.0], [-4.0]], train=[[0.0]], test=[[1.0], [-1.0], [8.0]])
    assert found.ratio == 2.0
    assert found.copies == 0.0


def test_held_out_copies_are_refused():
    with pytest.raises(ValueError, match="copies of training observations"):
        memorisation(torch.rand(3, 2), torch.zeros(4, 2), torch.zeros(4, 2))
