"""pytest plugin: use the compiled extension at $ISOTHERM_EXTENSION instead of the installed one (`make sanitize`)."""

from __future__ import annotations

import os
import sys
from importlib.util import module_from_spec, spec_from_file_location

name = "isotherm.kernels._cpu"
spec = spec_from_file_location(name, os.environ["ISOTHERM_EXTENSION"])
assert spec is not None
assert spec.loader is not None
sys.modules[name] = module_from_spec(spec)
spec.loader.exec_module(sys.modules[name])
