"""Problems that defeat solvers: the answer is right, or the status says that it is not; bounds hold either way."""

import pytest
import torch

import isotherm


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("share", "orders", "shift"), [(1e-6, 0.0, 0.0), (1e-2, 12.0, 0.0), (1e-2, 0.0, 1e4)])
def test_a_hard_problem_ends_in_a_right_answer_or_says_so(share, orders, shift, dtype):
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.rand(60, 2, generator=generator, dtype=torch.float64).to(dtype) + shift for _ in range(2))
    a = 10.0 ** (-orders * torch.rand(60, generator=generator, dtype=torch.float64))
    solution = isotherm.solve(
        x, y, a=(a / a.sum()).to(dtype), epsilon=share * 0.33, tolerance=1e-3, on_failure="ignore"
    )
    assert solution.status.is_converged == (max(solution.marginal_error) <= 1e-3)
    assert all(bool(potential.isfinite().all()) for potential in solution.potentials)
    bounds = solution.certificate
    assert float(bounds.entropic_lower) <= float(bounds.entropic_upper)
    assert float(bounds.exact_lower) <= float(bounds.exact_upper)
