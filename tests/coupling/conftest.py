"""Couplings of every kind, each with its plan written out in float64, for the exam that all of them sit."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from isotherm import CostMatrix, EntropicCoupling, Grid, LowRankCoupling, PointCloud, Problem, SparseCoupling
from isotherm.coupling import RoundedCoupling

INF = float("inf")


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def weights(size: int, *, seed: int, zeros: bool = False) -> Tensor:
    """Random weights of mass one; with zeros, every fourth point has none."""
    values = 0.2 + torch.rand(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    if zeros:
        values[1::4] = 0.0
    return values / values.sum()


def dense_potentials(costs: Tensor, problem: Problem, kappa: Tensor, steps: int = 4000) -> tuple[Tensor, Tensor]:
    """Optimal potentials by the plainest Sinkhorn loop in float64; points without mass get zero."""
    epsilon, a, b = problem.epsilon, problem.a.double(), problem.b.double()
    rows, columns = a > 0, b > 0
    kernel = kappa[rows][:, columns].log() - costs[rows][:, columns] / epsilon
    f, g = torch.zeros(int(rows.sum())).double(), torch.zeros(int(columns.sum())).double()
    damping_a, damping_b = (1.0 / (1.0 + epsilon / rho) for rho in (problem.rho_a, problem.rho_b))
    for _ in range(steps):
        f = damping_a * epsilon * (a[rows].log() - torch.logsumexp(kernel + g / epsilon, 1))
        g = damping_b * epsilon * (b[columns].log() - torch.logsumexp(kernel + f[:, None] / epsilon, 0))
    whole_f, whole_g = torch.zeros_like(a), torch.zeros_like(b)
    whole_f[rows], whole_g[columns] = f, g
    return whole_f, whole_g


def entropic(name: str, problem: Problem, *, potentials: tuple[Tensor, Tensor] | None = None) -> SimpleNamespace:
    """An entropic coupling, converged unless potentials are given, with its plan and conditional laws."""
    costs = problem.geometry.double().block(slice(None))
    a, b = problem.a.double(), problem.b.double()
    kappa = torch.outer(a, b) if problem.reference is None else problem.reference.double()
    f, g = dense_potentials(costs, problem, kappa) if potentials is None else potentials
    coupling = EntropicCoupling(problem, f.to(problem.geometry.dtype), g.to(problem.geometry.dtype))
    plan = kappa * torch.exp((f[:, None] + g - costs) / problem.epsilon)
    ratio = torch.where(torch.outer(a, b) > 0, kappa / torch.outer(a, b), 1.0)
    laws = b * ratio * torch.exp((g - costs) / problem.epsilon)  # also where the source has no mass
    return described(name, coupling, plan, laws / laws.sum(1, keepdim=True))


def described(name: str, coupling, plan: Tensor, laws: Tensor | None = None) -> SimpleNamespace:
    laws = plan / plan.sum(1, keepdim=True) if laws is None else laws
    return SimpleNamespace(name=name, coupling=coupling, plan=plan, laws=laws)


def cloud(n: int = 9, m: int = 7, d: int = 2, *, dtype: torch.dtype = torch.float64) -> PointCloud:
    return PointCloud(normal(n, d, seed=1).to(dtype), (0.5 + normal(m, d, seed=2)).to(dtype))


def with_weights(geometry, *, zeros: bool = True, **settings) -> Problem:
    """A problem with random weights in the geometry's own library and dtype."""
    n, m = geometry.shape
    sides = [weights(size, seed=seed, zeros=zeros).to(geometry.dtype) for size, seed in ((n, 3), (m, 4))]
    return Problem(geometry, *map(geometry.namespace.export, sides), **{"epsilon": 0.5, **settings})


def rounded_by_hand(problem: Problem, g: Tensor) -> Tensor:
    """Algorithm 2 of Altschuler et al. on the dense plan whose rows a soft c-transform made right."""
    costs = problem.geometry.double().block(slice(None))
    plan = problem.b * torch.exp((g - costs) / problem.epsilon)
    plan = problem.a[:, None] * plan / plan.sum(1, keepdim=True)
    found = plan.sum(0)
    plan = plan * torch.where(found > 0, problem.b / found, 1.0).clamp(max=1.0)
    missing_a, missing_b = problem.a - plan.sum(1), problem.b - plan.sum(0)
    return plan + torch.outer(missing_a, missing_b) / missing_b.sum()


