"""torchcfm's sampler: known plans, laws of the draws, devices and generators, errors."""

import numpy as np
import pytest
import torch

import isotherm
from isotherm.compat.torchcfm import OTPlanSampler, wasserstein
from isotherm.compat.torchcfm.plan_sampler import METHODS


def batches(n: int = 6, m: int = 6, *shape: int, seed: int = 0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(k, *(shape or (2,)), generator=generator, dtype=dtype) for k in (n, m))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_exact_map_is_the_optimal_permutation():
    x0 = torch.tensor([[0.0], [1.0], [2.0]])
    plan = OTPlanSampler("exact").get_map(x0, x0[[2, 0, 1]] + 0.1)
    torch.testing.assert_close(plan, torch.tensor([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]]) / 3)


@pytest.mark.parametrize("method", ["sinkhorn", "partial", "unbalanced"])
@pytest.mark.parametrize("normalize_cost", [False, True])
def test_entropic_maps_are_ours(method, normalize_cost):
    x0, x1 = batches(6, 5, 2, 2)
    sampler = OTPlanSampler(method, reg=0.4, reg_m=0.7, normalize_cost=normalize_cost, tolerance=1e-10)
    costs = torch.cdist(x0.flatten(1), x1.flatten(1)).square()
    if normalize_cost:
        costs = costs / costs.max()
    rho = 0.7 if method == "unbalanced" else np.inf
    wanted = isotherm.solve(isotherm.CostMatrix(costs), epsilon=0.4, rho_a=rho, rho_b=rho, tolerance=1e-10)
    torch.testing.assert_close(sampler.get_map(x0, x1), wanted.coupling.to_dense(), rtol=1e-7, atol=1e-10)


def test_small_temperature_gives_a_matching_not_the_uniform_plan():
    x0, x1 = batches(32, 32, 60)  # exp(-C / reg) underflows for every pair
    plan = OTPlanSampler("sinkhorn", reg=0.05).get_map(x0, x1)
    exact = OTPlanSampler("exact").get_map(x0, x1)
    assert (plan.sum(1) - 1 / 32).abs().sum() < 1e-3
    assert (plan - exact).abs().sum() < 0.2


def test_solve_that_stops_early_warns_or_not():
    # The price of one source's mass is so high that no float32 potentials meet so small a tolerance.
    x0, x1 = batches(20, 20, dtype=torch.float32)
    with pytest.warns(isotherm.ConvergenceWarning):
        OTPlanSampler("sinkhorn", reg=1e-3, tolerance=1e-12).get_map(x0, x1)
    OTPlanSampler("sinkhorn", reg=1e-3, tolerance=1e-12, warn=False).get_map(x0, x1)  # a warning is an error here


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_and_shapes_are_kept(method, dtype):
    x0, x1 = batches(5, 7, 2, 3, dtype=dtype)
    sampler = OTPlanSampler(method, reg=0.5)
    assert (sampler.get_map(x0, x1).dtype, sampler.get_map(x0, x1).shape) == (dtype, (5, 7))
    x, y = sampler.sample_plan(x0, x1)
    assert (x.dtype, x.shape, y.shape) == (dtype, (5, 2, 3), (5, 2, 3))


def test_half_precision_is_solved_in_single():
    x0, x1 = (x.half() for x in batches())
    assert OTPlanSampler("exact").get_map(x0, x1).dtype == torch.float32
    assert OTPlanSampler("exact").sample_plan(x0, x1)[0].dtype == torch.float16


@pytest.mark.parametrize("is_array", [True, False])
def test_sample_map_has_the_law_of_the_plan(is_array):
    plan = torch.tensor([[0.1, 0.0, 0.3], [0.2, 0.4, 0.0]], dtype=torch.float64)
    i, j = OTPlanSampler("exact").sample_map(
        (2.0 * plan).numpy() if is_array else 2.0 * plan, 20_000, generator=seeded()
    )
    assert isinstance(i, np.ndarray if is_array else torch.Tensor)
    counts = np.zeros((2, 3))
    np.add.at(counts, (np.asarray(i), np.asarray(j)), 1.0 / 20_000)
    assert np.abs(counts - plan.numpy()).max() < 4 * np.sqrt(0.25 / 20_000)
    assert (counts[plan.numpy() == 0] == 0).all()


def test_sample_map_without_replacement():
    sampler = OTPlanSampler("exact", generator=seeded())
    plan = torch.tensor([[0.5, 0.25], [0.25, 0.0]], dtype=torch.float64)
    i, j = sampler.sample_map(plan, 3, replace=False)
    assert sorted(zip(i.tolist(), j.tolist(), strict=True)) == [(0, 0), (0, 1), (1, 0)]
    # The second draw, given the first, has the law of what is left: (0, 1) comes second with probability 1/2 1/2 + 1/4 1/3.
    second = [sampler.sample_map(plan, 2, replace=False) for _ in range(3000)]
    share = np.mean([(i[1], j[1]) == (0, 1) for i, j in second])
    assert abs(share - (0.25 + 1 / 12)) < 4 * np.sqrt(0.25 / 3000)
    with pytest.raises(ValueError, match="at most the number of pairs"):
        sampler.sample_map(plan, 4, replace=False)
    for replace in (True, False):
        with pytest.raises(ValueError, match="non-negative"):
            sampler.sample_map(plan - 0.1, 1, replace=replace)


