"""The house's own rules: who may import whom, and how large a room may be."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = (
    "base",
    "engine",
    "runs",
    "nets",
    "stages",
    "images",
    "evaluation",
    "exchange",
    "experiments",
    "soak",
    "figures",
    "tuning",
    "report",
    "bench",
    "datasets",
    "selftest",
    "commands",
)
"""The packages of swwae/, from the ground up: docs/architecture.md draws them."""

MODULES = sorted([*ROOT.glob("swwae/**/*.py"), *ROOT.glob("generator/*.py")])
BESIDE = sorted([*ROOT.glob("tests/**/*.py"), *ROOT.glob("fork/*.py")])
"""What nobody imports by a package's name, and is read all the same."""


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path): path for path in MODULES}


def imported(path: Path) -> set[str]:
    """The modules of ours that a file imports, anywhere in it."""
    found = set()
    package = name_of(path).split(".")
    if path.name != "__init__.py":
        package.pop()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            inside = {f"{base}.{alias.name}" for alias in node.names}
            found |= inside & NAMES.keys() or {base}
    return found & NAMES.keys()


IMPORTS = {name: imported(path) for name, path in NAMES.items()}


def test_the_floors_are_the_packages():
    packages = {path.parent.name for path in ROOT.glob("swwae/*/__init__.py")}
    assert packages == set(FLOORS)


@pytest.mark.parametrize("floor", FLOORS)
def test_packages_import_only_downwards(floor):
    allowed = FLOORS[: FLOORS.index(floor) + 1]
    upwards = [
        f"{name} imports {other}"
        for name, others in IMPORTS.items()
        for other in others
        if name.startswith(f"swwae.{floor}.") and other.count(".") > 1
        if other.split(".")[1] not in allowed
    ]
    assert upwards == []


def test_no_circle_of_imports():
    left = {name: set(others) - {name} for name, others in IMPORTS.items()}
    while free := [name for name, others in left.items() if not others]:
        for name in free:
            del left[name]
        for others in left.values():
            others.difference_update(free)
    assert left == {}


def test_the_generator_knows_nothing_of_the_library():
    for name, others in IMPORTS.items():
        if name.startswith("generator"):
            assert not [other for other in others if other.startswith("swwae")]


@pytest.mark.parametrize(
    "path", [*MODULES, *BESIDE], ids=lambda path: str(path.relative_to(ROOT))
)
def test_a_long_module_says_why(path):
    """450 lines, unless the docstring gives a reason: "Long, because …"."""
    text = path.read_text(encoding="utf-8")
    doc = ast.get_docstring(ast.parse(text)) or ""
    assert doc, "a module says what it is for"
    assert len(text.splitlines()) <= 450 or "Long, because" in doc


def test_launchers_are_short_and_few():
    launchers = [*ROOT.glob("tools/*.py"), *ROOT.glob("data/**/*.py")]
    assert len(list(ROOT.glob("tools/*.py"))) <= 25
    for path in launchers:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 25, path


def test_no_import_needs_an_excuse():
    for path in [*ROOT.glob("**/*.py")]:
        parts = path.relative_to(ROOT).parts
        if parts[0] in ("tools", "swwae", "generator", "data", "tests", "fork"):
            assert "noqa: " + "E402" not in path.read_text(encoding="utf-8"), path
