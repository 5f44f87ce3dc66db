"""What the package shows: every name importable, documented, and its documentation true to the signature."""

import ast
import importlib
import inspect
import pkgutil
import re
from dataclasses import fields, is_dataclass
from importlib import metadata
from pathlib import Path

import pytest

import isotherm

ISSUE_NAMES = [
    "solve",
    "temperature_path",
    "Problem",
    "PointCloud",
    "CostMatrix",
    "Grid",
    "SquaredEuclidean",
    "HalfSquaredEuclidean",
    "Euclidean",
    "Cosine",
    "Manhattan",
    "NegativeDot",
    "EuclideanPower",
    "Relative",
    "Scaling",
    "LogSinkhorn",
    "Auto",
    "Annealed",
    "Exact",
    "Solution",
]
CLI = "isotherm.cli"  # loads behind the check for its extra; its commands document themselves by --help
ENTRY = re.compile(r"^ {4}(\*{0,2}\w+)(?: \([^)]*\))?:", re.MULTILINE)


def module_names() -> list[str]:
    found = [module.name for module in pkgutil.walk_packages(isotherm.__path__, "isotherm.")]
    return ["isotherm", *(name for name in found if not name.startswith(CLI))]


MODULES = module_names()
PACKAGES = [name for name in MODULES if hasattr(importlib.import_module(name), "__path__")]
PUBLIC = {
    f"{package}.{name}": getattr(importlib.import_module(package), name)
    for package in PACKAGES
    for name in getattr(importlib.import_module(package), "__all__", [])
}


def unwrapped(thing: object) -> object:
    return inspect.unwrap(thing) if callable(thing) else thing


def documented() -> dict[str, object]:
    """Public functions and classes, and the public methods defined in them."""
    found = {}
    for path, thing in PUBLIC.items():
        if inspect.isfunction(thing) or inspect.isclass(thing):
            found[path] = thing
        if inspect.isclass(thing):
            for name, member in vars(thing).items():
                function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
                if inspect.isfunction(function) and not name.startswith("_"):
                    found[f"{path}.{name}"] = function
    return found


DOCUMENTED = documented()


def section(docstring: str, title: str) -> str:
    """The indented block under `title:`."""
    match = re.search(rf"^{title}:\n((?: .*\n?|\n)+)", docstring, re.MULTILINE)
    return match[1] if match else ""


def described_names(docstring: str, title: str) -> set[str]:
    return {name.lstrip("*") for name in ENTRY.findall(section(docstring, title))}


def assert_documents_its_arguments(thing: object) -> None:
    """The names under Args (Attributes for a frozen class) are those of the signature; a one-liner may leave them out."""
    text = inspect.getdoc(thing) or ""
    if is_dataclass(thing):
        named = {field.name for field in fields(thing) if field.init and not field.name.startswith("_")}
        told = described_names(text, "Attributes") | described_names(text, "Args")
    else:
        function = thing.__init__ if inspect.isclass(thing) else thing
        named = {name for name in inspect.signature(unwrapped(function)).parameters if name not in ("self", "cls")}
        told = described_names(text, "Args")
    is_one_liner = "\n" not in text.strip() or not re.search(r"^(Args|Attributes|Returns|Raises):$", text, re.MULTILINE)
    if not (is_one_liner and not told):
        assert named == told, f"signature {sorted(named)}, docstring {sorted(told)}"


@pytest.mark.parametrize("name", isotherm.__all__)
def test_public_name_is_importable_and_documented(name):
    thing = getattr(isotherm, name)
    assert (inspect.getdoc(thing) or "").strip()
    assert "__doc__" not in vars(thing) or vars(thing)["__doc__"], "its own docstring, not an inherited one"


@pytest.mark.parametrize("name", ISSUE_NAMES)
def test_public_api_has_the_names_promised(name):
    assert name in isotherm.__all__


@pytest.mark.parametrize("name", MODULES)
def test_module_has_a_docstring(name):
    assert (importlib.import_module(name).__doc__ or "").strip()


@pytest.mark.parametrize("package", PACKAGES)
def test_all_equals_the_reexports(package):
    module = importlib.import_module(package)
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    reexports = {
        alias.asname
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname is not None and alias.asname == alias.name
    }
    assert set(getattr(module, "__all__", [])) == reexports
    for name in reexports:
        assert hasattr(module, name)


@pytest.mark.parametrize("package", PACKAGES)
def test_package_init_holds_no_logic(package):
    tree = ast.parse(Path(importlib.import_module(package).__file__).read_text(encoding="utf-8"))
    allowed = (ast.Import, ast.ImportFrom, ast.Assign)
    assert isinstance(tree.body[0], ast.Expr), "a docstring comes first"
    assert all(isinstance(node, allowed) for node in tree.body[1:])


@pytest.mark.parametrize("path", DOCUMENTED)
def test_public_docstring_names_the_arguments_of_its_signature(path):
    thing = DOCUMENTED[path]
    if inspect.isclass(thing) and not is_dataclass(thing):
        assert (thing.__doc__ or "").strip()
    else:
        assert (inspect.getdoc(thing) or "").strip(), "no docstring"
        assert_documents_its_arguments(thing)


def test_docstring_check_can_fail():
    def complete(first, second):
        """Add.

        Args:
            first: One.
            second: Two.
        """

    def lacking(first, second):
        """Add.

        Args:
            first: One.
        """

    assert_documents_its_arguments(complete)
    with pytest.raises(AssertionError, match=r"second"):
        assert_documents_its_arguments(lacking)


@pytest.mark.parametrize("name", isotherm.__all__)
def test_public_function_or_class_made_by_hand_shows_an_example(name):
    thing = getattr(isotherm, name)
    if inspect.isfunction(thing) or (is_dataclass(thing) and can_be_made_by_hand(thing)):
        assert ">>>" in thing.__doc__, "no example"


def can_be_made_by_hand(thing: type) -> bool:
    """Results are made by `solve` and shown in its examples; everything else is made by its user."""
    return thing.__name__ not in {"Certificate", "Check", "Solution", "Status", "TemperaturePath"}


def test_first_line_of_a_public_docstring_fits():
    long = {path: (inspect.getdoc(thing) or "").splitlines()[0] for path, thing in DOCUMENTED.items()}
    assert not {path: line for path, line in long.items() if len(line) > 120}
    assert not {path: line for path, line in long.items() if not line.rstrip().endswith((".", ":", "?", "`"))}


def test_version_is_that_of_the_distribution():
    assert isotherm.__version__ == metadata.version("isotherm")


def test_package_says_that_it_is_typed():
    assert (Path(isotherm.__file__).parent / "py.typed").exists()
