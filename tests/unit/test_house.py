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

from zejzl_ray.contracts.operation import Operation
from zejzl_ray.contracts.services import (
    AGENT_HOST_OPERATIONS,
    BY_SERVICE,
    NODE_AGENT_OPERATIONS,
    OPERATIONS,
    SERVICE_NAMES,
    audit_operations,
    stop_operation,
)
from zejzl_ray.observability.service import ObservabilityHub
from zejzl_ray.orchestrator.service import CoreOrchestrator
from zejzl_ray.security.service import SecurityGateway

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("zejzl_ray", "actors", "serve_apps")
MOST_LINES = 500
MANY_LINES = 300
DRAWERS = {"utils", "util", "helpers", "helper", "common", "manager", "managers", "misc", "base_classes"}

# Whoever adds an operation that anybody may call writes it down here too, so that a person reads it twice.
PUBLIC_OPERATIONS: frozenset[tuple[str, str]] = frozenset(
    {
        ("security_gateway", "issue_token"),
        ("security_gateway", "refresh_tokens"),
        ("security_gateway", "get_keys"),
        ("security_gateway", "request_enrolment"),
    }
)

ACTORS = {
    "core_orchestrator": "CoreOrchestratorActor",
    "resource_manager": "ResourceManagerActor",
    "observability_hub": "ObservabilityHubActor",
    "error_bus": "ErrorBusActor",
    "security_gateway": "SecurityGatewayActor",
    "node_agent": "NodeAgentActor",
    "agent_host": "AgentHostActor",
}
LOGIC: dict[type, str] = {
    CoreOrchestrator: "core_orchestrator",
    ObservabilityHub: "observability_hub",
    SecurityGateway: "security_gateway",
}
# What the shell does for every service. The gateway keeps the trail of all of them, its own included.
OF_SHELLS = {
    operation
    for service in SERVICE_NAMES
    for operation in (*audit_operations(service), stop_operation(service))
    if service != "security_gateway" or operation.name == "stop"
}
# Every operation that an actor has, those over handles only and the node agents' too.
ALL = tuple(operation for operations in BY_SERVICE.values() for operation in operations.values())

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


# How the inventories number their capabilities: from 1 to the last one, some with gaps that they have left free.
CAPABILITIES: dict[str, tuple[range, ...]] = {
    "SR": (range(1, 14),),
    "BA": (range(1, 40),),
    "CF": (range(1, 48),),
    "PT": (range(1, 14),),
    "BE": (range(1, 8),),
    "FJ": (range(1, 7),),
    "DV": (range(1, 27),),
    "BK": (range(1, 11),),
    "AA": (range(1, 15),),
    "TR": (range(1, 16),),
    "SE": (range(1, 78),),
    "MB": (range(1, 28), range(30, 36), range(40, 53), range(60, 66)),
    "EX": (range(1, 9), range(10, 14)),
    "LG": (range(1, 17),),
    "PF": (range(1, 9), range(10, 16), range(20, 27), range(30, 31)),
    "DD": (range(1, 10),),
    "FA": (range(1, 34),),
    "LO": (range(1, 11),),
}


@pytest.mark.parametrize("prefix", CAPABILITIES)
def test_every_old_capability_has_a_row(prefix: str) -> None:
    found: set[int] = set()
    for line in text_of(ROOT / "docs" / "preservation.md").splitlines():
        if line.startswith("|"):
            for letters, first, end in _ROW_ID.findall(line.split("|")[1]):
                if letters == prefix:
                    found |= set(range(int(first), int(end or first) + 1))
    wanted = {number for numbers in CAPABILITIES[prefix] for number in numbers}
    assert not wanted - found
    assert not found - wanted


def test_names_of_operations_are_unique_in_their_service() -> None:
    listed = (*OPERATIONS, *NODE_AGENT_OPERATIONS, *AGENT_HOST_OPERATIONS)
    counts = Counter((operation.service, operation.name) for operation in listed)
    assert [name for name, count in counts.items() if count > 1] == []
    assert sorted(operation.key for operation in listed) == sorted(operation.key for operation in ALL)


def test_routes_are_unique() -> None:
    counts = Counter(
        (operation.verb, re.sub(r"\{[^}]+\}", "{}", operation.path)) for operation in ALL if operation.path
    )
    assert [route for route, count in counts.items() if count > 1] == []


def test_operations_are_closed_unless_frozen_as_public() -> None:
    public = {(operation.service, operation.name) for operation in ALL if operation.is_public}
    assert public == PUBLIC_OPERATIONS
    assert all(operation.scope for operation in ALL if not operation.is_public)


def test_what_ends_a_service_is_no_route_nor_is_mail_nor_what_hosts_tell_of_it() -> None:
    over_handles_only = {operation.key for operation in ALL if not operation.path}
    assert over_handles_only == {
        *(f"{service}.stop" for service in ACTORS), "node_agent.health", "node_agent.read_logs", "node_agent.snapshot",
        "agent_host.health", "agent_host.open_mail", "agent_host.deliver_mail", "agent_host.hold_line",
        "observability_hub.report_waits", "observability_hub.report_performance",
    }  # fmt: skip


def test_a_scope_says_service_resource_and_action() -> None:
    wrong = [
        scope
        for operation in ALL
        for scope in (operation.scope, operation.own_scope)
        if scope and not re.fullmatch(rf"{operation.service}:[a-z_]+:[a-z_]+", scope)
    ]
    assert not wrong


def test_path_fields_are_fields_of_the_request() -> None:
    wrong = [
        operation.name
        for operation in ALL
        for field in re.findall(r"\{([^}]+)\}", operation.path)
        if field not in operation.request.model_fields
    ]
    assert not wrong


def actor_of(service: str) -> type:
    actor: type = getattr(importlib.import_module(f"actors.{service}"), ACTORS[service])
    return actor


@pytest.mark.parametrize("operation", ALL, ids=lambda operation: operation.key)
def test_every_operation_is_a_method_of_its_actor(operation: Operation) -> None:
    method = getattr(actor_of(operation.service), operation.name)
    assert list(inspect.signature(method).parameters) == ["self", "request", "call"]
    assert method.__annotations__["request"] is operation.request
    assert method.__annotations__["return"] is operation.reply


@pytest.mark.parametrize("logic", LOGIC, ids=lambda logic: logic.__name__)
def test_every_operation_is_a_method_of_the_logic_behind_its_actor(logic: type) -> None:
    for operation in BY_SERVICE[LOGIC[logic]].values():
        if operation not in OF_SHELLS:
            method = getattr(logic, operation.name)
            assert list(inspect.signature(method).parameters) == ["self", "request", "call"], operation.name
            assert method.__annotations__["request"] is operation.request, operation.name
            assert method.__annotations__["return"] is operation.reply, operation.name


def test_actors_have_no_method_beside_their_operations() -> None:
    # Those with an underscore too: whoever has a handle can call them.
    held = {
        f"{service}.{name}"
        for service in ACTORS
        for name, value in inspect.getmembers(actor_of(service), callable)
        if not (name.startswith("__") and name.endswith("__"))
    }
    assert held == {operation.key for operation in ALL}


def test_every_method_of_an_actor_is_checked_before_it_runs() -> None:
    unchecked = {
        operation.key
        for operation in ALL
        if getattr(actor_of(operation.service), operation.name).__code__.co_name != "checked"
    }
    assert unchecked == set()


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
