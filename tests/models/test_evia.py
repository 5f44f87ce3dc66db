"""EVIA against its closed forms: derivatives, gauges, potentials by three ways, decoders, limits."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from isotherm import CostMatrix, entropic_value, solve
from isotherm.models import EVIA, VAE
from isotherm.posterior import FourierMask, wedge_mask
from isotherm.testing import LinearGaussianPosterior, optimal_critic

LAM, GAMMA = 1.3, 0.8
W = torch.tensor([[1.2, 0.3], [-0.4, 0.9], [0.5, -0.2]], dtype=torch.float64)
S = torch.tensor([[2.0, 0.3, 0.1], [0.3, 1.0, -0.2], [0.1, -0.2, 0.5]], dtype=torch.float64)


class Linear(nn.Module):
    """z -> W z, in float64."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.matrix = nn.Parameter(matrix.clone())

    def forward(self, z: Tensor) -> Tensor:
        return z @ self.matrix.T


class Quadratic(nn.Module):
    """level + h'z - z'Hz / 2."""

    def __init__(self, size: int, curvature: Tensor | None = None) -> None:
        super().__init__()
        self.curvature = nn.Parameter(torch.zeros(size, size).double() if curvature is None else curvature.clone())
        self.slope = nn.Parameter(torch.zeros(size).double())
        self.level = nn.Parameter(torch.zeros(()).double())

    def forward(self, z: Tensor) -> Tensor:
        return self.level + z @ self.slope - 0.5 * ((z @ self.curvature) * z).sum(1)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gaussian(count: int, covariance: Tensor = S, *, seed: int = 0, is_exact: bool = False) -> Tensor:
    """Draws from N(0, covariance), with exactly that mean and covariance if asked for."""
    x = torch.randn(count, len(covariance), generator=seeded(seed), dtype=torch.float64)
    if is_exact:
        x = x - x.mean(0)
        x = x @ torch.linalg.inv(torch.linalg.cholesky(x.T @ x / count)).T
    return x @ torch.linalg.cholesky(covariance).T


def made(critic: str, *, matrix: Tensor = W, **settings) -> EVIA:
    """A linear model, with quadratic critics where there are any."""
    networks = {}
    if critic in ("dual", "ratio"):
        networks["critic_network"] = settings.pop("critic_network", None) or Quadratic(matrix.shape[1])
    if critic == "ratio":
        networks["discriminator"] = Quadratic(matrix.shape[1])
    return EVIA(
        (matrix.shape[0],),
        matrix.shape[1],
        critic=critic,
        encoder=Linear(torch.zeros_like(matrix.T)),
        decoder=Linear(matrix),
        **{"lam": LAM, "gamma": GAMMA, "penalty": 0.0} | networks | settings,
    )


def fit_critic(model: EVIA, x: Tensor, steps: int, rate: float) -> None:
    """Move only the critic, at a rate that falls to zero."""
    optimiser = torch.optim.Adam(model.parameter_groups(rate)[1:])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        optimiser.zero_grad()
        model.step(x)["loss"].backward()
        optimiser.step()
        schedule.step()


