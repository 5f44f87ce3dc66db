"""Running other people's tests on ours: names are pointed at ours and back, listed tests are treated as listed."""

import subprocess
import sys
import types

import pytest

from isotherm.compat._plugin import Facade

THEIRS = """
import shape_of_things
from shape_of_things import area

def test_sees_ours():
    assert area(2) == shape_of_things.area(2) == "ours"

def test_deviates():
    assert area(2) == 4

def test_needs_more():
    shape_of_things.volume(2)
"""
OURS = """
import sys
from isotherm.compat._plugin import Facade

facade = Facade(
    names={"shape_of_things": {"area": lambda side: "ours"}},
    deviations={"test_deviates": "ours is a word"},
    left_out={"test_needs_more": "volumes"},
)
sys.exit(facade.run(sys.argv[1:]))
"""


def test_names_point_at_ours_and_back(monkeypatch):
    module = types.ModuleType("shape_of_things")
    module.area = original = object()
    monkeypatch.setitem(sys.modules, "shape_of_things", module)
    facade = Facade(names={"shape_of_things": {"area": 1}})
    facade.pytest_configure()
    assert module.area == 1
    facade.pytest_unconfigure()
    assert module.area is original


def test_an_absent_package_is_named():
    with pytest.raises(ImportError, match="The package `shape_of_nothing` is needed"):
        Facade(names={"shape_of_nothing.things": {"area": 1}}).run([])


def test_a_published_test_runs_on_ours(tmp_path):
    (tmp_path / "shape_of_things.py").write_text("def area(side):\n    return side * side\n")
    (tmp_path / "test_theirs.py").write_text(THEIRS)
    (tmp_path / "run.py").write_text(OURS)
    words = [sys.executable, "run.py", "test_theirs.py", "-q", "-p", "no:cacheprovider", "--rootdir=."]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed, 1 deselected, 1 xfailed" in done.stdout
