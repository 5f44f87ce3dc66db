"""Which observations? Data sets to train and to judge models with, none of them fetched from anywhere.

Read in this order: `load` (by name, file or folder), `dataset` (what comes out), `planar` (laws in the plane), `shipped`
(digits, iris), `files` (arrays), `pictures` (folders).
"""

from .dataset import DataSet as DataSet
from .load import load_data as load_data
from .planar import PLANAR as PLANAR
from .planar import planar as planar

__all__ = ["PLANAR", "DataSet", "load_data", "planar"]
