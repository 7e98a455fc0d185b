"""The house itself: names, sizes, links, the preservation table, and the one list of operations."""

import ast
import importlib
import inspect
import re
import subprocess
import warnings
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from zejzl_ray.contracts.services import OPERATIONS

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("zejzl_ray", "actors", "serve_apps")
MOST_LINES = 500
MANY_LINES = 300
DRAWERS = {"utils", "util", "helpers", "helper", "common", "manager", "managers", "misc", "base_classes"}

# Whoever adds an operation that anybody may call writes it down here too, so that a person reads it twice.
PUBLIC_OPERATIONS: frozenset[tuple[str, str]] = frozenset()

ACTORS = {
    "core_orchestrator": "CoreOrchestratorActor",
    "resource_manager": "ResourceManagerActor",
    "observability_hub": "ObservabilityHubActor",
    "error_bus": "ErrorBusActor",
    "security_gateway": "SecurityGatewayActor",
}

_REGISTRY = re.compile(
    r"(?i)\b(?:files\.)?pypi\.org|pythonhosted\.org|registry\.npmjs|deb\.debian\.org|(?:--)?(?:extra-)?index-url"
)
# Where people's machines differ: homes, work trees, environments outside the project.
_MACHINE_PATH = re.compile(
    r"(?<![\w.~}/])/(?:home/(?!zejzl\b|me\b)\w+|root|work|opt/(?!legacy\b)\w+|Users/\w+)/"
)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_BACKTICKED = re.compile(r"`([A-Za-z0-9_./-]+\.(?:py|sh|yaml|toml|md|ipynb))(?:::([A-Za-z0-9_]+))?`")
_ROW_ID = re.compile(r"\b([A-Z]{2})-(\d{2})(?: to (?:\1-)?(\d{2}))?")


@cache
def tracked_files() -> tuple[Path, ...]:
    """What git knows or would add; a source archive without git has no such list."""
    done = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard", "-z"],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip("this is no git checkout")
    return tuple(path for name in done.stdout.split("\0") if name and (path := ROOT / name).is_file())


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="ignore")


def modules() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_a_file_holds_one_idea() -> None:
    lengths = {named(path): len(text_of(path).splitlines()) for path in modules()}
    long = {name: lines for name, lines in lengths.items() if lines > MANY_LINES}
    if long:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            warnings.warn(
                f"longer than {MANY_LINES} lines, look whether it is two ideas: {long}", stacklevel=1
            )
    assert not {name: lines for name, lines in lengths.items() if lines > MOST_LINES}


def test_no_module_is_a_drawer() -> None:
    assert not [named(path) for path in modules() if DRAWERS & {path.stem, *path.parent.parts}]


def test_every_package_says_what_it_holds() -> None:
    silent = [
        named(folder)
        for package in PACKAGES
        for folder in [ROOT / package, *(ROOT / package).rglob("*/")]
        if list(folder.glob("*.py"))
        and not ((init := folder / "__init__.py").is_file() and ast.get_docstring(ast.parse(text_of(init))))
    ]
    assert not silent


def test_no_tracked_file_names_a_package_registry() -> None:
    own = Path(__file__)
    found = {named(path) for path in tracked_files() if path != own and _REGISTRY.search(text_of(path))}
    assert not found


def test_no_tracked_file_names_a_path_of_one_machine() -> None:
    own = Path(__file__)
    found = {
        f"{named(path)}: {match.group()}"
        for path in tracked_files()
        if path != own and (match := _MACHINE_PATH.search(text_of(path)))
    }
    assert not found


def test_constraints_hold_names_and_versions_only() -> None:
    lines = [line for line in text_of(ROOT / "constraints.txt").splitlines() if not line.startswith("#")]
    assert lines
    assert not [line for line in lines if not re.fullmatch(r"[a-z0-9-]+==[0-9][\w.]*", line)]


def test_links_of_the_documents_resolve() -> None:
    broken = []
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in _LINK.findall(text_of(page)):
            place, _, anchor = target.partition("#")
            if place.startswith(("http://", "https://", "mailto:")):
                continue
            file = (page.parent / place).resolve() if place else page
            if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors_of(file)):
                broken.append(f"{named(page)}: {target}")
    assert not broken