@pytest.mark.parametrize("method", METHODS)
def test_sample_plan_draws_the_pairs_of_its_map(method):
    x0, x1 = batches(40, 40)
    sampler = OTPlanSampler(method, reg=0.3)
    i, j = sampler.sample_map(sampler.get_map(x0, x1), 40, generator=seeded(3))
    x, y = sampler.sample_plan(x0, x1, generator=seeded(3))
    assert (x == x0[i]).all(1).float().mean() > 0.9  # the lazy plan's sums round otherwise
    assert (y == x1[j]).all(1).float().mean() > 0.9


def test_exact_plan_without_replacement_is_the_assignment():
    x0, x1 = batches(10, 10)
    x, y = OTPlanSampler("exact").sample_plan(x0, x1, replace=False)
    order = [int((x0 == one).all(1).nonzero()) for one in x]
    torch.testing.assert_close(y, OTPlanSampler("sinkhorn").sample_plan_with_scipy(x0, x1)[1][order])
    with pytest.raises(ValueError, match="as many sources as targets"):
        OTPlanSampler("exact").sample_plan_with_scipy(x0, x1[:-1])


def test_labels_follow_their_points():
    x0, x1 = batches(8, 9)
    y0, y1 = torch.arange(8), torch.arange(9) + 100
    x, y, one, two = OTPlanSampler("sinkhorn").sample_plan_with_labels(x0, x1, y0, y1)
    assert torch.equal(x0[one], x)
    assert torch.equal(x1[two - 100], y)
    assert OTPlanSampler("sinkhorn").sample_plan_with_labels(x0, x1)[2:] == (None, None)


def test_draws_repeat_with_a_generator_and_with_numpy_seeds():
    x0, x1 = batches(30, 30)
    sampler = OTPlanSampler("sinkhorn", reg=1.0)
    one, two = (sampler.sample_plan(x0, x1, generator=seeded(5))[0] for _ in range(2))
    assert torch.equal(one, two)
    own = OTPlanSampler("sinkhorn", reg=1.0, generator=seeded(5))
    assert torch.equal(own.sample_plan(x0, x1)[0], one)
    assert not torch.equal(own.sample_plan(x0, x1)[0], one)  # a generator moves on
    state, before = np.random.get_state(), torch.random.get_rng_state()
    try:
        drawn = []
        for _ in range(2):
            np.random.seed(7)
            drawn.append(sampler.sample_plan(x0, x1)[0])
        drawn.append(sampler.sample_plan(x0, x1)[0])
    finally:
        np.random.set_state(state)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[1], drawn[2])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_trajectories_follow_exact_plans():
    start = torch.tensor([[0.0], [10.0], [20.0]], dtype=torch.float64)
    X = torch.stack([start, start[[2, 0, 1]] + 1.0, start[[1, 2, 0]] + 2.0], dim=1)
    found = OTPlanSampler("exact").sample_trajectory(X)
    torch.testing.assert_close(found, torch.stack([start, start + 1.0, start + 2.0], dim=1))


def test_trajectories_have_the_law_of_the_plans():
    X = torch.arange(1000, dtype=torch.float64).remainder(2)[:, None, None].expand(1000, 2, 1)
    found = OTPlanSampler("sinkhorn", reg=1.0, generator=seeded()).sample_trajectory(X)
    stays = (found[:, 0] == found[:, 1]).double().mean()
    assert abs(stays - np.e / (1 + np.e)) < 4 * np.sqrt(0.25 / 1000)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("where", ["cpu", "cuda"])
def test_pairs_stay_on_the_device(method, where):
    x0, x1 = (x.cuda() for x in batches(20, 20, dtype=torch.float32))
    sampler = OTPlanSampler(method, generator=torch.Generator(where).manual_seed(0))
    for out in (*sampler.sample_plan(x0, x1), *sampler.sample_plan(x0, x1, replace=False), sampler.get_map(x0, x1)):
        assert out.is_cuda


def test_wasserstein_of_a_shift():
    x0, _ = batches(7, 7, 2, 2)
    shift = torch.tensor([3.0, 0.0, 4.0, 0.0], dtype=torch.float64).reshape(2, 2)
    for power in (1, 2):
        assert wasserstein(x0, x0 + shift, power=power) == pytest.approx(5.0, rel=1e-12)
    assert wasserstein(x0, x0 + shift, "sinkhorn", reg=1e-3) == pytest.approx(5.0, rel=1e-6)


def test_wasserstein_sinkhorn_is_the_plan_s_cost():
    x0, x1 = batches(6, 5)
    solution = isotherm.solve(x0, x1, epsilon=0.3, cost="euclidean", tolerance=1e-9)
    assert wasserstein(x0, x1, "sinkhorn", reg=0.3, power=1) == pytest.approx(float(solution.transport_cost), rel=1e-6)


def test_bad_arguments_are_refused():
    x0, x1 = batches()
    with pytest.raises(ValueError, match="method"):
        OTPlanSampler("emd")
    with pytest.raises(ValueError, match="method"):
        wasserstein(x0, x1, "noname")
    with pytest.raises(ValueError, match="power"):
        wasserstein(x0, x1, power=3)
    with pytest.raises(ValueError, match="reg"):
        OTPlanSampler("sinkhorn", reg=0.0)
    with pytest.raises(ValueError, match="finite"):
        OTPlanSampler("exact").get_map(x0 * torch.nan, x1)
    with pytest.raises(TypeError, match="must be a tensor"):
        OTPlanSampler("exact").get_map(x0.numpy(), x1)
