"""Let mass grow, forbid pairs: unbalanced transport and a reference coupling."""

import math

import numpy as np

import isotherm

rng = np.random.default_rng(1)
early = rng.normal(size=(300, 5))
late = np.concatenate([rng.normal(size=(300, 5)) + 1.0, rng.normal(size=(100, 5)) - 4.0])  # 100 come from nowhere
ones = np.ones(300) / 300

# A finite rho is the price, in units of cost, of missing that marginal: the newcomers are left out.
balanced = isotherm.solve(early, late)
unbalanced = isotherm.solve(early, late, ones, np.ones(400) / 400, rho_a=math.inf, rho_b=1.0, epsilon=balanced.epsilon)
for name, solution in (("balanced", balanced), ("unbalanced", unbalanced)):
    received = solution.coupling.marginals().target
    print(f"{name:>10}: newcomers receive {received[300:].sum():.3f} of the mass, {solution.status}")

# A zero in the reference coupling forbids a pair: here each half may only meet its own half.
group_x, group_y = np.arange(300) % 2, np.arange(400) % 2
allowed = (group_x[:, None] == group_y[None, :]) / (300 * 200)
grouped = isotherm.solve(early, late, reference=allowed)
crossing = grouped.coupling.to_dense()[group_x[:, None] != group_y[None, :]].sum()
print(f"   grouped: mass between groups {crossing}, transport cost {grouped.transport_cost:.3f}")