@cache
def anchors_of(page: Path) -> frozenset[str]:
    titles = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles)


def test_documents_that_the_code_names_exist() -> None:
    missing = {
        f"{named(path)}: {name}"
        for path in modules()
        for name in re.findall(r"\bdocs/[\w/]+\.md\b", text_of(path))
        if not (ROOT / name).is_file()
    }
    assert not missing


def test_the_preservation_table_names_what_exists() -> None:
    page = ROOT / "docs" / "preservation.md"
    missing = []
    for name, test in _BACKTICKED.findall(text_of(page)):
        file = ROOT / name
        if not file.is_file():
            missing.append(name)
        elif test and not re.search(rf"^\s*(?:async )?def {test}\b", text_of(file), re.MULTILINE):
            missing.append(f"{name}::{test}")
    assert not missing


@pytest.mark.parametrize(
    ("prefix", "last"),
    [("SR", 13), ("BA", 39), ("CF", 47), ("PT", 13), ("BE", 7), ("FJ", 6), ("DV", 26), ("BK", 10)],
)
def test_every_old_capability_has_a_row(prefix: str, last: int) -> None:
    found: set[int] = set()
    for line in text_of(ROOT / "docs" / "preservation.md").splitlines():
        if line.startswith("|"):
            for letters, first, end in _ROW_ID.findall(line.split("|")[1]):
                if letters == prefix:
                    found |= set(range(int(first), int(end or first) + 1))
    assert not set(range(1, last + 1)) - found


def test_names_of_operations_are_unique_in_their_service() -> None:
    counts = Counter((operation.service, operation.name) for operation in OPERATIONS)
    assert [name for name, count in counts.items() if count > 1] == []


def test_routes_are_unique() -> None:
    counts = Counter((operation.verb, re.sub(r"\{[^}]+\}", "{}", operation.path)) for operation in OPERATIONS)
    assert [route for route, count in counts.items() if count > 1] == []


def test_operations_are_closed_unless_frozen_as_public() -> None:
    public = {(operation.service, operation.name) for operation in OPERATIONS if operation.is_public}
    assert public == PUBLIC_OPERATIONS
    assert all(operation.scope for operation in OPERATIONS if not operation.is_public)


def test_a_scope_says_service_resource_and_action() -> None:
    wrong = [
        operation.scope
        for operation in OPERATIONS
        if operation.scope and not re.fullmatch(rf"{operation.service}:[a-z_]+:[a-z_]+", operation.scope)
    ]
    assert not wrong


def test_path_fields_are_fields_of_the_request() -> None:
    wrong = [
        operation.name
        for operation in OPERATIONS
        for field in re.findall(r"\{([^}]+)\}", operation.path)
        if field not in operation.request.model_fields
    ]
    assert not wrong


@pytest.mark.parametrize(
    "operation", OPERATIONS, ids=lambda operation: f"{operation.service}.{operation.name}"
)
def test_every_operation_is_a_method_of_its_actor(operation: object) -> None:
    service, name = getattr(operation, "service", ""), getattr(operation, "name", "")
    actor = getattr(importlib.import_module(f"actors.{service}"), ACTORS[service])
    method = getattr(actor, name)
    assert list(inspect.signature(method).parameters) == ["self", "request", "call"]
    assert method.__annotations__["request"] is getattr(operation, "request", None)
    assert method.__annotations__["return"] is getattr(operation, "reply", None)


def test_actors_have_no_public_method_beside_operations_and_stop() -> None:
    extra = {
        f"{service}.{name}"
        for service, actor in ACTORS.items()
        for name in vars(getattr(importlib.import_module(f"actors.{service}"), actor))
        if not name.startswith("_")
    } - {f"{operation.service}.{operation.name}" for operation in OPERATIONS}
    assert extra == {f"{service}.stop" for service in ACTORS}


def test_actors_decide_nothing() -> None:
    deciding = []
    for service, actor in ACTORS.items():
        tree = ast.parse(text_of(ROOT / "actors" / f"{service}.py"))
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == actor]
        deciding += [
            f"{service}: line {node.lineno}"
            for owner in classes
            for node in ast.walk(owner)
            if isinstance(node, (ast.If, ast.For, ast.While, ast.Try))
        ]
    assert not deciding
