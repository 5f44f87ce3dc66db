"""GeomLoss's module: closed forms, our own losses under its conventions, its call forms, its errors."""

import math

import pytest
import torch
from torch.autograd import grad, gradcheck, gradgradcheck

import isotherm
from isotherm.compat.geomloss import SamplesLoss
from isotherm.compat.geomloss.samples_loss import LOSSES

EXACT = {"tolerance": 1e-11}


def clouds(n: int = 5, m: int = 4, d: int = 2, *batch: int, needs_grad: bool = False):
    """a, x, b, y in float64; the weights have mass one."""
    generator = torch.Generator().manual_seed(n + 10 * m)
    x = torch.randn(*batch, n, d, generator=generator, dtype=torch.float64)
    y = torch.randn(*batch, m, d, generator=generator, dtype=torch.float64) + 0.5
    a = torch.rand(*batch, n, generator=generator, dtype=torch.float64).add(0.1)
    b = torch.rand(*batch, m, generator=generator, dtype=torch.float64).add(0.1)
    out = (a / a.sum(-1, keepdim=True), x, b / b.sum(-1, keepdim=True), y)
    return tuple(t.requires_grad_(needs_grad) for t in out)


@pytest.mark.parametrize(("p", "wanted"), [(1, 5.0), (2, 12.5)])
@pytest.mark.parametrize("debias", [True, False])
def test_sinkhorn_of_two_points_is_their_cost(p, wanted, debias):
    x, y = torch.zeros(1, 2), torch.tensor([[3.0, 4.0]])
    assert SamplesLoss(p=p, blur=0.3, debias=debias)(x, y).item() == pytest.approx(wanted, rel=1e-6)


def test_unbalanced_sinkhorn_of_two_points():
    # min over the mass m of a single pair: m C + eps KL(m | 1) + 2 rho KL(m | 1) = (eps + 2 rho) (1 - exp(-C / (eps + 2 rho)))
    x, y, blur, reach = torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64), 0.6, 0.8
    weight = blur**2 + 2 * reach**2
    found = SamplesLoss(p=2, blur=blur, reach=reach, debias=False, **EXACT)(x, y)
    assert found.item() == pytest.approx(weight * -math.expm1(-0.5 / weight), rel=1e-9)


@pytest.mark.parametrize(
    ("loss", "kernel"),
    [
        ("gaussian", lambda r: torch.exp(-r.square() / (2 * 0.7**2))),
        ("laplacian", lambda r: torch.exp(-r / 0.7)),
        ("energy", torch.neg),
    ],
)
def test_kernel_losses_are_half_squared_norms(loss, kernel):
    a, x, b, y = clouds()
    weights, points = torch.cat([a, -b]), torch.cat([x, y])
    wanted = 0.5 * weights @ kernel(torch.cdist(points, points)) @ weights
    torch.testing.assert_close(SamplesLoss(loss, blur=0.7)(a, x, b, y), wanted)
    f, g = SamplesLoss(loss, blur=0.7, potentials=True)(a, x, b, y)
    torch.testing.assert_close(0.5 * (a @ f + b @ g), wanted)


@pytest.mark.parametrize("loss", ["gaussian", "laplacian"])
def test_kernel_losses_take_any_masses(loss):
    a, x, b, y = clouds()
    weights, points = torch.cat([3 * a, -b]), torch.cat([x, y])
    r = torch.cdist(points, points)
    kernel = torch.exp(-r.square() / 2) if loss == "gaussian" else torch.exp(-r)
    torch.testing.assert_close(SamplesLoss(loss, blur=1.0)(3 * a, x, b, y), 0.5 * weights @ kernel @ weights)


def test_energy_of_different_masses_is_refused():
    a, x, b, y = clouds()
    with pytest.raises(ValueError, match="mass"):
        SamplesLoss("energy")(2 * a, x, b, y)


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("reach", [None, 0.9])
def test_transport_losses_are_ours_in_their_units(p, reach):
    a, x, b, y = clouds()
    rho = math.inf if reach is None else reach**p
    cost = {1: "euclidean", 2: "half_sqeuclidean"}[p]
    ours = {"epsilon": 0.5**p, "cost": cost, **EXACT}
    theirs = {"p": p, "blur": 0.5, "reach": reach, **EXACT}
    pairs = [
        (SamplesLoss("sinkhorn", **theirs), isotherm.sinkhorn_divergence(x, y, a, b, rho=rho, **ours)),
        (SamplesLoss("hausdorff", **theirs), isotherm.hausdorff_divergence(x, y, a, b, rho=rho, **ours)),
        (
            SamplesLoss("sinkhorn", debias=False, **theirs),
            isotherm.entropic_value(x, y, a, b, rho_a=rho, rho_b=rho, **ours),
        ),
    ]
    for loss, wanted in pairs:
        torch.testing.assert_close(loss(a, x, b, y), wanted)


