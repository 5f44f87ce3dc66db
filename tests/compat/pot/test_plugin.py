"""Running POT's own tests on our functions."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from isotherm.compat.pot.__main__ import main
from isotherm.compat.pot.plugin import DEVIATIONS, OURS, provided_names

needs_pot = pytest.mark.skipif(importlib.util.find_spec("ot") is None, reason="POT is not installed")
SUITE = """
import warnings
import numpy as np
import ot
import pytest

def test_names_point_at_ours():
    assert ot.sinkhorn([0.5, 0.5], [0.5, 0.5], np.eye(2), 1.0, log=True)[1]["solution"].status.is_converged
    for place in (ot, ot.bregman, ot.bregman._sinkhorn, ot.da, ot.gromov._bregman):
        assert place.sinkhorn.__module__ == "isotherm.compat.pot.sinkhorn", place
    for place in (ot, ot.lp, ot.lp._network_simplex):
        assert place.emd2.__module__ == "isotherm.compat.pot.exact", place
    assert ot.dist.__module__ == ot.utils.dist.__module__ == "isotherm.compat.pot.utils"

def test_exact_transport_still_finds_the_network_simplex():
    assert abs(ot.emd2([0.25, 0.75], [0.5, 0.5], np.array([[0.0, 1.0], [2.0, 0.0]])) - 0.5) < 1e-12

def test_not_ours():
    raise AssertionError("deselected")

def test_wrong():
    assert ot.unif(2)[0] == 1.0

def test_warnings():
    assert not ot.emd([1.0], [1.0], np.zeros((1, 1))).any()

def test_backends(nx):
    assert nx.__name__ in ("numpy", "torch") and ot.unif(2) is not None

@pytest.skip_backend("torch")
def test_skips(nx):
    assert nx.__name__ == "numpy" and ot.unif(2) is not None
"""


@needs_pot
def test_plugin_runs_a_suite_on_our_functions(tmp_path):
    suite = tmp_path / "test_ot.py"
    suite.write_text(SUITE, encoding="utf-8")
    command = [sys.executable, "-m", "isotherm.compat.pot", str(suite), "-q", "-rA", "-W", "ignore"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=dict(os.environ))
    assert done.returncode == 1, done.stdout + done.stderr
    for line in (
        "PASSED test_ot.py::test_names_point_at_ours",
        "PASSED test_ot.py::test_exact_transport_still_finds_the_network_simplex",
        "FAILED test_ot.py::test_wrong",
        "XFAIL test_ot.py::test_warnings",
        "PASSED test_ot.py::test_backends[numpy]",
        "PASSED test_ot.py::test_backends[torch]",
        "PASSED test_ot.py::test_skips[numpy]",
    ):
        assert line in done.stdout, done.stdout
    assert "1 failed, 5 passed, 1 skipped, 1 deselected, 1 xfailed" in done.stdout, done.stdout


@needs_pot
def test_every_name_that_is_replaced_exists_in_pot():
    for home, functions in OURS.items():
        module = importlib.import_module(home)
        for function in functions:
            assert callable(getattr(module, function.__name__))


def test_every_deviation_is_told_in_the_documentation():
    page = (Path(__file__).parents[3] / "docs" / "compat.md").read_text(encoding="utf-8")
    words = ("sparse", "numItermax", "infinite prices", "Adam", "solve other problems", "lazy unbalanced")
    told = [word for word in (*words, "penalties other than KL") if word in " ".join(page.split())]
    for reason in DEVIATIONS.values():
        assert any(word in reason for word in told), reason
    assert "sinkhorn" in provided_names()


def test_main_without_a_path_says_how_to_call_it(capsys):
    assert main([]) == 2
    assert "usage" in capsys.readouterr().err