# Derivatives -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("critic", "reference"),
    [("dual", "prior"), ("none", "prior"), ("sinkhorn", "prior"), ("dual", "encoder"), ("none", "encoder")],
)
def test_gradients_of_a_step_are_those_of_the_dual(critic, reference):
    x, network = gaussian(7), Quadratic(2, torch.tensor([[0.3, 0.1], [0.1, 0.2]]).double())
    model = made(critic, candidates=11, reference=reference, beta=2.0, tolerance=1e-10, critic_network=network)
    model.step(x)["loss"].backward()

    again = made(critic, candidates=11, reference=reference, beta=2.0)  # the same streams from the start
    if reference == "prior":
        z = again.prior(11, again.streams["candidates"]).expand(7, 11, 2)
        prior = z[0]
    else:
        z = model.encoder(x).detach()[:, None] + 2.0**-0.5 * again.prior(77, again.streams["candidates"]).view(7, 11, 2)
        prior = again.prior(11, again.streams["prior"])
    matrix = W.clone().requires_grad_()
    costs = 0.5 * LAM * (x[:, None] - z @ matrix.T).square().sum(-1)
    critics = Quadratic(2, network.curvature.detach())
    if critic == "sinkhorn":
        w = solve(CostMatrix(costs.detach()), epsilon=GAMMA, tolerance=1e-10).g
        dual = (w + -GAMMA * ((w - costs) / GAMMA).logsumexp(1).mean() + GAMMA * math.log(11)).mean()
    else:
        w = 0.0 if critic == "none" else critics(z.reshape(-1, 2)).view(7, 11)
        level = 0.0 if critic == "none" else critics(prior).mean()
        dual = level - GAMMA * (((w - costs) / GAMMA).logsumexp(1) - math.log(11)).mean()
    dual.backward()
    torch.testing.assert_close(model.decoder.matrix.grad, matrix.grad)
    if critic == "dual":
        torch.testing.assert_close(model.critic_network.curvature.grad, -critics.curvature.grad)  # it climbs
        torch.testing.assert_close(model.critic_network.slope.grad, -critics.slope.grad)
    if critic == "sinkhorn":
        other = W.clone().requires_grad_()
        value = entropic_value(
            CostMatrix(0.5 * LAM * (x[:, None] - z @ other.T).square().sum(-1)), epsilon=GAMMA, tolerance=1e-10
        )
        value.backward()
        torch.testing.assert_close(model.decoder.matrix.grad, other.grad)
        torch.testing.assert_close(value.detach(), dual.detach())
    weights = ((w - costs) / GAMMA).softmax(1).detach()
    target = (weights[..., None] * z).sum(1)
    away = x @ model.encoder.matrix.T - target
    torch.testing.assert_close(model.encoder.matrix.grad, (2.0 / 7.0 * away.T @ x).detach())


@pytest.mark.parametrize("critic", ["dual", "ratio"])
def test_a_constant_added_to_the_critic_changes_nothing(critic):
    x, grads, duals = gaussian(7), [], []
    for level in (0.0, 5.0):
        model = made(critic, candidates=11, penalty=0.3)
        model.critic_network.level.data.fill_(level)
        model.critic_network.curvature.data.copy_(torch.eye(2) * 0.2)
        found = model.step(x)
        found["loss"].backward()
        grads.append([parameter.grad for parameter in model.parameters()])
        duals.append(found["dual"])
    torch.testing.assert_close(*duals)
    torch.testing.assert_close(*grads)
    if critic == "dual":
        assert abs(float(model.critic_network.level.grad)) < 1e-12


def test_the_dual_stays_below_the_primal_and_meets_it_at_the_potential():
    x = gaussian(6)
    for seed in range(4):
        network = Quadratic(2, 0.5 * torch.randn(2, 2, generator=seeded(seed), dtype=torch.float64))
        low = made("dual", candidates=9, seed=seed, critic_network=network).step(x)["dual"]
        best = made("sinkhorn", candidates=9, seed=seed, tolerance=1e-10).step(x)["dual"]
        z = made("none", candidates=9, seed=seed).prior(9, made("none", seed=seed).streams["candidates"])
        costs = 0.5 * LAM * (x[:, None] - z @ W.T).square().sum(-1)
        plan = solve(CostMatrix(costs), epsilon=GAMMA, tolerance=1e-10).coupling.to_dense()
        primal = (plan * costs).sum() + GAMMA * (plan * (plan * 54).log()).sum()
        torch.testing.assert_close(best, primal)
        assert low < primal - 1e-3


# The potential, three ways -----------------------------------------------------------------------------


@pytest.mark.parametrize("critic", ["dual", "ratio"])
def test_critics_find_the_optimal_curvature(critic):
    known, _ = optimal_critic(W, S, lam=LAM, gamma=GAMMA)
    x = gaussian(16 if critic == "dual" else 200, is_exact=True)  # of a quadratic Psi two moments matter
    model = made(critic, candidates=4000 if critic == "dual" else 1000)
    fit_critic(model, x, *((200, 0.1) if critic == "dual" else (300, 0.04)))
    curvature = model.critic_network.curvature.detach()
    curvature = 0.5 * (curvature + curvature.T)
    assert float((curvature - known).norm() / known.norm()) < 0.02
    assert float(model.critic_network.slope.detach().norm()) < 0.02 * float(known.norm())


