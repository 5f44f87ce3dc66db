"""Turn the temperature dial from exact transport to independence, and keep the picture."""

import sys
from pathlib import Path

import torch

import isotherm
from isotherm.report.figures import dial_figure
from isotherm.report.files import save_figure

out = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
generator = torch.Generator().manual_seed(0)
angle = torch.rand(150, generator=generator, dtype=torch.float64) * torch.pi
x = torch.stack([angle.cos(), angle.sin()], dim=1) + 0.1 * torch.randn(150, 2, generator=generator, dtype=torch.float64)
y = torch.stack([1 - angle.cos(), 0.5 - angle.sin()], dim=1)
y = y + 0.1 * torch.randn(150, 2, generator=generator, dtype=torch.float64)

problem = isotherm.Problem(isotherm.PointCloud(x, y), epsilon=isotherm.Relative(0.05))
path = isotherm.temperature_path(problem, [10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.0])

for solution in path:
    bounds = solution.certificate
    print(
        f"epsilon {solution.epsilon:5.2f}: cost {float(solution.transport_cost):.4f}, exact cost within "
        f"[{bounds.exact_lower:.4f}, {bounds.exact_upper:.4f}], "
        f"entropy {solution.coupling.normalised_entropy():.3f}, {solution.iterations} iterations"
    )

out.mkdir(parents=True, exist_ok=True)
save_figure(out / "dial.png", dial_figure(path))
print("picture:", out / "dial.png")
