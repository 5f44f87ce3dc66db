"""What every model promises, whatever its loss: settings, steps, streams, precision, shapes."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor

from isotherm.models import AAE, VAE, WAE, AbstractModel, SinkhornAutoencoder, SinkhornGenerator

SHAPE = (3, 2)
SMALL = {"latent": 2, "widths": (7,), "seed": 3}
MAKERS = {
    "vae": lambda: VAE(SHAPE, **SMALL, lam=2.0, gamma=0.3),
    "wae-mmd": lambda: WAE(SHAPE, **SMALL),
    "wae-ot": lambda: WAE(SHAPE, **SMALL, penalty="ot"),
    "aae": lambda: AAE(SHAPE, **SMALL, pace=2.0),
    "sae": lambda: SinkhornAutoencoder(SHAPE, **SMALL),
    "sae-debiased": lambda: SinkhornAutoencoder(SHAPE, **SMALL, divergence="debiased"),
    "sae-sharp": lambda: SinkhornAutoencoder(SHAPE, **SMALL, divergence="sharp"),
    "sae-raw-sphere": lambda: SinkhornAutoencoder(SHAPE, **SMALL, divergence="raw", space="sphere"),
    "generator": lambda: SinkhornGenerator(SHAPE, **SMALL),
    "generator-raw": lambda: SinkhornGenerator(SHAPE, **SMALL, loss="raw", made=9),
    "generator-halves": lambda: SinkhornGenerator(SHAPE, **SMALL, loss="halves"),
    "generator-sharp": lambda: SinkhornGenerator(SHAPE, **SMALL, loss="sharp", epsilon=0.5, epsilon_unit="cost"),
    "generator-unrolled": lambda: SinkhornGenerator(SHAPE, **SMALL, loss="unrolled", iterations=3, noise="ball"),
}
WITH_ENCODER = [name for name in MAKERS if not name.startswith("generator")]


@pytest.fixture(params=MAKERS)
def model(request: pytest.FixtureRequest) -> AbstractModel:
    return MAKERS[request.param]()


def batch(count: int = 11, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)


def test_model_is_made_anew_from_its_settings(model: AbstractModel):
    settings = json.loads(json.dumps(model.settings()))  # plain values: what a file can hold
    again = type(model)(**settings)
    assert again.settings() == model.settings()
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    assert torch.equal(again.step(batch())["loss"], model.step(batch())["loss"])
    assert all(f"{name}=" in repr(model) for name in settings)


def test_model_of_another_seed_is_another(model: AbstractModel):
    other = type(model)(**{**model.settings(), "seed": 4})
    assert not torch.equal(other.step(batch())["loss"], model.step(batch())["loss"])


def test_step_changes_no_parameter_and_follows_its_streams(model: AbstractModel):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    streams = model.streams.state_dict()
    first = model.step(batch())
    second = model.step(batch())
    model.streams.load_state_dict(streams)
    again = model.step(batch())
    assert torch.equal(first["loss"], again["loss"])
    assert not torch.equal(first["loss"], second["loss"])  # new noise
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())
    assert all(not value.requires_grad and value.ndim == 0 for name, value in first.items() if name != "loss")


def test_step_gives_every_parameter_a_derivative(model: AbstractModel):
    model.step(batch())["loss"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_parameter_groups_hold_every_parameter_once(model: AbstractModel):
    grouped = [id(p) for group in model.parameter_groups(0.1) for p in group["params"]]
    assert sorted(grouped) == sorted(map(id, model.parameters()))


def test_model_leaves_the_global_random_state_alone(model: AbstractModel):
    state = torch.get_rng_state()
    again = type(model)(**model.settings())
    again.step(batch())["loss"].backward()
    again.sample(3)
    assert torch.equal(torch.get_rng_state(), state)


def test_model_works_in_double_precision(model: AbstractModel):
    model.double().step(batch(dtype=torch.float64))["loss"].backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float64 for p in model.parameters())
    assert model.sample(3).dtype == torch.float64


def test_loss_is_single_precision_under_autocast(model: AbstractModel):
    again = type(model)(**model.settings())
    full = model.step(batch())["loss"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = again.step(batch())["loss"]
    loss.backward()
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, full, rtol=0.05, atol=0.02)  # networks of eight bits
    assert all(p.grad is not None and p.grad.isfinite().all() for p in again.parameters())


@pytest.mark.parametrize("wrong", [torch.zeros(5, 2, 3), torch.zeros(5, 6), torch.zeros(3, 2)])
def test_model_says_which_shape_it_expects(model: AbstractModel, wrong: Tensor):
    calls = [model.step, model.fit] + ([model.encode] if not isinstance(model, SinkhornGenerator) else [])
    for call in calls:
        with pytest.raises(ValueError, match=r"must have shape \(n, 3, 2\): got"):
            call(wrong)


def test_step_takes_observations_with_whatever_comes_along(model: AbstractModel):
    again = type(model)(**model.settings())
    assert torch.equal(again.step((batch(), torch.zeros(11)))["loss"], model.step(batch())["loss"])


def test_training_lowers_the_loss(model: AbstractModel):
    def mean_loss() -> float:
        return sum(model.step(batch())["loss"].item() for _ in range(20)) / 20

    before = mean_loss()
    model.fit(batch(), steps=60, learning_rate=1e-2)
    assert mean_loss() < 0.95 * before


def test_sample_has_the_shape_of_observations(model: AbstractModel):
    drawn = model.sample(4, generator=torch.Generator().manual_seed(0))
    assert drawn.shape == (4, *SHAPE)
    assert not drawn.requires_grad
    assert torch.equal(drawn, model.sample(4, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("name", WITH_ENCODER)
def test_encode_and_decode_go_between_observations_and_codes(name: str):
    model = MAKERS[name]()
    codes = model.encode(batch())
    assert codes.shape == (11, 2)
    assert torch.equal(model.reconstruct(batch()), model.decode(codes))


def test_generator_says_that_it_has_no_encoder():
    with pytest.raises(TypeError, match="it only generates"):
        MAKERS["generator"]().encode(batch())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WAE(SHAPE, penalty="gan"), "`penalty` must be one of"),
        (lambda: SinkhornAutoencoder(SHAPE, divergence="unrolled"), "`divergence` must be one of"),
        (lambda: SinkhornAutoencoder(SHAPE, space="torus"), "`space` must be one of"),
        (lambda: SinkhornGenerator(SHAPE, loss="debias"), "Did you mean 'debiased'"),
        (lambda: SinkhornGenerator(SHAPE, epsilon=0.0), "`epsilon` must be positive"),
        (lambda: SinkhornGenerator(SHAPE, epsilon_unit="median"), "`epsilon_unit` must be one of"),
        (lambda: SinkhornGenerator(SHAPE, noise="cube"), "`noise` must be one of"),
        (lambda: VAE(SHAPE, gamma=-1.0), "`gamma` must be positive"),
        (lambda: AAE(SHAPE, pace=0.0), "`pace` must be positive"),
    ],
)
def test_settings_out_of_range_are_refused(make, message: str):
    with pytest.raises(ValueError, match=message):
        make()
