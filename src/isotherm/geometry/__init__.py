"""What does it cost to move mass?

Read in this order: `abstract` (what every geometry can do), `costs`, `point_cloud`, `cost_matrix`, `grid`, `tilted`
(a reference coupling absorbed into the cost), `clusters` and `block_sparse` (the pairs that matter), `duplicates`,
`relative` (temperatures in units of the problem's own cost).
"""

from .abstract import AbstractGeometry as AbstractGeometry
from .block_sparse import BlockSparse as BlockSparse
from .clusters import Clusters as Clusters
from .cost_matrix import CostMatrix as CostMatrix
from .costs import AbstractCost as AbstractCost
from .costs import CallableCost as CallableCost
from .costs import Cosine as Cosine
from .costs import Euclidean as Euclidean
from .costs import EuclideanPower as EuclideanPower
from .costs import HalfSquaredEuclidean as HalfSquaredEuclidean
from .costs import Manhattan as Manhattan
from .costs import NegativeDot as NegativeDot
from .costs import SquaredEuclidean as SquaredEuclidean
from .costs import SumOfAxes as SumOfAxes
from .costs import as_cost as as_cost
from .duplicates import MergedPoints as MergedPoints
from .duplicates import merge_equal_points as merge_equal_points
from .grid import Grid as Grid
from .point_cloud import PointCloud as PointCloud
from .relative import Relative as Relative
from .tilted import Tilted as Tilted

__all__ = [
    "AbstractCost",
    "AbstractGeometry",
    "BlockSparse",
    "CallableCost",
    "Clusters",
    "Cosine",
    "CostMatrix",
    "Euclidean",
    "EuclideanPower",
    "Grid",
    "HalfSquaredEuclidean",
    "Manhattan",
    "MergedPoints",
    "NegativeDot",
    "PointCloud",
    "Relative",
    "SquaredEuclidean",
    "SumOfAxes",
    "Tilted",
    "as_cost",
    "merge_equal_points",
]
