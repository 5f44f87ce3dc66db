"""What every coupling can do: a lazy matrix of masses, dense only when asked by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from isotherm._arrays import ArrayLike, Namespace, to_indices, to_tensor
from isotherm._checks import check_choice, check_count, check_dense_fits, check_indices, check_known, check_values
from isotherm.coupling.conditional import Conditional, draw_columns, draw_rows
from isotherm.kernels import row_blocks
from isotherm.objective import entropy

if TYPE_CHECKING:
    from isotherm.coupling.sparse import SparseCoupling


class Marginals(NamedTuple):
    """Row sums, shape (N,), and column sums, shape (M,), of a coupling."""

    source: Any
    target: Any


class TopMatches(NamedTuple):
    """Indices of the heaviest targets of each source and the mass sent there, both of shape (N, k)."""

    indices: Any
    mass: Any


class AbstractCoupling(ABC):
    """A coupling P of N sources and M targets. Results come in the library, dtype and device of the problem's data."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """Number of sources and of targets, (N, M)."""

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype:
        """Floating dtype of the masses."""

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Device of the masses."""

    @property
    @abstractmethod
    def namespace(self) -> Namespace:
        """Library that results are exported to."""

    @property
    @abstractmethod
    def target_points(self) -> Tensor | None:
        """Coordinates of the targets, shape (M, D), if known."""

    @abstractmethod
    def transpose(self) -> AbstractCoupling:
        """The same coupling read from the targets to the sources."""

    @abstractmethod
    def source_shares(self) -> Tensor:
        """How much of the mass each source should have, shape (N,): its weight where that is a constraint."""

    @abstractmethod
    def plan_rows(self, rows: slice | Tensor) -> Tensor:
        """Some rows of the plan as a tensor, shape (n, M)."""

    @abstractmethod
    def conditional_rows(self, rows: slice | Tensor) -> Tensor:
        """Rows of the plan normalised to one, shape (n, M); NaN for a source that has no conditional law."""

    @abstractmethod
    def product(self, values: Tensor) -> Tensor:
        """P V for V of shape (M, K), a tensor of shape (N, K)."""

    @abstractmethod
    def row_mean(self, values: Tensor) -> Tensor:
        """Mean of V under each source's conditional law, a tensor of shape (N, K)."""

    @abstractmethod
    def plan_entropy(self) -> Tensor:
        """H(P) = -sum P log P, a scalar."""

    def apply(self, v: ArrayLike) -> Any:
        """Product P v, without forming P.

        Args:
            v: Values of the targets, shape (M,) or (M, K).

        Returns:
            Shape (N,) or (N, K). Time O(N M (D + K)) for point clouds.

        Raises:
            ValueError: Wrong length, or not finite.
        """
        values = self._values(v, "v")
        out = self.product(values.flatten(1) if values.ndim > 1 else values[:, None])
        return self.namespace.export(out.reshape(self.shape[0], *values.shape[1:]))

    def apply_transpose(self, v: ArrayLike) -> Any:
        """Product P' v, without forming P.

        Args:
            v: Values of the sources, shape (N,) or (N, K).

        Returns:
            Shape (M,) or (M, K).
        """
        return self.transpose().apply(v)

    def marginals(self) -> Marginals:
        """Row sums and column sums of the plan as it is, converged or not."""
        row, column = self.masses()
        return Marginals(self.namespace.export(row), self.namespace.export(column))

    def conditional(self, i: int | ArrayLike) -> Conditional:
        """Law of the target given source i: probabilities, mean and samples.

            P(j | i) = P_ij / sum_k P_ik

        Args:
            i: Index of a source, or several, shape (n,).

        Returns:
            `Conditional` with probabilities of shape (M,), or (n, M).

        Raises:
            IndexError: No such source.
            ValueError: That source has no mass and the coupling no potentials to extend it.
            MemoryError: n x M probabilities would not fit.
        """
        index = check_indices(to_indices(i, "i", device=self.device), self.shape[0], "i")
        rows = index.reshape(-1)
        check_dense_fits(rows.shape[0], self.shape[1], self.dtype, self.device, "Conditional probabilities")
        probabilities = self.conditional_rows(rows)  # (n, M)
        if probabilities.isnan().any():
            empty = int(rows[probabilities.isnan().any(1)][0])
            msg = f"A conditional law needs a source with mass: got source {empty} without any. Leave it out."
            raise ValueError(msg)
        return Conditional(
            table=probabilities.reshape(*index.shape, self.shape[1]),
            points=self.target_points,
            namespace=self.namespace,
        )

    def barycentric_map(self, values: ArrayLike | None = None) -> Any:
        """Mean target of each source, T(x_i) = sum_j P(j | i) y_j.

        Args:
            values: What to average, shape (M,) or (M, K); the targets' coordinates when left out.

        Returns:
            Shape (N, K), or (N,) for a vector. NaN for a source without mass in a coupling that has no potentials.

        Raises:
            ValueError: No values given and the problem knows costs only.
        """
        tensor = self._target_values(values)
        out = self.row_mean(tensor.flatten(1) if tensor.ndim > 1 else tensor[:, None])
        return self.namespace.export(out.reshape(self.shape[0], *tensor.shape[1:]))

    def sample(self, k: int, *, generator: torch.Generator | None = None, method: str = "rows") -> tuple[Any, Any]:
        """Draw pairs (i, j) from the plan without forming it.

        Args:
            k: Number of pairs.
            generator: Source of randomness; a freshly seeded one when left out. The global state is never touched.
            method: "rows" stratifies the sources: source i appears floor or ceil(k r_i) times (r_i its share of the
                mass), in order, so that with equal weights and k = N each appears once; its targets are drawn from
                P(j | i).
                "flat" draws independent pairs.

        Returns:
            Integer index arrays of sources and targets, both of shape (k,). A pair has law P / mass(P), with the
            source marginal at its exact value where that is a constraint.

        Example:
            >>> from isotherm.coupling import SparseCoupling
            >>> coupling = SparseCoupling.from_matrix(torch.eye(3) / 3)
            >>> coupling.sample(3, generator=torch.Generator().manual_seed(0))
            (tensor([0, 1, 2]), tensor([0, 1, 2]))
        """
        check_count(k, "k")
        check_choice(method, "method", ("rows", "flat"))
        if generator is None:
            generator = torch.Generator()
            generator.seed()
        rows = draw_rows(self.source_shares(), k, generator, is_stratified=method == "rows")  # (k,)
        columns = draw_columns(self, rows, generator)
        return self.namespace.export(rows), self.namespace.export(columns)

    def top_k(self, k: int) -> TopMatches:
        """The k heaviest targets of each source, heaviest first; memory O(N k).

        Args:
            k: Matches per source, at most M.

        Returns:
            `indices` and `mass`, both of shape (N, k).
        """
        if check_count(k, "k") > self.shape[1]:
            msg = f"`k` must be at most the number of targets, {self.shape[1]}: got {k}. Ask for fewer matches."
            raise ValueError(msg)
        check_dense_fits(self.shape[0], 3 * k, self.dtype, self.device, "The table of matches (indices and mass)")
        best = [self.plan_rows(rows).topk(k, dim=1) for rows in row_blocks(self)]
        indices, mass = torch.cat([b.indices for b in best]), torch.cat([b.values for b in best])
        return TopMatches(self.namespace.export(indices), self.namespace.export(mass))

    @abstractmethod
    def to_sparse(self, threshold: float = 1e-4) -> SparseCoupling:
        """The pairs that carry at least a share `threshold` of their source's mass."""

    def to_dense(self) -> Any:
        """The plan as an array.

        Returns:
            Shape (N, M).

        Raises:
            MemoryError: It would not fit; the message says how much it needs.
        """
        check_dense_fits(*self.shape, self.dtype, self.device, "The dense plan")
        return self.namespace.export(self.plan_rows(slice(None)))

    def entropy(self) -> Any:
        """H(P) = -sum P log P, in nats for a plan of mass one."""
        return self.namespace.export(self.plan_entropy().to(self.dtype))

    def normalised_entropy(self) -> float:
        """How far the coupling is from a matching, in [0, 1].

            E = 2 H(P) / (H(P 1) + H(P' 1)) - 1      of the plan scaled to mass one

        0 for a one-to-one matching, 1 for independence; 0 where both sides have a single point.
        """
        return self._normalised_entropy

    @cached_property
    def _normalised_entropy(self) -> float:
        row, column = (mass.double() for mass in self.masses())
        mass = row.sum()
        joint = self.plan_entropy().double() / mass + mass.log()
        separate = entropy(row / mass) + entropy(column / column.sum())
        return float((2.0 * joint / separate - 1.0).clamp(0.0, 1.0)) if separate > 0 else 0.0

    def row_mass(self) -> Tensor:
        """Row sums of the plan as a tensor, shape (N,)."""
        ones = torch.ones(self.shape[1], 1, dtype=self.dtype, device=self.device)
        return self.product(ones)[:, 0]

    def masses(self) -> tuple[Tensor, Tensor]:
        """Row sums, shape (N,), and column sums, shape (M,), of the plan as tensors."""
        return self.row_mass(), self.transpose().row_mass()

    def _values(self, values: ArrayLike, name: str) -> Tensor:
        tensor = to_tensor(values, name, dtype=self.dtype, device=self.device)
        return check_values(tensor, self.shape[1], name)

    def _target_values(self, values: ArrayLike | None) -> Tensor:
        return check_known(self.target_points) if values is None else self._values(values, "values")
