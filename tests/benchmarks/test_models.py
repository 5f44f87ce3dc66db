"""The evidence for models: baselines are what they are called, each command runs, and tables say what the results say."""

import json

import pytest
import torch
from sklearn.mixture import GaussianMixture

from benchmarks.models import choose, digits, iris, report, variance
from benchmarks.models.baselines import BASELINES
from benchmarks.models.candidates import CANDIDATES
from benchmarks.models.settings import DIGITS, TRAINING
from isotherm.models import Training, load_data
from isotherm.models.metrics import nearest_distances

SEED = torch.Generator().manual_seed


@pytest.fixture(scope="module")
def train():
    """Two lumps in the plane, as pictures of two pixels."""
    x = torch.randn(400, 1, 2, generator=SEED(0)) * torch.tensor([1.0, 0.3])
    x[::2] += 6.0
    return x


@pytest.mark.parametrize("name", ["Gaussian", "10 Gaussians", "kernel density .1"])
def test_baselines_have_the_moments_of_the_data(train, name):
    made = BASELINES[name](train, 0)(20_000, SEED(1))
    assert made.shape == (20_000, 1, 2)
    assert made.dtype == train.dtype
    torch.testing.assert_close(made.mean(0), train.mean(0), rtol=0, atol=0.15)
    torch.testing.assert_close(torch.cov(made[:, 0].T), torch.cov(train[:, 0].T), rtol=0.05, atol=0.05)


def test_mixture_is_that_of_scikit_learn(train):
    fitted = GaussianMixture(10, reg_covar=1e-3, random_state=3).fit(train.flatten(1).double().numpy())
    theirs = torch.from_numpy(fitted.sample(20_000)[0]).float()
    ours = BASELINES["10 Gaussians"](train, 3)(20_000, SEED(0)).flatten(1)
    assert fitted.score(ours.double().numpy()) == pytest.approx(fitted.score(theirs.double().numpy()), abs=0.03)


def test_floor_is_a_part_of_the_training_data_without_repetition(train):
    made = BASELINES["training data (floor)"](train, 0)(300, SEED(0))
    assert len(made.flatten(1).unique(dim=0)) == 300
    assert nearest_distances(made, train).max() == 0.0


def test_principal_components_lie_in_their_plane():
    x = torch.randn(200, 30, generator=SEED(0)) * torch.linspace(0.1, 3.0, 30)
    made = BASELINES["PPCA 16"](x, 0)(100, SEED(0)) - x.mean(0)
    assert int((torch.linalg.svdvals(made) > 1e-3).sum()) == 16


@pytest.mark.parametrize("name", DIGITS)
def test_settings_make_models_that_take_a_step(name):
    row = DIGITS[name]
    model = row.make((8, 8), seed=1)
    found = model.step(torch.rand(16, 8, 8, generator=SEED(0)))
    assert found["loss"].isfinite()
    assert row.trained_with(3)["seed"] == 3


def test_digits_measure_models_and_baselines_alike():
    floor = digits.run("training data (floor)", 0, digits.QUICK)
    trained = digits.run("VAE", 0, digits.QUICK)
    assert set(trained["metrics"]) - set(floor["metrics"]) == {"reconstruction", "codes"}
    assert floor["metrics"]["w2"]["value"] == pytest.approx(floor["metrics"]["w2"]["floor"], abs=0.05)
    assert trained["metrics"]["w2"]["value"] > floor["metrics"]["w2"]["value"] + 0.5  # after three steps
    assert floor["metrics"]["memorisation"]["value"] == 0.0
    assert floor["accuracy"] == pytest.approx(0.9816, abs=0.006)
    json.dumps(trained, allow_nan=False)


def test_digits_command_writes_its_result(tmp_path):
    words = ["--quick", "--seeds", "0", "--workers", "1", "--only", "Gaussian", "--output", str(tmp_path / "x.json")]
    digits.main(words)
    result = json.loads((tmp_path / "x.json").read_text())
    assert [row["model"] for row in result["rows"]] == ["Gaussian"]
    assert result["settings"]["training"]["steps"] == digits.QUICK["steps"]
    assert {"isotherm", "torch", "python"} <= set(result["versions"])


@pytest.mark.parametrize("name", DIGITS)
def test_candidates_make_models_and_trainings(name):
    for settings, training in CANDIDATES[name]:
        made = DIGITS[name].kind((8, 8), **settings)
        assert all(made.settings()[key] == value for key, value in settings.items())
        Training(**{**TRAINING, **training})


