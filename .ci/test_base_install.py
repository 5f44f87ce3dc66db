"""What must work with torch and numpy alone. Run in an environment without extras: `make test-base`."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import isotherm

OPTIONAL = ["scipy", "ot", "typer", "rich", "polars", "matplotlib", "PIL", "sklearn"]  # jinja2 comes with torch


def modules() -> list[str]:
    """Every module of the package but the commands, which load behind the check for their extra."""
    found = (module.name for module in pkgutil.walk_packages(isotherm.__path__, "isotherm."))
    return [name for name in found if not name.startswith("isotherm.cli.")]


@pytest.mark.parametrize("package", OPTIONAL)
def test_base_install_is_bare(package: str) -> None:
    assert importlib.util.find_spec(package) is None, (
        f"{package} is here: this run proves nothing about the base install"
    )


@pytest.mark.parametrize("name", modules())
def test_base_install_imports_every_module(name: str) -> None:
    importlib.import_module(name)


@pytest.mark.parametrize("convert", [np.asarray, torch.as_tensor])
def test_base_install_solves_the_worked_example(convert) -> None:
    cost = convert(np.array([[0.0, 1.0], [1.0, 0.0]]))
    solution = isotherm.solve(isotherm.CostMatrix(cost), epsilon=1.0, tolerance=1e-10)
    plan = solution.coupling.to_dense()
    assert type(plan) is type(cost)
    expected = np.array([[np.e, 1.0], [1.0, np.e]]) / (2 * (np.e + 1))
    np.testing.assert_allclose(np.asarray(plan), expected, atol=1e-9)
    assert solution.status.is_converged


def test_base_install_solves_point_clouds() -> None:
    rng = np.random.default_rng(0)
    solution = isotherm.solve(rng.normal(size=(40, 3)), rng.normal(size=(30, 3)), epsilon=isotherm.Relative(0.1))
    assert solution.status.is_converged
    assert solution.certificate.entropic_lower <= solution.certificate.entropic_upper


def test_base_install_linear_programme_names_its_extra() -> None:
    problem = isotherm.Problem(isotherm.CostMatrix(np.arange(6.0).reshape(2, 3) % 4), epsilon=0.0)
    with pytest.raises(ImportError, match=r"isotherm\[exact\]"):
        isotherm.Exact().run(problem)


def test_base_install_command_names_its_extra() -> None:
    command = Path(sys.executable).with_name("isotherm")
    run = subprocess.run([command, "demo"], capture_output=True, text=True, check=False)
    assert run.returncode not in {0, 3}
    assert "isotherm[cli]" in run.stderr
    assert "Traceback" not in run.stderr