@pytest.mark.parametrize("critic", ["dual", "ratio", "sinkhorn"])
def test_posteriors_of_all_critics_have_their_closed_form(critic):
    curvature, sigma = optimal_critic(W, S, lam=LAM, gamma=GAMMA)
    network = None if critic == "sinkhorn" else Quadratic(2, curvature)
    model = made(critic, points=2000 if critic == "sinkhorn" else 20_000, critic_network=network)
    x = gaussian(2000, is_exact=True)
    model.calibrate(x)
    mean = LAM / GAMMA * x[:50] @ W @ sigma
    found = model.posterior_mean(x[:50])
    assert float((found - mean).norm() / mean.norm()) < 0.05
    torch.testing.assert_close(model.posterior_std(x[:50]).mean(0), sigma.diagonal().sqrt(), rtol=0.04, atol=0.0)
    draws = model.posterior_sample(x[:50], 400)
    assert float((draws.mean(1) - mean).norm() / mean.norm()) < 0.08
    torch.testing.assert_close(draws.var(1).mean(0), sigma.diagonal(), rtol=0.08, atol=0.0)


def test_the_sinkhorn_potential_is_the_optimal_critic_at_the_points():
    curvature, _ = optimal_critic(W, S, lam=LAM, gamma=GAMMA)
    model = made("sinkhorn", points=2000).calibrate(gaussian(2000, is_exact=True))
    points, values = model.potential.points, model.potential.values
    known = Quadratic(2, curvature)(points).detach()
    away = (values - values.mean()) - (known - known.mean())
    assert float(away.std() / known.std()) < 0.12


def test_without_constraint_posteriors_do_not_add_up_to_the_prior():
    x = gaussian(1000, is_exact=True)
    apart = made("none", candidates=2000).step(x)["marginal_error"]
    together = made("sinkhorn", candidates=2000).step(x)["marginal_error"]
    assert together < 2e-3
    assert apart > 0.05


# The decoder -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("critic", ["none", "sinkhorn"])
def test_the_trained_decoder_is_that_of_probabilistic_components(critic):
    """W W' = U (Lambda - gamma / lam)_+ U', with a constant critic there: the model is well specified."""
    x = gaussian(300 if critic == "sinkhorn" else 32, torch.diag(torch.tensor([4.0, 1.0, 0.3]).double()), is_exact=True)
    start = torch.tensor([[1.0, 0.2], [-0.1, 0.9], [0.3, -0.3]], dtype=torch.float64)
    model = made(critic, matrix=start, lam=1.0, gamma=0.5, candidates=400)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 150)
    for _ in range(150):
        optimiser.zero_grad()
        model.step(x)["loss"].backward()
        optimiser.step()
        schedule.step()
    learnt = model.decoder.matrix.detach()
    known = torch.diag(torch.tensor([3.5, 0.5, 0.0]).double())
    assert float((learnt @ learnt.T - known).norm()) < 0.05 * 3.5
    closed = LinearGaussianPosterior(matrix=learnt, lam=1.0, gamma=0.5)
    mean = model.encode(x).detach()
    assert float((mean - closed.mean(x)).norm() / closed.mean(x).norm()) < 0.05


def test_debiasing_asks_for_the_variance_of_the_data():
    """Raw, the best variance is S - gamma / lam = 1.1; without bias it is S = 1.4. In between they pull in opposite ways."""
    x = gaussian(1500, torch.tensor([[1.4]]).double(), is_exact=True)
    for is_debiased, low, high in ((False, 1.05, 1.15), (True, 1.33, 1.47)):
        slopes = []
        for variance in (low, high):
            start = torch.tensor([[variance**0.5]]).double()
            model = made("sinkhorn", matrix=start, lam=2.0, gamma=0.6, candidates=1500, debias=is_debiased, seed=3)
            model.streams["candidates"].manual_seed(4)
            z = model.prior(1500, seeded(4))
            model.decoder.matrix.data /= z.std()  # of these candidates the variance is exactly that
            model.step(x)["loss"].backward()
            slopes.append(float(model.decoder.matrix.grad))
        assert slopes[0] < 0.0 < slopes[1], (is_debiased, slopes)


