"""Let this environment import what another one has installed: python look_into.py OTHER/bin/python.

A line in a .pth file adds the other's packages behind our own, editable installs included.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

ASK = "import sysconfig; print(sysconfig.get_path('purelib'))"
other = subprocess.run([sys.argv[1], "-c", ASK], capture_output=True, text=True, check=True).stdout.strip()
target = Path(sysconfig.get_path("purelib")) / "beside.pth"
target.write_text(f"import site; site.addsitedir({other!r})\n", encoding="utf-8")
