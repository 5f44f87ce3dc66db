"""OTT-JAX: log domain plain, with momentum, with its temperature schedule; kernel mode; its grids. Compiled by XLA."""

from __future__ import annotations

from functools import lru_cache
from importlib import metadata

import jax  # pyright: ignore[reportMissingImports]
import jax.numpy as jnp  # pyright: ignore[reportMissingImports]
import numpy as np
import torch
from jax.interpreters import batching  # pyright: ignore[reportMissingImports]

if not hasattr(batching, "is_vmappable"):  # OTT 0.6 asks for a name that JAX 0.10 has made private
    from jax._src.interpreters.batching import is_vmappable  # pyright: ignore[reportMissingImports]

    batching.is_vmappable = is_vmappable
from ott.geometry import costs as ott_costs  # pyright: ignore[reportMissingImports]
from ott.geometry import epsilon_scheduler, geometry, grid, pointcloud  # pyright: ignore[reportMissingImports]
from ott.problems.linear import linear_problem  # pyright: ignore[reportMissingImports]
from ott.solvers.linear import acceleration, sinkhorn  # pyright: ignore[reportMissingImports]

from benchmarks.workloads.libraries import Answer
from benchmarks.workloads.tasks import Task, mean_cost

MAX_ITERATIONS = 20_000
DENSE = 200_000_000  # pairs


def versions() -> dict[str, str]:
    """What is measured."""
    return {"ott-jax": metadata.version("ott-jax"), "jax": metadata.version("jax")}


def settings(task: Task, tolerance: float) -> list[str]:
    """Its documented ways to go faster."""
    kind = "float32" if tolerance >= 1e-5 else "float64"
    if task.pairs > DENSE and task.sizes is None:
        return [f"momentum {kind}"]
    return [f"{name} {kind}" for name in ("schedule", "momentum", "kernel")]


@lru_cache
def solver(name: str, tolerance: float) -> object:
    """A compiled solver."""
    momentum = acceleration.Momentum(value=1.5) if name == "momentum" else None
    return jax.jit(
        sinkhorn.Sinkhorn(
            threshold=tolerance, max_iterations=MAX_ITERATIONS, lse_mode=name != "kernel", momentum=momentum
        )
    )


def solve(task: Task, setting: str, tolerance: float) -> Answer:
    """Solve, and wait for the result."""
    name, kind = setting.split()
    if kind == "float64":
        jax.config.update("jax_enable_x64", val=True)
    epsilon = task.epsilon
    if name == "schedule":
        # From the mean cost down by 0.9 an iteration: the best of the decays tried on the first task.
        epsilon = epsilon_scheduler.Epsilon(task.epsilon, init=max(1.0, mean_cost(task) / task.epsilon), decay=0.9)
    convert = lambda tensor: jnp.asarray(tensor.numpy().astype(kind))  # noqa: E731
    if task.matrix is not None:
        space = geometry.Geometry(convert(task.matrix), epsilon=epsilon)
    elif task.sizes is not None:
        axes = [jnp.arange(size, dtype=kind) for size in task.sizes]
        space = grid.Grid(x=axes, epsilon=epsilon)
    else:
        cost = ott_costs.SqEuclidean() if task.cost == "sqeuclidean" else Dot()
        batch = None if task.pairs <= DENSE else 1024
        space = pointcloud.PointCloud(
            convert(task.x), convert(task.y), cost_fn=cost, epsilon=epsilon, batch_size=batch, scale_cost=1.0
        )
    tau_a, tau_b = (1.0 / (1.0 + task.epsilon / rho) for rho in (task.rho_a, task.rho_b))
    problem = linear_problem.LinearProblem(space, convert(task.a), convert(task.b), tau_a=tau_a, tau_b=tau_b)
    out = solver(name, tolerance)(problem)  # pyright: ignore[reportCallIssue]
    found = (torch.from_numpy(np.asarray(out.f, dtype=np.float64)), torch.from_numpy(np.asarray(out.g, np.float64)))
    f, g = (p - task.epsilon * w.log() for p, w in zip(found, (task.a, task.b), strict=True))
    return Answer(f, g, int(out.n_iters), bool(out.converged))


@jax.tree_util.register_pytree_node_class
class Dot(ott_costs.CostFn):
    """Minus the inner product."""

    def __call__(self, x: jax.Array, y: jax.Array) -> jax.Array:
        """Cost of a pair."""
        return -jnp.vdot(x, y)
