"""Run POT's own tests on our functions: `python -m isotherm.compat.pot PATH_OF_POT_TESTS [pytest arguments]`.

POT and pytest must be installed; the tests come with POT's source distribution. Nothing of them is changed.
"""

from __future__ import annotations

import sys
from pathlib import Path

from isotherm._optional import require


def main(arguments: list[str]) -> int:
    """Run pytest with the plugin.

    Args:
        arguments: Where POT's tests are, then pytest's own arguments.

    Returns:
        pytest's exit status; 2 where no path is given.
    """
    if not arguments:
        print("usage: python -m isotherm.compat.pot PATH_OF_POT_TESTS [pytest arguments]", file=sys.stderr)
        return 2
    pytest = require("pytest", extra="test", why="run POT's tests")
    path = Path(arguments[0].partition("::")[0])
    root = path if path.is_dir() else path.parent
    options = ["-p", "isotherm.compat.pot.plugin", "-p", "no:cacheprovider", f"--rootdir={root}"]
    return int(pytest.main([*options, "-c", "/dev/null", "-rfE", *arguments]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
