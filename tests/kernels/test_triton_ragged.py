"""Batches of transport problems, one Triton program each, against the same iteration in plain torch."""

from __future__ import annotations

import os

import pytest
import torch
from torch import Tensor

from isotherm.kernels.source import Formula

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
if DEVICE == "cpu":  # must be set before triton is imported for the first time
    os.environ.setdefault("TRITON_INTERPRET", "1")
REASON = "needs triton: pip install 'isotherm[triton]'"
ragged = pytest.importorskip("isotherm.kernels.sinkhorn_step.triton_ragged", reason=REASON, exc_type=ImportError)

SIZES = [(3, 5), (40, 33), (1, 1), (7, 70)]
EPSILON = 0.5


def plain(
    x: Tensor, y: Tensor, weights: list[Tensor], steps: int, dampings: tuple[float, float]
) -> tuple[Tensor, Tensor, Tensor]:
    """f, g and the last row error of one problem, from zero potentials, float64."""
    costs = (x[:, None] - y).square().sum(-1).double()
    log_a, log_b = (w.double() for w in weights)
    f, g, error = torch.zeros_like(log_a), torch.zeros_like(log_b), torch.zeros((), dtype=torch.float64)
    for _ in range(steps):
        after = -dampings[0] * EPSILON * torch.logsumexp((g + log_b - costs) / EPSILON, 1)
        error = ((log_a / EPSILON).exp() * (((f - after) / EPSILON).exp() - 1.0).abs()).sum()
        f = after
        g = -dampings[1] * EPSILON * torch.logsumexp((f + log_a - costs.T) / EPSILON, 1)
    return f, g, error


@pytest.mark.parametrize("dampings", [(1.0, 1.0), (0.9, 0.7)])
@pytest.mark.parametrize(("dimension", "dtype"), [(2, torch.float32), (9, torch.float64)])
def test_triton_ragged_iterates_each_problem_alone(
    dimension: int, dtype: torch.dtype, dampings: tuple[float, float]
) -> None:
    generator = torch.Generator().manual_seed(0)
    counts = torch.tensor([[0, 0], *SIZES]).cumsum(0).to(DEVICE)
    total_x, total_y = (int(count) for count in counts[-1])
    x, y = (torch.randn(k, dimension, generator=generator).to(DEVICE, dtype) for k in (total_x, total_y))
    weights = []
    for side, total in enumerate((total_x, total_y)):
        uniform = torch.cat([torch.full((sizes[side],), 1.0 / sizes[side]) for sizes in SIZES])
        weights.append(EPSILON * uniform.log().to(DEVICE, dtype))
        assert weights[-1].shape == (total,)
    weights[0][1] = weights[1][2] = -torch.inf
    f, g = x.new_zeros(total_x), y.new_zeros(total_y)
    starts = (counts[:, 0].contiguous(), counts[:, 1].contiguous())
    error = ragged.sinkhorn_ragged(
        Formula("sqeuclidean", x, y),
        (weights[0], weights[1]),
        (f, g),
        starts,
        epsilon=EPSILON,
        steps=4,
        dampings=dampings,
    )
    for k in range(len(SIZES)):
        mine, theirs = (slice(int(counts[k, side]), int(counts[k + 1, side])) for side in (0, 1))
        exact = plain(x[mine], y[theirs], [weights[0][mine], weights[1][theirs]], 4, dampings)
        tolerance = 1e-5 if dtype == torch.float32 else 1e-10
        torch.testing.assert_close(
            (f[mine].double(), g[theirs].double(), error[k].double()), exact, rtol=tolerance, atol=tolerance
        )


def test_triton_ragged_refuses_a_stored_matrix() -> None:
    nothing = torch.zeros(1, device=DEVICE)
    with pytest.raises(TypeError, match="need points"):
        ragged.sinkhorn_ragged(
            Formula("stored", nothing[:, None]),
            (nothing, nothing),
            (nothing, nothing),
            (nothing, nothing),
            epsilon=1.0,
            steps=1,
        )
