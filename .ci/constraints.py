"""Print constraints.txt: the versions installed here, for isotherm[dev] and everything it needs.

Walks the requirements from the package down, so that something installed by hand for a quick look does not
become a pin. Local labels go (torch 2.13.0+cpu is pinned as 2.13.0): which build of torch arrives is the
machine's choice, not this file's.
"""

from __future__ import annotations

import sys
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

HEADER = """\
# The exact versions isotherm is developed and tested with: every direct and indirect dependency of
# isotherm[dev], resolved on Python {python}. `make` installs with `pip install -c constraints.txt`; the open
# ranges a user's pip sees are in pyproject.toml.
#
# To move a pin: .venv/bin/pip install --upgrade NAME && make constraints && make test
#
# torch: on Linux pip's default index serves the CUDA build (a few GB). If you only need the CPU, point pip at
# PyTorch's CPU index, e.g. `make demo PIP_ARGS="--extra-index-url <the CPU index on pytorch.org>"`.
"""


def closure(name: str, extras: frozenset[str], found: dict[str, str], seen: set[tuple[str, str]]) -> None:
    """Collect name's requirements, and theirs, as installed here."""
    distribution = metadata.distribution(name)
    for line in distribution.requires or ():
        requirement = Requirement(line)
        wanted = [
            extra
            for extra in (extras or {""})
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra})
        ]
        if not wanted:
            continue
        key = canonicalize_name(requirement.name)
        visit = (key, ",".join(sorted(requirement.extras)))
        if visit in seen:
            continue
        seen.add(visit)
        if key != "isotherm":
            found[key] = Version(metadata.version(key)).public
        closure(key, frozenset(requirement.extras), found, seen)


def main() -> None:
    """Write the file to standard output, sorted by name."""
    found: dict[str, str] = {}
    closure("isotherm", frozenset({"dev"}), found, set())
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    sys.stdout.write(HEADER.format(python=python))
    sys.stdout.writelines(f"{name}=={version}\n" for name, version in sorted(found.items()))


if __name__ == "__main__":
    main()