@pytest.mark.parametrize("debias", [True, False])
def test_potentials_add_up_to_the_loss(debias):
    a, x, b, y = clouds()
    f, g = SamplesLoss(blur=0.5, debias=debias, potentials=True, **EXACT)(a, x, b, y)
    torch.testing.assert_close(a @ f + b @ g, SamplesLoss(blur=0.5, debias=debias, **EXACT)(a, x, b, y))


def test_debiased_potentials_are_the_derivative_by_weights():
    a, x, b, y = clouds()
    f, g = SamplesLoss(blur=0.5, potentials=True, **EXACT)(a, x, b, y)
    a.requires_grad_(), b.requires_grad_()
    slopes = grad(SamplesLoss(blur=0.5, **EXACT)(a, x, b, y), (a, b))
    for found, wanted in zip((f, g), slopes, strict=True):
        torch.testing.assert_close(found - found.mean(), wanted - wanted.mean(), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("loss", LOSSES)
def test_call_forms_agree(loss):
    a, x, b, y = clouds(5, 4, 2, 3)
    criterion = SamplesLoss(loss, blur=0.6, **EXACT)
    batch = criterion(a, x, b, y)
    assert batch.shape == (3,)
    alone = [criterion(*one) for one in zip(a, x, b, y, strict=True)]
    torch.testing.assert_close(batch, torch.stack(alone))
    torch.testing.assert_close(criterion(a[..., None], x, b[..., None], y), batch)
    torch.testing.assert_close(criterion(torch.arange(5), a[0], x[0], torch.zeros(4, 1), b[0], y[0]), alone[0])
    equal = criterion(x[0], y[0])
    assert equal.shape == ()
    torch.testing.assert_close(equal, criterion(torch.full((5,), 0.2).to(x), x[0], torch.full((4,), 0.25).to(y), y[0]))


@pytest.mark.parametrize("loss", ["sinkhorn", "gaussian"])
def test_potentials_have_the_shape_of_the_weights(loss):
    a, x, b, y = clouds(5, 4, 2, 3)
    criterion = SamplesLoss(loss, blur=0.6, potentials=True)
    for weights in ((a, b), (a[..., None], b[..., None])):
        f, g = criterion(weights[0], x, weights[1], y)
        assert (f.shape, g.shape) == (weights[0].shape, weights[1].shape)
    assert criterion(x[0], y[0])[0].shape == (5,)


def test_settings_of_the_original_schedule_change_nothing():
    a, x, b, y = clouds()
    wanted = SamplesLoss(blur=0.5)(a, x, b, y)
    for settings in (
        {"diameter": 3.0, "scaling": 0.9, "truncate": None, "cluster_scale": 0.1, "verbose": True},
        *({"backend": backend} for backend in ("tensorized", "online", "multiscale")),
    ):
        assert torch.equal(SamplesLoss(blur=0.5, **settings)(a, x, b, y), wanted)


def test_default_meets_the_marginals_to_a_tolerance():
    x = torch.rand(100, 2, generator=torch.Generator().manual_seed(0))
    y = torch.rand(100, 2, generator=torch.Generator().manual_seed(1))
    f, g = SamplesLoss(debias=False, potentials=True)(x, y)
    plan = torch.exp((f[:, None] + g - 0.5 * torch.cdist(x, y).square()) / 0.05**2) / 100**2
    assert (plan.sum(1) - 0.01).abs().sum() + (plan.sum(0) - 0.01).abs().sum() < 1e-3


def test_custom_cost_takes_batches_formulas_and_pairs():
    a, x, b, y = clouds(5, 4, 2, 2)

    def manhattan(x, y):
        assert x.ndim == y.ndim == 3
        return (x[:, :, None] - y[:, None]).abs().sum(-1)

    wanted = isotherm.sinkhorn_divergence(x, y, a, b, epsilon=0.25, cost="manhattan", **EXACT)
    for cost in (manhattan, ("Sum(Abs(X-Y))", manhattan)):
        torch.testing.assert_close(SamplesLoss(blur=0.5, cost=cost, **EXACT)(a, x, b, y), wanted)
    torch.testing.assert_close(
        SamplesLoss(blur=0.5, cost="(SqDist(X,Y) / IntCst(2))")(a, x, b, y), SamplesLoss(blur=0.5)(a, x, b, y)
    )


def test_custom_kernel_gets_the_blur():
    a, x, b, y = clouds()

    def cauchy(x, y, blur, use_keops, ranges):
        assert (use_keops, ranges) == (False, None)
        return 1.0 / (1.0 + torch.cdist(x, y).square() / blur**2)

    weights, points = torch.cat([a, -b]), torch.cat([x, y])
    wanted = 0.5 * weights @ (1.0 / (1.0 + torch.cdist(points, points).square() / 0.49)) @ weights
    torch.testing.assert_close(SamplesLoss("gaussian", blur=0.7, kernel=cauchy)(a, x, b, y), wanted)


@pytest.mark.parametrize("loss", ["sinkhorn", "hausdorff", "gaussian"])
@pytest.mark.parametrize("reach", [None, 0.9])
def test_derivatives_are_finite_differences(loss, reach):
    a, x, b, y = clouds(2, 3, needs_grad=True)
    criterion = SamplesLoss(loss, blur=0.7, reach=reach, tolerance=1e-13)

    def value(u, x, v, y):
        return criterion(u / u.sum(), x, v / v.sum(), y)

    assert gradcheck(value, (a, x, b, y), atol=1e-6, rtol=1e-4)
    if loss != "hausdorff":
        assert gradgradcheck(value, (a, x, b, y), atol=1e-5, rtol=1e-3, fast_mode=True)


@pytest.mark.parametrize("settings", [{"loss": loss} for loss in LOSSES] + [{"loss": "energy", "potentials": True}])
def test_autocast_leaves_transport_in_single_precision(settings):
    _, x, _, y = (t.float() for t in clouds(100, 80))
    criterion = SamplesLoss(blur=0.5, **settings)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = criterion(x.bfloat16(), y.bfloat16())
    torch.testing.assert_close(found, criterion(x.bfloat16().float(), y.bfloat16().float()))


def test_gradient_is_not_switched_on_inside_no_grad():
    a, x, b, y = clouds(needs_grad=True)
    with torch.no_grad():
        value = SamplesLoss()(a, x, b, y)
        assert not torch.is_grad_enabled()
    assert not value.requires_grad


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "wasserstein"}, "loss"),
        ({"p": 3}, "`p` must be 1 or 2"),
        ({"blur": 0.0}, "blur"),
        ({"reach": -1.0}, "reach"),
        ({"scaling": 1.0}, "scaling"),
        ({"backend": "keops"}, "backend"),
        ({"cost": "Norm1(X-Y)"}, "not compiled"),
        ({"kernel": torch.cdist}, "`kernel` belongs to"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        SamplesLoss(**settings)


def test_bad_calls_are_refused():
    a, x, b, y = clouds()
    criterion = SamplesLoss()
    for arguments, message in [
        ((x,), "1 arguments"),
        ((x[0], y[0]), r"\(N, D\)"),
        ((x, y[:, :1]), "agree in dimension"),
        ((x, y[None]), "agree in dimension"),
        ((a[:-1], x, b, y), "weight for each point"),
        ((torch.arange(4), a, x, None, b, y), "label for each point"),
        ((2 * a, x, b, y), "mass"),
    ]:
        with pytest.raises(ValueError, match=message):
            criterion(*arguments)
    with pytest.raises(TypeError, match="must be a tensor"):
        criterion(x.numpy(), y)
    with pytest.raises(ValueError, match="multiscale"):
        SamplesLoss(backend="online")(torch.arange(5), a, x, None, b, y)
    with pytest.raises(NotImplementedError, match="batch"):
        criterion(torch.arange(5), a[None], x[None], None, b[None], y[None])
    with pytest.raises(NotImplementedError, match="hausdorff"):
        SamplesLoss("hausdorff", potentials=True)(x, y)
