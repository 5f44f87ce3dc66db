"""Optional packages: imported where they are used, with a message that says how to get them."""

import ast
import builtins
import math
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch

import isotherm
from isotherm import SparseCoupling
from isotherm._optional import require

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
SOURCES = sorted(Path(isotherm.__file__).parent.rglob("*.py"))


def test_require_returns_the_module():
    assert require("math", extra="none", why="add") is math
    assert require("os.path", extra="none", why="join").join("a", "b")


def test_require_of_an_absent_package_names_the_extra_and_the_reason():
    with pytest.raises(
        ImportError, match=r"`no_such_package` is needed to fly, .*pip install 'isotherm\[wings\]'"
    ) as info:
        require("no_such_package.inner", extra="wings", why="fly")
    assert isinstance(info.value.__cause__, ImportError)


def test_sparse_matrix_without_scipy_names_its_extra(monkeypatch):
    plain = builtins.__import__

    def without_scipy(name, *arguments, **keywords):
        if name.startswith("scipy"):
            raise ImportError(name)
        return plain(name, *arguments, **keywords)

    for name in [name for name in sys.modules if name.partition(".")[0] == "scipy"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "scipy", None)
    monkeypatch.setattr(builtins, "__import__", without_scipy)
    with pytest.raises(ImportError, match=r"`scipy` is needed to hold a sparse matrix.*isotherm\[exact\]"):
        SparseCoupling.from_matrix(torch.eye(2) / 2).to_scipy()


def required() -> list[tuple[str, str, str, str]]:
    """(file, package, extra, why) of every call of `require` that names its package."""
    calls = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "require":
                words = {keyword.arg: keyword.value for keyword in node.keywords}
                if "extra" in words and isinstance(node.args[0], ast.Constant):
                    named = [node.args[0], words["extra"], words["why"]]
                    calls.append((path.name, *map(ast.literal_eval, named)))
    return calls


@pytest.mark.parametrize(("file", "module", "extra", "why"), required())
def test_require_names_an_extra_that_brings_the_package(file, module, extra, why):
    named = {"ot": "pot", "PIL": "pillow", "sklearn": "scikit-learn", "yaml": "pyyaml"}
    top = module.removeprefix("torch.utils.").partition(".")[0]  # torch's own way to TensorBoard needs the package
    distribution = named.get(top, top)
    brought = [extra]
    for name in brought:
        brought += [
            part for line in EXTRAS[name] if line.startswith("isotherm[") for part in line[9:].split("]")[0].split(",")
        ]
    packages = {line.partition(">")[0].strip() for name in brought for line in EXTRAS[name]}
    assert distribution in packages, f"{file}: isotherm[{extra}] does not install {distribution}"
    assert why
    assert why[0].islower()
    assert not why.endswith(".")


def test_base_package_imports_no_optional_package():
    optional = [
        "scipy",
        "ot",
        "typer",
        "rich",
        "polars",
        "matplotlib",
        "PIL",
        "sklearn",
        "jinja2",
        "pydantic",
        "yaml",
        "safetensors",
        "tensorboard",
    ]
    script = f"import sys, torch; before = set(sys.modules); import isotherm, isotherm.testing; print(sorted((set(sys.modules) - before) & set({optional!r})))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
