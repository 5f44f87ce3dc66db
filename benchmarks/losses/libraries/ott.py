"""OTT-JAX: `sinkhorn_divergence` under `value_and_grad`, problem by problem or vectorised. Compiled by XLA."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import jax  # pyright: ignore[reportMissingImports]
import jax.numpy as jnp  # pyright: ignore[reportMissingImports]
import numpy as np
import torch
from ott.geometry import pointcloud  # pyright: ignore[reportMissingImports]
from ott.tools import sinkhorn_divergence  # pyright: ignore[reportMissingImports]

from benchmarks.losses.libraries import Potentials, Step
from benchmarks.workloads.libraries.ott import versions  # and what JAX 0.10 takes to run it

if TYPE_CHECKING:
    from benchmarks.losses.tasks import Training

__all__ = ["settings", "solve", "versions"]

MAX_ITERATIONS = 20_000
DENSE = 25_000_000  # pairs of one problem


def settings(task: Training, tolerance: float) -> list[str]:
    """In the log domain or as a scaling, one after the other, or vectorised where they come together."""
    del tolerance
    if task.x.shape[1] ** 2 > DENSE:
        return ["loop log float32"]
    loops = ["loop log float32", "loop kernel float32"]
    return [*loops, "vmap log float32"] if task.is_together else loops


@lru_cache
def step(epsilon: float, tolerance: float, *, is_log: bool, is_vectorised: bool) -> Any:
    """A compiled step: (x, y) -> ((value, (potentials, converged)), gradient)."""

    def loss(x: jax.Array, y: jax.Array) -> Any:
        value, out = sinkhorn_divergence.sinkhorn_divergence(
            pointcloud.PointCloud,
            x=x,
            y=y,
            epsilon=epsilon,
            solve_kwargs={"threshold": tolerance, "max_iterations": MAX_ITERATIONS, "lse_mode": is_log},
            scale_cost=1.0,
            batch_size=1024 if len(x) ** 2 > DENSE else None,
        )
        return value, (out.potentials, jnp.stack([jnp.asarray(one) for one in out.converged]))

    differentiated = jax.value_and_grad(loss, has_aux=True)
    return jax.jit(jax.vmap(differentiated) if is_vectorised else differentiated)


def solve(task: Training, setting: str, tolerance: float) -> Step:
    """Solve, and wait for the result."""
    name, form, kind = setting.split()
    x, y = (jnp.asarray(points.numpy()) for points in task.clouds(kind))
    run = step(task.epsilon, tolerance, is_log=form == "log", is_vectorised=name == "vmap")
    if name == "vmap":
        (_, (potentials, converged)), gradient = run(x, y)
        members = [jax.tree.map(lambda leaf, k=k: leaf[k], potentials) for k in range(len(x))]
    else:
        found = [run(p, q) for p, q in zip(x, y, strict=True)]
        gradient = jnp.stack([one[1] for one in found])
        members = [one[0][1][0] for one in found]
        converged = jnp.stack([one[0][1][1] for one in found])
    gradient = torch.from_numpy(np.array(gradient))

    def transports() -> list[tuple[Potentials, Potentials, Potentials]]:
        out = []
        for member in members:
            across, own_x, own_y = (against_weights(pair, task.epsilon) for pair in member)
            out.append((across, own_x, own_y))
        return out

    return Step(gradient, transports, claims=bool(converged.all()))


def against_weights(pair: Any, epsilon: float) -> Potentials:
    """Its potentials carry the logarithm of the weights, here equal."""
    f, g = (torch.from_numpy(np.array(side, dtype=np.float64)) for side in pair)
    return f + epsilon * np.log(len(f)), g + epsilon * np.log(len(g))