def test_choice_looks_at_training_digits_alone(monkeypatch):
    seen = []

    def measured(name, row, data, **settings):
        seen.append((row, data))
        floors = {key: {"value": 2.0, "floor": 2.0} for key in choose.JUDGED}
        return {"model": name, "seed": 0, "seconds": 0.0, "metrics": floors, "warnings": []}

    monkeypatch.setattr(choose, "measured", measured)
    found = choose.run("EVIA", 1, 0, {})
    row, data = seen[0]
    assert (row.settings, row.training) == CANDIDATES["EVIA"][1]
    assert found["settings"] == {"model": row.settings, "training": row.training}
    assert found["score"] == 1.0
    held_out = {tuple(x.flatten().tolist()) for x in load_data("digits").test}
    assert not any(tuple(x.flatten().tolist()) in held_out for part in (data.train, data.test) for x in part)
    choose.run(choose.REFERENCE, 0, 0, {})
    assert seen[1][0] is None


def test_score_is_a_geometric_mean_that_gains_nothing_below_the_floor():
    metrics = {"w2": (3.0, 2.0), "frechet_features": (0.1, 0.5), "coverage": (0.5, 1.0)}
    metrics = {name: {"value": value, "floor": floor} for name, (value, floor) in metrics.items()}
    assert choose.score(metrics) == pytest.approx((1.5 * 1.0 * 2.0) ** (1 / 3))


def test_rankings_put_the_best_mean_over_seeds_first():
    rows = [
        {"model": "VAE", "settings": {"model": {"gamma": gamma}, "training": {}}, "seed": seed, "score": value}
        for gamma, values in ((0.1, (1.0, 3.0)), (0.2, (1.5, 1.7)))
        for seed, value in enumerate(values)
    ]
    [(first, settings), (second, _)] = choose.rankings(rows)["VAE"]
    assert (first, second) == (pytest.approx(1.6), pytest.approx(2.0))
    assert settings["model"] == {"gamma": 0.2}


def test_settings_are_those_that_were_chosen():
    rows = json.loads((report.RESULTS / choose.RESULT).read_text(encoding="utf-8"))["rows"]
    for name, ranked in choose.rankings(rows).items():
        if name != choose.REFERENCE:
            assert ranked[0][1] == {"model": DIGITS[name].settings, "training": DIGITS[name].training}
            assert len(ranked) == len(CANDIDATES[name])


