"""Couple two weighted point clouds, read the answer, ask how far to trust it."""

import numpy as np

import isotherm

rng = np.random.default_rng(0)
x = rng.normal(size=(500, 2))
y = rng.normal(size=(400, 2)) * [0.5, 1.5] + [3.0, 0.0]
a = rng.dirichlet(np.ones(500))  # weights need not be equal

solution = isotherm.solve(x, y, a, epsilon=isotherm.Relative(0.05))

print(solution)
print(solution.certificate)

# The plan is an operator: none of these lines forms the 500 x 400 matrix.
print("where each source goes on average:", solution.coupling.barycentric_map().shape)
print("three best matches of source 0:   ", solution.coupling.top_k(3).indices[0])
print("new points move too:              ", solution.coupling.map(np.array([[0.0, 0.0], [1.0, 1.0]])).round(2).tolist())
print("between matching 0 and chance 1:  ", round(solution.coupling.normalised_entropy(), 3))
