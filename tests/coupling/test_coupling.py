"""The exam of every coupling: whatever it says without forming the plan agrees with the plan written out."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import chi2
from torch import Tensor

from isotherm import EntropicCoupling, SparseCoupling
from isotherm._arrays import Namespace


def tolerance(case) -> dict[str, float]:
    single = case.coupling.dtype == torch.float32
    return {"rtol": 2e-5, "atol": 2e-6} if single else {"rtol": 1e-9, "atol": 1e-12}


def agree(case, found, expected: Tensor) -> None:
    """Same numbers, in the library and dtype of the coupling."""
    assert isinstance(found, np.ndarray | np.floating) == (case.coupling.namespace is Namespace.NUMPY)
    found = torch.as_tensor(found)
    assert found.dtype == case.coupling.dtype
    torch.testing.assert_close(found.double(), expected, equal_nan=True, **tolerance(case))


def values(case, *shape: int, seed: int = 0):
    """Random values in the library and dtype of the coupling."""
    drawn = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return case.coupling.namespace.export(drawn.to(case.coupling.dtype))


def points_of(case) -> Tensor:
    return case.coupling.target_points.double()


# --------------------------------------------------------------------------------------------------------- products


def test_coupling_to_dense_is_the_plan(case):
    assert case.coupling.shape == case.plan.shape
    agree(case, case.coupling.to_dense(), case.plan)
    assert torch.equal(torch.as_tensor(case.coupling.to_dense()) == 0, case.plan == 0)


def test_coupling_agreement_check_can_fail(case):
    scaled = SimpleNamespace(coupling=case.coupling, plan=case.plan * (1.0 + 1e-4))
    with pytest.raises(AssertionError, match=r"not (close|equal)"):
        agree(scaled, case.coupling.to_dense(), scaled.plan)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (0,), (2, 2)], ids=str)
def test_coupling_apply_multiplies_with_the_plan(case, shape):
    n, m = case.coupling.shape
    v, w = values(case, m, *shape), values(case, n, *shape)
    agree(case, case.coupling.apply(v), torch.tensordot(case.plan, torch.as_tensor(v).double(), 1))
    agree(case, case.coupling.apply_transpose(w), torch.tensordot(case.plan.T, torch.as_tensor(w).double(), 1))


def test_coupling_marginals_match(case):
    source, target = case.coupling.marginals()
    agree(case, source, case.plan.sum(1))
    agree(case, target, case.plan.sum(0))
    assert case.coupling.marginals().source.shape == (case.coupling.shape[0],)


def test_coupling_products_are_adjoint(case):
    n, m = case.coupling.shape
    v, w = values(case, m), values(case, n)
    there, back = (w * case.coupling.apply(v)).sum(), (v * case.coupling.apply_transpose(w)).sum()
    assert float(there) == pytest.approx(float(back), rel=1e-4 if case.coupling.dtype == torch.float32 else 1e-9)


def test_coupling_transposed_twice_is_itself(case):
    again = case.coupling.transpose().transpose()
    assert again.shape == case.coupling.shape
    agree(case, again.to_dense(), case.plan)
    agree(case, case.coupling.transpose().to_dense(), case.plan.T)


# ----------------------------------------------------------------------------------------------------- conditionals


def test_coupling_conditional_is_a_normalised_row(case):
    kept = [i for i in range(case.coupling.shape[0]) if not case.laws[i].isnan().any()]
    for i in kept:
        agree(case, case.coupling.conditional(i).probabilities, case.laws[i])
    agree(case, case.coupling.conditional(kept).probabilities, case.laws[kept])
    agree(case, case.coupling.conditional(np.array(kept[::-1])).probabilities, case.laws[kept[::-1]])
    agree(case, case.coupling.conditional(kept[-1] - case.coupling.shape[0]).probabilities, case.laws[kept[-1]])
    assert case.coupling.conditional(kept).probabilities.sum(1) == pytest.approx(np.ones(len(kept)), abs=1e-5)


def test_coupling_conditional_of_a_source_without_any_law_is_refused(case):
    missing = [i for i in range(case.coupling.shape[0]) if case.laws[i].isnan().any()]
    for i in missing:
        with pytest.raises(ValueError, match=rf"(?i:source) {i}\b"):
            case.coupling.conditional(i)
    if isinstance(case.coupling, EntropicCoupling):
        assert not missing, "potentials extend every source"


def test_coupling_conditional_mean_matches(case):
    kept = [i for i in range(case.coupling.shape[0]) if not case.laws[i].isnan().any()]
    for shape in ((), (3,), (2, 2)):
        v = values(case, case.coupling.shape[1], *shape)
        for index in (kept[0], kept):
            expected = torch.tensordot(case.laws[index], torch.as_tensor(v).double(), 1)
            agree(case, case.coupling.conditional(index).mean(v), expected)
    if case.coupling.target_points is None:
        with pytest.raises(ValueError, match=r"Pass `values`"):
            case.coupling.conditional(kept[0]).mean()
    else:
        agree(case, case.coupling.conditional(kept).mean(), case.laws[kept] @ points_of(case))


def test_coupling_barycentric_map_is_the_mean_of_every_conditional(case):
    for shape in ((), (3,), (0,), (2, 2)):
        v = values(case, case.coupling.shape[1], *shape)
        agree(case, case.coupling.barycentric_map(v), torch.tensordot(case.laws, torch.as_tensor(v).double(), 1))
    if case.coupling.target_points is None:
        with pytest.raises(ValueError, match=r"Coordinates of the targets.*Pass `values`"):
            case.coupling.barycentric_map()
    else:
        agree(case, case.coupling.barycentric_map(), case.laws @ points_of(case))


# --------------------------------------------------------------------------------------------------------- sampling


def assert_law(rows: Tensor, columns: Tensor, law: Tensor) -> None:
    """Frequencies of drawn pairs agree with a law (chi-square at 1e-6), and what has no mass is never drawn."""
    law = law / law.sum()
    counts = torch.zeros_like(law).index_put_((rows, columns), torch.ones(len(rows)).double(), accumulate=True)
    assert not counts[law == 0].any(), "a pair without mass was drawn"
    expected = law * len(rows)
    common = expected >= 5.0
    observed = torch.cat([counts[common], counts[~common].sum()[None]])
    expected = torch.cat([expected[common], expected[~common].sum()[None].clamp(min=1.0)])
    statistic = float(((observed - expected).square() / expected).sum())
    assert statistic <= chi2.isf(1e-6, max(1, int(common.sum()) - 1)), f"frequencies are off: {statistic:.1f}"


def drawn(case, k: int, method: str, seed: int = 0) -> tuple[Tensor, Tensor]:
    i, j = case.coupling.sample(k, generator=torch.Generator().manual_seed(seed), method=method)
    return torch.as_tensor(i), torch.as_tensor(j)


@pytest.mark.parametrize("method", ["rows", "flat"])
def test_coupling_samples_have_the_law_of_the_plan(case, method):
    marginal = case.plan.sum(1)
    if case.name.startswith("not_converged"):
        # Where the source marginal is a constraint, sources come with their weights.
        marginal = case.coupling.problem.a
    law = marginal[:, None] * case.laws.nan_to_num(0.0)
    assert_law(*drawn(case, 20_000, method), law)


def test_coupling_sampling_check_can_fail():
    law = torch.tensor([[0.3, 0.2], [0.5, 0.0]], dtype=torch.float64)
    pairs = torch.multinomial(law.flatten(), 20_000, replacement=True, generator=torch.Generator().manual_seed(0))
    rows, columns = pairs // 2, pairs % 2
    assert_law(rows, columns, law)
    with pytest.raises(AssertionError, match=r"frequencies are off"):
        assert_law(rows, columns, law + torch.tensor([[0.03, 0.0], [0.0, 0.0]]).double())
    columns[rows.nonzero()[0]] = 1
    with pytest.raises(AssertionError, match=r"without mass"):
        assert_law(rows, columns, law)


def test_coupling_samples_by_rows_are_spread_evenly(case):
    k = 1000
    i, _ = drawn(case, k, "rows")
    assert torch.equal(i, i.sort().values)
    shares = torch.as_tensor(case.coupling.marginals().source).double()
    if case.name.startswith("not_converged"):
        shares = case.coupling.problem.a
    counts = torch.bincount(i, minlength=case.coupling.shape[0])
    assert (counts - k * shares / shares.sum()).abs().max() < 1 + 1e-2


@pytest.mark.parametrize("method", ["rows", "flat"])
def test_coupling_samples_repeat_with_the_seed_and_leave_the_global_state_alone(case, method):
    state = torch.random.get_rng_state()
    numpy_state = np.random.get_state()[1].copy()
    first, again, other = (drawn(case, 300, method, seed) for seed in (1, 1, 2))
    case.coupling.sample(10)
    kept = int((~case.laws.isnan().any(1)).nonzero()[0])
    case.coupling.conditional(kept).sample(10)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    if (case.plan > 1e-3 * case.plan.max()).sum() > 20:
        assert not (torch.equal(first[0], other[0]) and torch.equal(first[1], other[1]))


def test_coupling_samples_are_index_arrays_of_the_users_library(case):
    i, j = case.coupling.sample(12)
    assert isinstance(i, np.ndarray) == (case.coupling.namespace is Namespace.NUMPY)
    for index in (torch.as_tensor(i), torch.as_tensor(j)):
        assert index.dtype == torch.int64
        assert index.shape == (12,)


def test_coupling_conditional_samples_have_the_conditional_law(case):
    kept = [i for i in range(case.coupling.shape[0]) if not case.laws[i].isnan().any()]
    k = 5_000
    several = case.coupling.conditional(kept).sample(k, generator=torch.Generator().manual_seed(0))
    assert several.shape == (len(kept), k)
    rows = torch.arange(len(kept)).repeat_interleave(k)
    assert_law(rows, torch.as_tensor(several).flatten(), case.laws[kept])
    one = case.coupling.conditional(kept[0]).sample(k, generator=torch.Generator().manual_seed(0))
    assert one.shape == (k,)
    assert_law(torch.zeros(k).long(), torch.as_tensor(one), case.laws[kept[:1]])


# ------------------------------------------------------------------------------------------------- matches, sparsity


def test_coupling_top_k_are_the_heaviest_targets(case):
    m = case.coupling.shape[1]
    for k in {1, min(3, m), m}:
        indices, mass = case.coupling.top_k(k)
        agree(case, mass, case.plan.sort(1, descending=True).values[:, :k])
        agree(case, mass, case.plan.gather(1, torch.as_tensor(indices)))
        assert all(len(set(row)) == k for row in torch.as_tensor(indices).tolist())


@pytest.mark.parametrize("threshold", [0.0, 1e-3, 0.1, 0.5])
def test_coupling_to_sparse_keeps_the_pairs_with_a_share_of_their_source(case, threshold):
    share = case.plan / case.plan.sum(1, keepdim=True)
    kept = (case.plan > 0) & (share >= threshold)
    clear = (share - threshold).abs() > 1e-5  # rounding may decide the others
    sparse = case.coupling.to_sparse(threshold)
    assert isinstance(sparse, SparseCoupling)
    agree(case, sparse.mass, case.plan[torch.as_tensor(sparse.rows), torch.as_tensor(sparse.cols)])
    found = torch.zeros_like(kept)
    found[torch.as_tensor(sparse.rows), torch.as_tensor(sparse.cols)] = True
    if threshold == 0.0:
        clear = torch.ones_like(clear)
    assert torch.equal(found[clear], kept[clear])
    agree(case, sparse.to_dense(), torch.where(found, case.plan, 0.0))
    assert sparse.shape == case.coupling.shape
    if case.coupling.target_points is not None:
        assert torch.equal(sparse.target_points, case.coupling.target_points)


# ---------------------------------------------------------------------------------------------------------- entropy


def test_coupling_entropy_is_that_of_the_plan(case):
    agree(case, case.coupling.entropy(), -torch.xlogy(case.plan, case.plan).sum())


def test_coupling_normalised_entropy_is_that_of_the_plan(case):
    plan = case.plan / case.plan.sum()
    joint, rows, columns = (-torch.xlogy(p, p).sum() for p in (plan, plan.sum(1), plan.sum(0)))
    expected = float(2 * joint / (rows + columns) - 1)
    found = case.coupling.normalised_entropy()
    assert isinstance(found, float)
    assert 0.0 <= found <= 1.0
    assert found == pytest.approx(expected, abs=1e-5 if case.coupling.dtype == torch.float32 else 1e-9)


# ------------------------------------------------------------------------------------------------- nothing by accident


def test_coupling_does_not_write_to_what_it_is_given(case):
    n, m = case.coupling.shape
    kept = [i for i in range(n) if not case.laws[i].isnan().any()]
    given = {"v": values(case, m, 2), "w": values(case, n, 2), "i": np.array(kept)}
    if isinstance(case.coupling, EntropicCoupling):
        given |= {"f": case.coupling.f, "g": case.coupling.g, "a": case.coupling.problem.a}
    before = {name: np.asarray(array).copy() for name, array in given.items()}
    plan = np.asarray(case.coupling.to_dense()).copy()
    case.coupling.apply(given["v"])
    case.coupling.apply_transpose(given["w"])
    case.coupling.barycentric_map(given["v"])
    case.coupling.conditional(given["i"]).mean(given["v"])
    case.coupling.sample(5)
    case.coupling.top_k(1)
    case.coupling.to_sparse()
    case.coupling.normalised_entropy()
    for name, array in given.items():
        assert np.array_equal(np.asarray(array), before[name]), name
    assert np.array_equal(np.asarray(case.coupling.to_dense()), plan)


def test_coupling_refuses_bad_arguments(case):
    n, m = case.coupling.shape
    for method, size in (("apply", m), ("apply_transpose", n), ("barycentric_map", m)):
        call = getattr(case.coupling, method)
        with pytest.raises(ValueError, match=rf"one entry per point, shape \({size},\).*got \({size + 1},\)"):
            call(np.ones(size + 1))
        with pytest.raises(ValueError, match=r"must be finite"):
            call(np.full(size, np.nan))
        with pytest.raises(TypeError, match=r"must hold real numbers"):
            call(["a"] * size)
    for bad in (n, -n - 1, [0, n]):
        with pytest.raises(IndexError, match=rf"`i` must lie in \[0, {n}\)"):
            case.coupling.conditional(bad)
    for bad in (0.0, True, "0", [True] * n, None, [0.5]):
        with pytest.raises(TypeError, match=r"`i` must hold integer indices"):
            case.coupling.conditional(bad)
    for bad in (0, -1):
        with pytest.raises(ValueError, match=r"`k` must be at least 1"):
            case.coupling.sample(bad)
    with pytest.raises(TypeError, match=r"`k` must be a whole number"):
        case.coupling.sample(2.5)
    with pytest.raises(ValueError, match=r"`method` must be one of 'flat', 'rows'.*Did you mean 'rows'"):
        case.coupling.sample(3, method="row")
    with pytest.raises(ValueError, match=rf"`k` must be at most the number of targets, {m}: got {m + 1}"):
        case.coupling.top_k(m + 1)
    for bad in (-0.1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=r"`threshold`"):
            case.coupling.to_sparse(bad)


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint64, np.int64])
def test_coupling_conditional_takes_every_kind_of_integer(case, kind):
    kept = [i for i in range(case.coupling.shape[0]) if not case.laws[i].isnan().any()]
    index = np.array([kept[-1], kept[0], kept[-1]], dtype=kind)
    agree(case, case.coupling.conditional(index).probabilities, case.laws[index.astype(int)])
    assert case.coupling.conditional(np.array([], dtype=kind)).probabilities.shape == (0, case.coupling.shape[1])