def test_ellipsoids_hold_what_is_in_them():
    model = iris.Ellipsoids(torch.tensor([[0.0, 0.0, 0.0], [5.0, 0.0, 0.0], [0.0, 9.0, 0.0]]).double())
    with torch.no_grad():
        model.axes[1] = torch.diag(torch.tensor([2.0, 1.0, 1.0]).double())
    x = torch.tensor([[0.9, 0.0, 0.0], [0.0, 1.1, 0.0], [3.1, 0.0, 0.0], [0.0, 8.5, 0.0]]).double()
    assert model.inside(x).int().tolist() == [[1, 0, 0], [0, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert iris.counts(model, x, torch.tensor([2, 0, 0, 1])) == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]  # put in order
    z = iris.ball(30_000, 3, SEED(0))
    assert float(z.norm(dim=1).max()) <= 1.0
    torch.testing.assert_close(z.T @ z / len(z), torch.eye(3).double() / 5, rtol=0, atol=0.01)


@pytest.mark.parametrize("epsilon", iris.EPSILONS)
def test_loss_of_ellipsoids_is_zero_between_equal_clouds(epsilon):
    x = iris.ball(12, 3, SEED(0))
    assert float(iris.loss(x, x, epsilon, "euclidean")) == pytest.approx(0.0, abs=1e-9)
    assert float(iris.loss(x + 1.0, x, epsilon, "euclidean")) > 0.5


def test_iris_command_starts_from_k_means(tmp_path):
    iris.main(["--quick", "--seeds", "0", "--workers", "1", "--output", str(tmp_path / "x.json")])
    result = json.loads((tmp_path / "x.json").read_text())
    assert result["start"] == [[47, 0, 0], [0, 42, 12], [0, 1, 31]]
    assert [row["epsilon"] for row in result["rows"]] == ["inf", "1", "0.1", "0.001"] * 2
    assert result["wall_s"] > 0.0


def test_quantiles_have_exactly_the_variance():
    x = variance.normal_quantiles(101, 1.4)
    assert float(x.square().mean()) == pytest.approx(1.4, rel=1e-5)
    assert float(x.mean()) == pytest.approx(0.0, abs=1e-6)


def test_losses_order_the_variance_as_they_should():
    short = {"steps": 60, "batch_size": 128, "learning_rate": 0.05, "schedule": "cosine"}
    found = {loss: variance.on_a_line(loss, seed=0, training=short)["found"] for loss in ("raw", "debiased")}
    assert found["raw"] == pytest.approx(variance.EXPECTED["raw"], abs=0.1)
    assert found["debiased"] == pytest.approx(variance.TRUE, abs=0.1)


def test_variance_command_writes_its_result(tmp_path):
    variance.main(["--quick", "--seeds", "0", "--workers", "1", "--output", str(tmp_path / "x.json")])
    rows = json.loads((tmp_path / "x.json").read_text())["rows"]
    assert [row["what"] for row in rows].count("codes") == 4
    assert {row["loss"] for row in rows if row["what"] == "line"} == set(variance.EXPECTED)


def result(rows):
    return {
        "date": "2026-01-02T00:00:00",
        "machine": {"processor": "p", "cores": 2},
        "commit": "c",
        "versions": {"torch": "1"},
        "wall_s": 120.0,
        "rows": rows,
    }


def test_tables_say_what_the_results_say(tmp_path):
    form = {"spread": 0.5, "correlation": 0.25, "excess_kurtosis": 0.0}
    rows = [
        {
            "model": "VAE",
            "seed": seed,
            "seconds": 3.0,
            "metrics": {"w2": {"value": 1.0 + seed, "floor": 0.5}, "codes": {"value": 2.0, "floor": 1.75}},
            "posterior": form,
        }
        for seed in (0, 2)
    ]
    (tmp_path / digits.RESULT).write_text(json.dumps(result(rows)))
    begin, end = "<!-- digits table -->", report.END
    page = report.filled(f"before {begin} old {end} between <!-- family table -->{end} after", tmp_path)
    assert "| VAE | 2.000 ± 1.414 |" in page
    assert "2.00 ± 0.00 (floor 1.75)" in page
    assert "| a family | 0.50 ± 0.00 | 0.25 ± 0.00 |" in page
    assert "2 seeds, 2 minutes" in page
    assert " old " not in page
    assert page.startswith(f"before {begin}")
    assert page.endswith(f"{end} after")
    assert report.filled(page, tmp_path) == page
    with pytest.raises(ValueError, match="must end each table"):
        report.filled(begin, tmp_path)


def test_tables_of_iris_and_variance(tmp_path):
    table = [[1, 0, 0], [0, 2, 0], [0, 0, 3]]
    found = result([{"cost": "plain", "epsilon": "1", "seed": 0, "counts": table}])
    text = report.iris_table({**found, "published": {"1": table}, "start": table})
    assert "| 1 | [1 0 0 / 0 2 0 / 0 0 3] | [1 0 0 / 0 2 0 / 0 0 3] |" in text
    other = {"cost": "plain", "epsilon": "1", "seed": 1, "counts": [[2, 0, 0], [0, 2, 0], [0, 0, 6]]}
    text = report.iris_table({**found, "rows": [*found["rows"], other], "published": {"1": table}, "start": table})
    assert "| [1.5 0 0 / 0 2 0 / 0 0 4.5] ± 1.5 |" in text
    rows = [{"what": "line", "loss": "raw", "seed": seed, "expected": 1.1, "found": 1.0} for seed in (0, 1)]
    assert "| generator on a line | raw | 1.100 | 1.000 ± 0.000 |" in report.variance_table(result(rows))


def test_table_of_choices():
    rows = [
        {"model": "VAE", "settings": {"model": {"gamma": gamma}, "training": {"steps": 3}}, "seed": 0, "score": value}
        for gamma, value in ((0.1, 2.0), (0.2, 1.5))
    ]
    assert "| VAE | gamma 0.2, steps 3 | 1.500 | 2.000 |" in report.choice_table(result(rows))


def test_page_has_every_table():
    page = (report.RESULTS.parents[1] / "docs" / "generative-benchmarks.md").read_text(encoding="utf-8")
    for name in report.TABLES:
        assert page.count(f"<!-- {name} table -->") == 1
    assert page.count(report.END) == len(report.TABLES)


def test_data_of_the_protocol():
    data = load_data("digits")
    assert (len(data.train), len(data.test), data.shape) == (1198, 599, (8, 8))