# The dial, and the rest of the family ---------------------------------------------------------------------


def test_spread_grows_and_information_falls_with_temperature():
    x, gammas = gaussian(300, is_exact=True), [0.2, 0.5, 1.0, 3.0, 20.0]
    free = [made("sinkhorn", gamma=gamma, candidates=600).step(x) for gamma in gammas]
    network = Quadratic(2, torch.eye(2).double() * 0.4)
    fixed = [made("dual", gamma=gamma, candidates=600, critic_network=network).step(x) for gamma in gammas]
    for found in (free, fixed):
        spreads = [float(each["spread"]) for each in found]
        shared = [float(each["information"]) for each in found]
        assert spreads == sorted(spreads)
        assert shared == sorted(shared, reverse=True)
        assert spreads[-1] == pytest.approx(2.0, rel=0.1)  # that of the prior
        assert shared[-1] < 0.02
    sigma = [optimal_critic(W, S, lam=LAM, gamma=gamma)[1] for gamma in gammas]
    known = [float(each.trace()) for each in sigma]
    assert [float(each["spread"]) for each in free] == pytest.approx(known, rel=0.12)


def test_cold_posteriors_are_the_map_of_the_wasserstein_autoencoder():
    """Its encoder minimises the misfit with codes that are N(0, 1) together: (W'SW)^(-1/2) W' x, a matrix here."""
    values, vectors = torch.linalg.eigh(W.T @ S @ W)
    whitening = vectors @ torch.diag(values.rsqrt()) @ vectors.T @ W.T
    x = gaussian(4, seed=3)
    distances = []
    for gamma in (0.1, 0.01):
        curvature, sigma = optimal_critic(W, S, lam=LAM, gamma=gamma)
        model = made("dual", gamma=gamma, points=200_000, critic_network=Quadratic(2, curvature))
        found = model.posterior_mean(x)
        torch.testing.assert_close(found, LAM / gamma * x @ W @ sigma, atol=0.03, rtol=0.0)
        distances.append(float((found - x @ whitening.T).abs().max()))
    assert distances[1] < 0.03 < distances[0]
    cold = made("sinkhorn", gamma=0.02, points=1500).calibrate(gaussian(1500, is_exact=True))
    found = cold.posterior_mean(x)
    assert float((found - x @ whitening.T).abs().max()) < 0.25


def test_without_critic_the_dual_is_the_bound_of_a_variational_autoencoder():
    """Of one whose posterior is exact; any other pays more."""
    matrix = torch.tensor([[1.2, 0.0], [0.0, 0.7], [0.5, 0.0]], dtype=torch.float64)  # orthogonal columns
    known = LinearGaussianPosterior(matrix=matrix, lam=LAM, gamma=GAMMA)
    x = gaussian(200)
    dual = float(made("none", matrix=matrix, candidates=20_000).step(x)["dual"])
    assert dual == pytest.approx(float(known.free_energy(x).mean()), rel=0.01)

    class Encoder(nn.Module):
        def __init__(self, shift: float) -> None:
            super().__init__()
            self.shift = shift

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([known.mean(x) + self.shift, known.covariance.diagonal().log().expand(len(x), 2)], dim=1)

    bounds = []
    for shift in (0.0, 0.3):
        model = VAE((3,), 2, lam=LAM, gamma=GAMMA, encoder=Encoder(shift), decoder=Linear(matrix))
        bounds.append(sum(float(model.step(x)["loss"].detach()) for _ in range(100)) / 100)
    assert bounds[0] == pytest.approx(dual, rel=0.01)
    assert bounds[1] > dual + 0.05


# Use ---------------------------------------------------------------------------------------------------


def test_a_schedule_is_geometric():
    model = EVIA((3,), 2, gamma=0.1, gamma_start=10.0, candidates=8, widths=(4,), points=8)
    x = gaussian(5).float()
    found = [float(model.step(x, progress=share)["temperature"]) for share in (0.0, 0.5, 1.0)]
    assert found == pytest.approx([10.0, 1.0, 0.1])