def sparse_plan() -> Tensor:
    """Half of the pairs, one source and one target without any."""
    plan = torch.rand(9, 7, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    plan = torch.where(plan < 0.5, 0.0, plan)
    plan[2], plan[:, 3] = 0.0, 0.0
    return plan / plan.sum()


def rounded() -> SimpleNamespace:
    problem = with_weights(cloud())
    f, g = normal(9, seed=5), 0.3 * normal(7, seed=6)
    coupling = EntropicCoupling(problem, f, g).round()
    assert isinstance(coupling, RoundedCoupling)
    return described("rounded", coupling, rounded_by_hand(problem, g))


def low_rank() -> SimpleNamespace:
    """Three intermediate points; a source and a target without mass."""
    q, r = (torch.rand(n, 3, generator=torch.Generator().manual_seed(n), dtype=torch.float64) for n in (9, 7))
    q[4], r[2] = 0.0, 0.0
    g = torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64)
    q, r = q * (g / q.sum(0)), r * (g / r.sum(0))
    plan = torch.einsum("ik,jk,k->ij", q, r, 1 / g)
    return described("low_rank", LowRankCoupling(q, r, g, _target_points=normal(7, 2, seed=2)), plan)


def reference() -> Tensor:
    kappa = torch.rand(9, 7, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    return torch.where(kappa < 0.3, 0.0, kappa) + 0.01 * torch.eye(9, 7).double()


def numpy_cloud() -> PointCloud:
    points = cloud()
    return PointCloud(points.x.numpy(), points.y.numpy())


CASES: dict[str, Callable[[], SimpleNamespace]] = {
    "cloud": lambda: entropic("cloud", with_weights(cloud())),
    "many_features": lambda: entropic("many_features", with_weights(cloud(d=11), epsilon=3.0)),
    "float32": lambda: entropic("float32", with_weights(cloud(dtype=torch.float32))),
    "numpy": lambda: entropic("numpy", with_weights(numpy_cloud())),
    "cold": lambda: entropic("cold", with_weights(cloud(), epsilon=0.05)),
    "hot": lambda: entropic("hot", with_weights(cloud(), epsilon=1e4)),
    "not_converged": lambda: entropic(
        "not_converged", with_weights(cloud()), potentials=(0.3 * normal(9, seed=5), 0.3 * normal(7, seed=6))
    ),
    "heavy": lambda: entropic(
        "heavy", Problem(cloud(), 40 * weights(9, seed=3), 40 * weights(7, seed=4), epsilon=0.5)
    ),
    "matrix": lambda: entropic("matrix", with_weights(CostMatrix(normal(9, 7, seed=9)))),
    "grid": lambda: entropic(
        "grid", with_weights(Grid((normal(3, seed=1), normal(3, seed=2)), target_axes=(normal(2, seed=3), normal(4, seed=4))))
    ),
    "reference": lambda: entropic("reference", with_weights(cloud(), zeros=False, reference=reference())),
    "unbalanced": lambda: entropic("unbalanced", with_weights(cloud(), rho_a=0.7, rho_b=2.0)),
    "semi_unbalanced": lambda: entropic("semi_unbalanced", with_weights(cloud(), rho_b=0.5)),
    "sparse": lambda: described("sparse", SparseCoupling.from_matrix(sparse_plan()), sparse_plan()),
    "sparse_numpy": lambda: described(
        "sparse_numpy", EntropicCoupling(with_weights(numpy_cloud()), normal(9, seed=5), normal(7, seed=6)).to_sparse(0.0),
        entropic("", with_weights(cloud()), potentials=(normal(9, seed=5), normal(7, seed=6))).plan,
    ),
    "rounded": rounded,
    "low_rank": low_rank,
    "one_source": lambda: entropic("one_source", with_weights(cloud(1, 7))),
    "one_target": lambda: entropic("one_target", with_weights(cloud(9, 1))),
}  # fmt: skip
BUILT: dict[str, SimpleNamespace] = {}


@pytest.fixture(params=[*CASES, *(f"{name}-transposed" for name in CASES)])
def case(request) -> SimpleNamespace:
    """A coupling with `plan` (its masses in float64) and `laws` (its conditionals; NaN where there is none)."""
    name, _, turned = request.param.partition("-")
    if name not in BUILT:
        BUILT[name] = CASES[name]()
    built = BUILT[name]
    if not turned:
        return built
    if not isinstance(built.coupling, EntropicCoupling):
        return described(request.param, built.coupling.transpose(), built.plan.T)
    problem, f, g = built.coupling.problem, built.coupling.f.double(), built.coupling.g.double()
    turned = entropic(request.param, problem.transpose(), potentials=(g, f))
    turned.coupling = built.coupling.transpose()
    return turned
