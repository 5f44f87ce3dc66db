"""Train one generator with three losses: the plain entropic value makes it too narrow by a known amount."""

import matplotlib.pyplot as plt
import torch

import isotherm

VARIANCE, EPSILON, SIZE, STEPS = 1.4, 0.6, 256, 250
LOSSES = {  # and the variance at which each is least, for Gaussians on a line and the cost |x - y|^2
    "entropic_value": (isotherm.EntropicValue, VARIANCE - EPSILON / 2.0),
    "transport_cost": (isotherm.TransportCost, VARIANCE - EPSILON**2 / (16.0 * VARIANCE)),
    "sinkhorn_divergence": (isotherm.SinkhornDivergence, VARIANCE),
}


def normal(size: int, generator: torch.Generator) -> torch.Tensor:
    """Standard normal numbers, one in each of so many equally likely intervals, so that few stand for many."""
    shares = (torch.arange(size) + torch.rand(size, generator=generator)) / size
    return torch.special.ndtri(shares.double().clamp(1e-6, 1.0 - 1e-6)).float()[:, None]


def trained(loss: torch.nn.Module) -> torch.nn.Module:
    """A small network from noise to data, after some steps of Adam down a loss, on fresh noise and data in each."""
    generator = torch.Generator().manual_seed(0)
    layers = torch.nn.Linear(1, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1)
    network = torch.nn.Sequential(*layers)
    with torch.no_grad():  # initial weights from our own generator
        for weights in network.parameters():
            weights.copy_(0.5 * torch.randn(weights.shape, generator=generator))
    optimiser = torch.optim.Adam(network.parameters(), lr=0.03)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    for _ in range(STEPS):
        optimiser.zero_grad()
        loss(network(normal(SIZE, generator)), VARIANCE**0.5 * normal(SIZE, generator)).backward()
        optimiser.step()
        schedule.step()
    return network


figure, panel = plt.subplots(figsize=(6.5, 4), layout="constrained")
edges = torch.linspace(-4.0, 4.0, 81)
density = torch.exp(-edges.square() / (2.0 * VARIANCE)) / (2.0 * torch.pi * VARIANCE) ** 0.5
panel.fill_between(edges, density, color="0.85", label=f"data, variance {VARIANCE}")
noise = normal(50_000, torch.Generator().manual_seed(1))
for name, (kind, exact) in LOSSES.items():
    made = trained(kind(epsilon=EPSILON, cache=isotherm.PotentialCache()))(noise).detach()
    found = float(made.var())
    print(f"{name:<20} variance {found:.3f}, exact optimum {exact:.3f}, data {VARIANCE:.3f}")
    label = f"{name}, {found:.2f} (exact {exact:.2f})"
    panel.hist(made.flatten(), bins=edges.tolist(), density=True, histtype="step", label=label)
panel.legend(frameon=False, fontsize=8)
panel.set(xlabel="what the generator makes", ylabel="density", xlim=(-4.0, 4.0), ylim=(0.0, 0.55))
figure.savefig("bias_of_a_generator.png", dpi=110)
print("picture: bias_of_a_generator.png")