def test_settings_make_the_model_anew():
    model = EVIA((8, 8), 3, critic="ratio", observe="fourier_mask", widths=(4,), gamma_start=2.0, beta=3.0, seed=5)
    again = EVIA(**model.settings())
    assert again.settings() == model.settings()
    for one, two in zip(model.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=0.0, atol=0.0)
    assert len(model.state_dict()) == len({value.data_ptr() for value in model.state_dict().values()})


def test_weights_that_are_kept_bring_the_posterior_along():
    x = gaussian(60).float()
    model = EVIA((3,), 2, widths=(8,), candidates=32, points=200, gamma=2.0).fit(x, steps=3, batch_size=20)
    again = EVIA(**model.settings())
    again.load_state_dict(model.state_dict())
    torch.testing.assert_close(again.posterior_mean(x), model.posterior_mean(x), rtol=0.0, atol=0.0)
    assert again.potential.values.abs().max() > 0.0


def test_critics_go_at_their_own_pace():
    groups = made("ratio", critic_rate=0.5, discriminator_rate=4.0).parameter_groups(0.1)
    assert [group["lr"] for group in groups] == pytest.approx([0.1, 0.05, 0.4])
    assert sum(len(group["params"]) for group in groups) == len(list(made("ratio").parameters()))


@pytest.mark.parametrize("critic", ["sinkhorn", "dual", "ratio", "none"])
def test_masked_images_are_fitted_and_answered(critic):
    images = torch.rand(30, 8, 8, generator=seeded())
    mask = wedge_mask(8, 180.0 * torch.rand(30, generator=seeded(1)), opening=90.0)
    y = FourierMask().apply(FourierMask().pack((images, mask)), images)
    model = EVIA((8, 8), 2, critic=critic, gamma=0.5, observe="fourier_mask", widths=(16,), candidates=64, points=300)
    before = float(model.step((y, mask))["misfit"])
    model.fit((y, mask), steps=60, batch_size=15, learning_rate=3e-3)
    assert float(model.step((y, mask))["misfit"]) < 0.7 * before
    assert model.posterior_sample((y, mask), 3).shape == (30, 3, 2)
    assert model.encode((y, mask)).shape == model.posterior_std((y, mask)).shape == (30, 2)
    assert model.reconstruct((y, mask)).shape == (30, 8, 8)


@pytest.mark.parametrize("critic", ["sinkhorn", "dual", "ratio"])
def test_half_precision_is_for_networks_alone(critic):
    x = gaussian(50).float()
    found = []
    for is_half in (False, True):
        model = EVIA((3,), 2, critic=critic, widths=(16,), candidates=64, gamma=0.5, points=8)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_half):
            found.append(model.step(x))
        found[-1]["loss"].backward()
        assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
        assert {value.dtype for value in found[-1].values()} == {torch.float32}
    assert float(found[1]["dual"]) == pytest.approx(float(found[0]["dual"]), rel=0.02)
    assert float(found[1]["dual"]) != float(found[0]["dual"])


@pytest.mark.parametrize("reference", ["prior", "encoder"])
def test_training_around_the_encoder_finds_the_data_too(reference):
    x = gaussian(200)
    model = EVIA((3,), 2, critic="dual", reference=reference, beta=2.0, lam=1.0, gamma=0.3, widths=(16,), candidates=32)
    before = float(model.step(x.float())["misfit"])
    model.fit(x.float(), steps=150, batch_size=50, learning_rate=1e-2)
    assert float(model.step(x.float())["misfit"]) < 0.5 * before
    model.points = 2000
    assert model.posterior_sample(x.float()[:9], 5).shape == (9, 5, 2)


def test_what_does_not_go_together_is_refused():
    with pytest.raises(ValueError, match="needs the same candidates"):
        made("sinkhorn", reference="encoder")
    with pytest.raises(ValueError, match="`debias` needs"):
        made("dual", debias=True)
    with pytest.raises(RuntimeError, match="calibrate"):
        made("sinkhorn").posterior_mean(gaussian(2))
    with pytest.raises(ValueError, match="must have shape"):
        made("none").step(gaussian(2)[:, :2])
    with pytest.raises(ValueError, match="observe"):
        made("none", observe="fourier")
