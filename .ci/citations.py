"""Check that every [Key, eq. n] cited in the package and the documentation is in docs/references.bib."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CITED = re.compile(r"\[([A-Z][A-Za-z]+(?:19|20)\d\d[a-z]?)\b")
ENTRY = re.compile(r"^@\w+\{(\w+),", re.MULTILINE)


def main() -> int:
    """Print what is cited and missing, as file:line; return the exit code."""
    known = set(ENTRY.findall((ROOT / "docs" / "references.bib").read_text(encoding="utf-8")))
    missing = [
        f"{path.relative_to(ROOT)}:{number}: [{key}] is not in docs/references.bib"
        for path in sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "docs").rglob("*.md")])
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        for key in CITED.findall(line)
        if key not in known
    ]
    if missing:
        print("\n".join(missing))
    return bool(missing)


if __name__ == "__main__":
    sys.exit(main())
