"""The binding refuses what it cannot read, in words, and never crashes."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from isotherm.kernels import compiled

pytestmark = pytest.mark.skipif(bool(compiled.why_missing()), reason="; ".join(compiled.why_missing()))
EXTENSION = compiled.extension


def costs(n: int = 4, m: int = 5, d: int = 3, dtype: torch.dtype = torch.float32, kind: str = "sqeuclidean"):
    if kind == "stored":
        return EXTENSION.Costs(kind, torch.rand(n, m, dtype=dtype), None, 1.0, 0.0)
    return EXTENSION.Costs(kind, torch.rand(n, d, dtype=dtype), torch.rand(m, d, dtype=dtype), 1.0, 0.0)


def test_binding_names_wrong_shapes() -> None:
    with pytest.raises(ValueError, match=r"`h` must have shape \(5,\): got \(4,\)"):
        EXTENSION.softmin(costs(), torch.zeros(4), None, 1.0, torch.empty(4), 1)
    with pytest.raises(ValueError, match=r"`out` must have shape \(4,\): got \(4, 1\)"):
        EXTENSION.softmin(costs(), torch.zeros(5), None, 1.0, torch.empty(4, 1), 1)
    with pytest.raises(ValueError, match=r"`values` must have shape \(5, any\)"):
        EXTENSION.plan_apply(costs(), torch.zeros(4), torch.zeros(5), torch.zeros(5), 1.0, torch.empty(4, 1), 1)


def test_binding_names_wrong_dtypes_and_layouts() -> None:
    with pytest.raises(TypeError, match="float32"):
        EXTENSION.softmin(costs(), torch.zeros(5).double(), None, 1.0, torch.empty(4), 1)
    with pytest.raises(TypeError, match="float32 or float64"):
        EXTENSION.Costs("dot", torch.zeros(2, 2).half(), torch.zeros(2, 2).half(), 1.0, 0.0)
    with pytest.raises(ValueError, match="contiguous"):
        EXTENSION.softmin(costs(), torch.zeros(10)[::2], None, 1.0, torch.empty(4), 1)
    with pytest.raises(ValueError, match="contiguous"):
        EXTENSION.Costs("dot", torch.zeros(3, 2).T, torch.zeros(2, 3), 1.0, 0.0)


def test_binding_names_wrong_settings() -> None:
    for epsilon in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="epsilon"):
            EXTENSION.softmin(costs(), torch.zeros(5), None, epsilon, torch.empty(4), 1)
    with pytest.raises(ValueError, match="kind"):
        costs(kind="manhattan")
    with pytest.raises(ValueError, match="finite"):
        EXTENSION.Costs("dot", torch.zeros(2, 2), torch.zeros(2, 2), float("nan"), 0.0)
    with pytest.raises(ValueError, match="`y` is missing"):
        EXTENSION.Costs("dot", torch.zeros(2, 2), None, 1.0, 0.0)
    with pytest.raises(ValueError, match="no points"):
        EXTENSION.plan_grad(
            costs(kind="stored"), torch.zeros(4), torch.zeros(5), None, None, 1.0, torch.empty(4, 3), None, 1
        )
    with pytest.raises(ValueError, match="at least one coordinate"):
        EXTENSION.Costs("dot", torch.zeros(2, 0), torch.zeros(2, 0), 1.0, 0.0)
    with pytest.raises(ValueError, match="instruction set"):
        EXTENSION.choose_instruction_set("mmx")


def test_binding_refuses_other_devices() -> None:
    with pytest.raises((BufferError, RuntimeError, TypeError, ValueError)):
        EXTENSION.softmin(costs(), torch.zeros(5, device="meta"), None, 1.0, torch.empty(4), 1)


def test_binding_refuses_to_write_where_it_must_not() -> None:
    frozen = np.zeros(4, dtype=np.float32)
    frozen.flags.writeable = False
    with pytest.raises(TypeError):
        EXTENSION.softmin(costs(), torch.zeros(5), None, 1.0, frozen, 1)


def strange_array(rng: random.Random, right: tuple[int, ...]):
    """Mostly what is wanted, else anything a caller might pass by mistake."""
    if rng.random() < 0.7:
        return torch.ones(right)
    shape = [rng.choice([0, 1, 2, 4, 5, 6]) for _ in range(rng.choice([0, 1, 1, 1, 2, 2, 3]))]
    dtype = rng.choice([torch.float32] * 4 + [torch.float64, torch.int64, torch.bool, torch.float16, torch.complex64])
    tensor = torch.ones(shape).to(dtype)
    changed = rng.choice(
        ["no", "no", "no", "transposed", "strided", "expanded", "numpy", "none", "list", "infinite", "reversed"]
    )
    doubled = torch.ones([2 * size for size in shape]).to(dtype)
    made = {
        "no": lambda: tensor,
        "transposed": lambda: tensor.T if tensor.ndim == 2 else tensor,
        "strided": lambda: doubled[(slice(None, None, 2),) * len(shape)],
        "expanded": lambda: torch.ones(()).to(dtype).expand(shape),
        "numpy": tensor.numpy,
        "none": lambda: None,
        "list": tensor.tolist,
        "infinite": lambda: tensor * torch.inf if dtype == torch.float32 else tensor,
        "reversed": lambda: tensor.numpy()[::-1] if tensor.ndim else tensor.numpy(),
    }
    return made[changed]()


@pytest.mark.parametrize("seed", range(20))
def test_binding_survives_strange_inputs(seed: int) -> None:
    rng = random.Random(seed)
    accepted = 0
    for _ in range(400):
        n, m, d, k = rng.choice([0, 1, 4]), rng.choice([0, 1, 4, 5]), rng.choice([1, 2, 9]), rng.choice([0, 1, 3])
        p, q, values, row, wide = (strange_array(rng, shape) for shape in ((n,), (m,), (m, k), (n,), (n, k)))
        number = rng.choice([1.0, 1.0, 1.0, 0.0, -1.0, 1e-30, 1e30, float("nan"), "1"])
        threads = rng.choice([-1, 0, 1, 2, 5])
        try:
            kind = rng.choice(["sqeuclidean", "euclidean", "dot", "stored", "l1"])
            x, y = strange_array(rng, (n, d)), None if kind == "stored" else strange_array(rng, (m, d))
            bound = costs(n, m, d, kind=kind) if rng.random() < 0.7 else EXTENSION.Costs(kind, x, y, 1.0, 0.0)
            match rng.randrange(10):
                case 0:
                    EXTENSION.softmin(bound, q, rng.choice([None, p]), number, row, threads)
                case 1:
                    EXTENSION.hard_min(bound, q, row, threads)
                case 2:
                    EXTENSION.plan_apply(bound, p, q, values, number, wide, threads)
                case 3:
                    EXTENSION.plan_cost(bound, p, q, number, row, threads)
                case 4:
                    left, right = (rng.choice([None, strange_array(rng, (rows, 2))]) for rows in (n, m))
                    by_x, by_y = strange_array(rng, (n, d)), rng.choice([None, strange_array(rng, (m, d))])
                    EXTENSION.plan_grad(bound, p, q, left, right, number, by_x, by_y, threads)
                case 5:
                    EXTENSION.product_sum(bound, p, q, None, threads)
                case 6:
                    out = [torch.empty(n), torch.empty(n), torch.empty(m)]
                    EXTENSION.sinkhorn_step(bound, q, p, p, p, number, 1.0, 0.0, number, *out, threads)
                case 7:
                    EXTENSION.conditional_mean(bound, q, values, number, wide, threads)
                case 8:
                    EXTENSION.plan_marginals(bound, p, q, number, row, strange_array(rng, (m,)), threads)
                case 9:
                    EXTENSION.symmetric_softmin(bound, q, p, number, row, threads)
            accepted += 1
        except (TypeError, ValueError, BufferError, RuntimeError):
            continue
    assert 0 < accepted < 400
