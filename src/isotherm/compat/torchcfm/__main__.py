"""`python -m isotherm.compat.torchcfm TESTS`: run torchcfm's tests on ours."""

import sys

from isotherm.compat._plugin import Facade
from isotherm.compat.torchcfm import OTPlanSampler, wasserstein

FACADE = Facade(
    names={
        "torchcfm.optimal_transport": {"OTPlanSampler": OTPlanSampler, "wasserstein": wasserstein},
        "torchcfm.conditional_flow_matching": {"OTPlanSampler": OTPlanSampler},
    },
    deviations={"test_wasserstein": "asks for the last bit of POT's numbers, which are sums in another order"},
)

if __name__ == "__main__":
    sys.exit(FACADE.run(sys.argv[1:]))
