"""`python -m isotherm.compat.geomloss TESTS`: run tests of GeomLoss's `SamplesLoss` on ours."""

import sys

from isotherm.compat._plugin import Facade
from isotherm.compat.geomloss import SamplesLoss

FACADE = Facade(names={"geomloss": {"SamplesLoss": SamplesLoss}})

if __name__ == "__main__":
    sys.exit(FACADE.run(sys.argv[1:]))
