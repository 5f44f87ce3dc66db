"""The Sinkhorn generator: its noise, its features, and a law that it learns."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from isotherm.models import SinkhornGenerator, SinkhornLoss


def test_ball_noise_is_uniform_in_the_unit_ball():
    z = SinkhornGenerator((2,), 3, noise="ball").double().prior(40000, torch.Generator().manual_seed(0))
    radius = z.norm(dim=1)
    assert radius.max() <= 1.0
    for share in (0.3, 0.6, 0.9):  # of the volume within a radius
        assert float((radius < share).double().mean()) == pytest.approx(share**3, abs=0.01)
    torch.testing.assert_close(z.T @ z / 40000, torch.eye(3).double() / 5, rtol=0, atol=0.01)


def test_loss_compares_what_is_made_with_the_batch():
    model = SinkhornGenerator((2, 2), 3, widths=(6,), made=7, epsilon=0.1, seed=4)
    x = torch.randn(9, 2, 2, generator=torch.Generator().manual_seed(0))
    streams = model.streams.state_dict()
    found = model.step(x)["loss"]
    model.streams.load_state_dict(streams)
    made = model.decode(model.prior(7, model.streams["noise"]))
    expected = SinkhornLoss(epsilon=0.1, epsilon_unit="mean")(made.flatten(1), x.flatten(1))
    torch.testing.assert_close(found, expected)


def test_features_say_what_is_seen():
    class Mean(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean(2)

    model = SinkhornGenerator((2, 4), 3, widths=(6,), features=Mean(), seed=4)
    x = torch.randn(9, 2, 4, generator=torch.Generator().manual_seed(0))
    streams = model.streams.state_dict()
    seen = model.step(x)["loss"]
    model.streams.load_state_dict(streams)
    other = x + torch.tensor([1.0, -1.0, 2.0, -2.0])  # of the same means
    torch.testing.assert_close(model.step(other)["loss"], seen, rtol=1e-4, atol=1e-5)
    model.streams.load_state_dict(streams)
    blind = SinkhornGenerator((2, 4), 3, widths=(6,), seed=4)
    blind.streams.load_state_dict(streams)
    assert (blind.step(other)["loss"] - blind.step(x)["loss"]).abs() > 0.1


def test_parameters_of_features_are_not_trained():
    features = nn.Linear(2, 2)
    model = SinkhornGenerator((2,), 3, widths=(6,), features=features)
    model.step(torch.randn(5, 2, generator=torch.Generator().manual_seed(0)))["loss"].backward()
    assert all(parameter.grad is None for parameter in features.parameters())
    trained = {id(p) for group in model.parameter_groups(0.1) for p in group["params"]}
    assert trained == {id(p) for p in model.decoder.parameters()}


def test_affine_generator_learns_a_gaussian():
    root = torch.tensor([[1.2, 0.0], [0.5, 0.4]])
    mean = torch.tensor([1.0, -2.0])
    x = torch.randn(4000, 2, generator=torch.Generator().manual_seed(0)) @ root.T + mean
    model = SinkhornGenerator((2,), 2, widths=(), epsilon=0.2)
    model.fit(x, steps=200, batch_size=256, learning_rate=0.03)
    made = model.sample(4000, generator=torch.Generator().manual_seed(1))
    assert (made.mean(0) - mean).abs().max() < 0.1
    torch.testing.assert_close(made.T.cov(), root @ root.T, rtol=0.1, atol=0.1)
