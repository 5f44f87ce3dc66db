"""The loop: what a step does, schedules, means of weights, precisions, checkpoints, and what happens to NaN."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn

import isotherm
from isotherm.models import MODELS, VAE, AbstractModel, TensorBoard, Training
from isotherm.models.training import Checkpoints, read_state

if TYPE_CHECKING:
    from pathlib import Path


class Line(AbstractModel):
    """x = w z with z = 1: the simplest loss there is, (w - x)^2 / 2, and NaN from a step on if asked."""

    def __init__(
        self, shape: tuple[int, ...] = (1,), *, bad_from: float = math.inf, epsilon: float = 0.05, seed: int = 0
    ):
        super().__init__(shape, 1, seed)
        self.bad_from, self.epsilon, self.taken = bad_from, epsilon, 0
        self.decoder = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.decoder.weight)

    def step(self, batch: Any, *, progress: float = 1.0, index: Tensor | None = None) -> dict[str, Tensor]:
        self.taken += 1
        loss = 0.5 * (self.decoder(torch.ones(len(batch), 1)) - batch).square().mean()
        factor = math.nan if self.taken >= self.bad_from else 1.0
        return {"loss": factor * loss, "progress": torch.tensor(progress)}

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z)

    @property
    def weight(self) -> float:
        return float(self.decoder.weight.detach())


DATA = torch.full((6, 1), 10.0)


def recorded(training: Training, model: AbstractModel, x: Tensor = DATA, **options: Any) -> list[dict[str, float]]:
    """Numbers of every step."""
    found: list[dict[str, float]] = []
    training.run(
        model,
        x,
        callbacks=[lambda step, n: found.append({"step": step, **{k: float(v) for k, v in n.items()}})],
        **options,
    )
    return found


def test_first_steps_of_adam_are_known() -> None:
    model = Line()
    found = recorded(Training(steps=3, learning_rate=0.1), model)
    assert model.weight == pytest.approx(0.3, rel=1e-3)  # Adam moves by its rate while gradients hardly change
    assert found[0]["gradient_norm"] == pytest.approx(10.0)
    assert [each["step"] for each in found] == [1, 2, 3]
    assert [each["progress"] for each in found] == pytest.approx([0.0, 1 / 3, 2 / 3])
    assert not model.training


def test_schedule_is_what_the_optimiser_sees() -> None:
    training = Training(steps=10, learning_rate=0.1, schedule="cosine", warm_up=2)
    rates = [each["learning_rate"] for each in recorded(training, Line())]
    expected = [0.05, 0.1, *(0.05 * (1 + math.cos(math.pi * k / 8)) for k in range(8))]
    assert rates == pytest.approx(expected)
    model, still = Line(), Line()
    Training(steps=2, learning_rate=0.1, warm_up=2).run(model, DATA)
    assert model.weight == pytest.approx(0.05 + 0.1, rel=1e-2)
    Training(steps=2, learning_rate=0.1).run(still, DATA)
    assert still.weight == pytest.approx(0.2, rel=1e-2)


def test_clip_bounds_the_gradient_that_is_used() -> None:
    used: list[float] = []
    model = Line()
    callbacks = [lambda *_: used.append(float(model.decoder.weight.grad))]  # type: ignore[arg-type]
    Training(steps=2, clip=0.5).run(model, DATA, callbacks=callbacks)
    assert used == pytest.approx([-0.5, -0.5], rel=1e-4)


def test_mean_of_weights_has_the_decays_it_says(tmp_path: Path) -> None:
    model, weights, means = Line(), [0.0], [0.0]
    training = Training(steps=30, learning_rate=0.3, ema=0.6, checkpoint_every=30)
    training.run(model, DATA, folder=tmp_path, callbacks=[lambda *_: weights.append(model.weight)])
    for k, weight in enumerate(weights[1:]):
        keep = min(0.6, (1 + k) / (10 + k))
        means.append(keep * means[-1] + (1 - keep) * weight)
    assert model.weight == pytest.approx(means[-1], rel=1e-5)
    assert means[-1] != pytest.approx(weights[-1], rel=1e-3)
    state = read_state(tmp_path / "checkpoints" / "00000030")
    assert float(state["model"]["decoder.weight"]) == weights[-1]


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_not_finite_goes_back_and_says_why(tmp_path: Path, ema: float) -> None:
    good, model = Line(), Line(bad_from=8)
    x = torch.tensor([[0.0], [4.0]])
    settings = {"learning_rate": 0.1, "ema": ema, "checkpoint_every": 3}
    Training(steps=6, **settings).run(good, x)
    with pytest.raises(FloatingPointError) as raised:
        Training(steps=20, **settings).run(model, x, folder=tmp_path)
    message = str(raised.value)
    for part in (
        "the loss of step 8",
        "back at step 6",
        "is 2;",
        "epsilon = 0.05 (2.5e-02 of it)",
        "now 0.1",
        "clip=1",
    ):
        assert part in message
    assert "\n" not in message
    assert model.weight == good.weight != 0.0
    assert Checkpoints(tmp_path, 2).steps() == [3, 6]
    assert [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == []


def test_gradient_that_is_not_finite_is_caught() -> None:
    class Cliff(Line):
        def step(self, batch: Any, *, progress: float = 1.0, index: Tensor | None = None) -> dict[str, Tensor]:
            return {"loss": self.decoder.weight.sum().sqrt()}  # finite at 0, where its slope is not

    model = Cliff()
    with pytest.raises(FloatingPointError, match="the gradient of step 1 is not"):
        Training(steps=2).run(model, DATA)
    assert model.weight == 0.0


def test_last_and_best_checkpoints_stay(tmp_path: Path) -> None:
    values = iter([3.0, 1.0, 2.0, 5.0, 4.0, 6.0])
    seen: list[bool] = []

    def validate(model: AbstractModel) -> float:
        seen.append(model.training)
        model.sample(3)  # draws from the model's own stream, which the training must not feel
        return next(values)

    training = Training(steps=12, checkpoint_every=2, keep_last=2)
    training.run(Line(), DATA, folder=tmp_path, validate=validate)
    assert Checkpoints(tmp_path, 2).steps() == [4, 10, 12]
    assert read_state(tmp_path / "checkpoints" / "00000012")["best"] == {"step": 4, "value": 1.0}
    assert seen == [False] * 6


def test_validation_leaves_the_training_as_it_was(remembering) -> None:
    def judged(**options: Any) -> dict[str, Tensor]:
        model = remembering.Remembering()
        Training(steps=6, batch_size=5, checkpoint_every=2).run(model, remembering.observations(), **options)
        return model.state_dict()

    def validate(model: AbstractModel) -> float:
        model.prior(5, model.streams["noise"])
        torch.rand(3)
        return 0.0

    plain, validated = judged(), judged(validate=validate)
    assert all(torch.equal(plain[name], validated[name]) for name in plain)


def test_training_leaves_the_global_state_alone(remembering) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = remembering.train(None, steps=4)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(4)
    again = remembering.train(None, steps=4)  # dropout included, the seed alone decides
    assert torch.equal(first.critic.layer.weight, again.critic.layer.weight)
    other = remembering.train(None, steps=4, seed=6)
    assert not torch.equal(first.critic.layer.weight, other.critic.layer.weight)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_networks_run_in_half_precision_and_transport_does_not(precision: str) -> None:
    kinds: dict[str, torch.dtype] = {}

    class Coupled(VAE):
        def step(self, batch: Any, *, progress: float = 1.0, index: Tensor | None = None) -> dict[str, Tensor]:
            made = self.decoder(self.prior(len(batch), self.streams["noise"]))
            loss = isotherm.sinkhorn_divergence(made.float(), batch, epsilon=0.1)
            kinds.update(network=made.dtype, transport=loss.dtype)
            return {"loss": loss}

    x = torch.randn(32, 2, generator=torch.Generator().manual_seed(0)) + 2.0
    model = Coupled((2,), 2, widths=(16,))
    found = recorded(Training(steps=30, learning_rate=0.02, precision=precision), model, x)
    assert kinds == {"network": getattr(torch, precision), "transport": torch.float32}
    assert next(model.parameters()).dtype == torch.float32
    assert found[-1]["loss"] < 0.3 * found[0]["loss"]


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", MODELS)
def test_every_model_trains_in_half_precision(name: str, precision: str) -> None:
    x = torch.rand(48, 4, generator=torch.Generator().manual_seed(0))
    dtypes: set[torch.dtype] = set()
    training = Training(steps=3, batch_size=32, precision=precision)
    training.run(MODELS[name](shape=(4,), latent=2, seed=1), x, callbacks=[lambda _, n: dtypes.add(n["loss"].dtype)])
    assert dtypes == {torch.float32}


@pytest.mark.parametrize("size", [2, 64])
@pytest.mark.parametrize("loss", [isotherm.sinkhorn_divergence, isotherm.entropic_value])
def test_transport_under_autocast_has_the_same_bits(loss: Any, size: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(40, size, generator=generator) + shift for shift in (3.0, 3.5))
    found = []
    for is_mixed in (False, True):
        points = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=is_mixed):
            value = loss(points, y, epsilon=0.5)
        value.backward()
        found.append((value.detach(), points.grad))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


def test_metrics_have_a_line_for_every_few_steps(tmp_path: Path) -> None:
    Training(steps=25, metrics_every=10).run(VAE((1,), 1, widths=(4,)), DATA, folder=tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [10, 20, 25]
    assert list(lines[0]) == ["step", "seconds", "loss", "misfit", "divergence", "learning_rate", "gradient_norm"]
    assert lines[0]["seconds"] <= lines[1]["seconds"]


def test_tensorboard_gets_the_same_curves(tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    board = TensorBoard(tmp_path, every=2)
    found: list[float] = []
    Training(steps=6).run(Line(), DATA, callbacks=[board, lambda _, n: found.append(float(n["loss"]))])
    board.close()
    read = events.EventAccumulator(str(tmp_path))
    read.Reload()
    assert [each.step for each in read.Scalars("loss")] == [2, 4, 6]
    assert [each.value for each in read.Scalars("loss")] == pytest.approx(found[1::2])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "`steps` must be at least 1"),
        ({"schedule": "cosin"}, "Did you mean 'cosine'"),
        ({"precision": "float8"}, "`precision` must be one of"),
        ({"ema": 1.0}, r"decay in \[0, 1\)"),
        ({"clip": 0.0}, "`clip` must be positive"),
        ({"steps": 5, "warm_up": 5, "schedule": "cosine"}, "got 5 of 5 steps"),
        ({"keep_last": 0}, "`keep_last` must be at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Training(**settings)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch 2.13's compiler warns of itself, and fails where warnings are errors
def test_compiled_networks_train_alike() -> None:
    x = torch.randn(32, 2, generator=torch.Generator().manual_seed(0))
    plain, compiled = (
        recorded(Training(steps=3, batch_size=8, compile=is_compiled), VAE((2,), 1, widths=(4,)), x)[-1]["loss"]
        for is_compiled in (False, True)
    )
    assert compiled == pytest.approx(plain, rel=1e-5)
