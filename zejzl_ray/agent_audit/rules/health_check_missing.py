"""Agents that nobody can ask how they are."""

import ast
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from zejzl_ray.agent_audit.finding import Finding, Level
from zejzl_ray.agent_audit.module import Module
from zejzl_ray.agent_audit.rule import found
from zejzl_ray.agent_audit.scopes import FunctionNode
from zejzl_ray.agent_audit.time_limits import text_of

_AGENT_NAME: Final = re.compile(r"(Base|Abstract)?Agent|\w*Agent(Base)?")
_AGENT_BASE: Final = re.compile(r"\w*Agent(Base)?")
_HEALTH: Final = re.compile(
    r"(?i)_?((\w+_)?health(_\w+)?|is_alive|is_ready|liveness|readiness|heartbeat|ping|self_test|add_check\w*)"
)
_REGISTERS: Final = re.compile(r"add_(health_)?check|register_(health_)?check|add_probe")
_WORKS: Final = re.compile(
    r"(run|start|main|loop|step|act|process|handle|execute|work|consume|listen|receive|think|observe)(_\w+)?"
    r"|on_message|_?(run|main)_loop"
)
_NO_AGENTS: Final = re.compile(
    r"typing\.(Protocol|NamedTuple|TypedDict)|typing_extensions\.\w+|enum\.\w+|builtins\.\w*(Exception|Error)"
    r"|pydantic\..*|msgspec\..*"
)
_OWN: Final = re.compile(r"zejzl_ray\.(agents(\.\w+)*\.)?Agent")  # has health by itself


@dataclass(eq=False, slots=True)
class _Class:
    module: Module
    node: ast.ClassDef
    bases: list[str]  # dotted, or the text that stands there

    def methods(self) -> list[FunctionNode]:
        return [part for part in self.node.body if isinstance(part, FunctionNode)]


class HealthCheckMissing:
    """An agent without a health check."""

    id: ClassVar[str] = "health-check-missing"
    level: ClassVar[Level] = Level.ERROR
    summary: ClassVar[str] = "A class that looks like an agent and has no health check."
    remedy: ClassVar[str] = (
        "Derive it from zejzl_ray's Agent, or give it a method health() that says what it needs."
    )

    def check(self, modules: Sequence[Module]) -> Iterable[Finding]:
        """Return the agents without a check; of a family only those that the others inherit from."""
        classes: dict[str, list[_Class]] = {}
        for module in modules:
            for scope in module.classes.values():
                if isinstance(scope.node, ast.ClassDef):
                    one = _Class(module, scope.node, [_base(module, base) for base in scope.node.bases])
                    classes.setdefault(scope.node.name, []).append(one)
        missing = {
            id(one): one for group in classes.values() for one in group if _is_agent(one, classes) and
            not any(_has_health(each) for each in _family(one, classes))
        }  # fmt: skip
        for one in missing.values():
            family = _family(one, classes)
            if any(_OWN.fullmatch(base) for each in family for base in each.bases):
                continue
            if any(id(each) in missing for each in family if each is not one):
                continue
            unknown = [base for each in family for base in each.bases if _is_unknown(base, classes)]
            told = f"{one.node.name} looks like an agent and has no health check"
            if unknown:
                told += f", unless {unknown[0].rpartition('.')[2]}, which is not looked at, has one"
            level = Level.WARNING if unknown else Level.ERROR
            yield found(self, one.module, one.node, f"{told}.", level=level)


def _base(module: Module, node: ast.expr) -> str:
    if isinstance(node, ast.Subscript):
        node = node.value
    return module.name_of(node) or text_of(node)


def _family(one: _Class, classes: dict[str, list[_Class]]) -> list[_Class]:
    """Return a class and all that it inherits from, as far as they are looked at; found by their names."""
    family: list[_Class] = []
    waiting = [one]
    while waiting:
        if (each := waiting.pop(0)) not in family:
            family.append(each)
            for base in each.bases:
                known = classes.get(base.rpartition(".")[2].lstrip("~"), [])
                same_file = [other for other in known if other.module is each.module]
                waiting += same_file or known
    return family


def _is_agent(one: _Class, classes: dict[str, list[_Class]]) -> bool:
    family = _family(one, classes)
    if any(_NO_AGENTS.fullmatch(base) for each in family for base in each.bases):
        return False
    by_base = any(
        _AGENT_BASE.fullmatch(base.rpartition(".")[2].lstrip("~")) for each in family for base in each.bases
    )
    by_name = _AGENT_NAME.fullmatch(one.node.name) is not None and not one.node.name.startswith("_")
    does_work = any(
        _WORKS.fullmatch(method.name)
        and (isinstance(method, ast.AsyncFunctionDef) or "loop" in method.name or by_base)
        for each in family
        for method in each.methods()
    )
    return (by_base or by_name) and (does_work or _has_unknown_agent_base(one, classes))


def _has_unknown_agent_base(one: _Class, classes: dict[str, list[_Class]]) -> bool:
    return any(
        _AGENT_BASE.fullmatch(base.rpartition(".")[2]) and _is_unknown(base, classes) and bool(one.methods())
        for base in one.bases
    )


def _is_unknown(base: str, classes: dict[str, list[_Class]]) -> bool:
    last = base.rpartition(".")[2].lstrip("~")
    return (
        last not in classes and last not in ("ABC", "object", "Generic", "Thread", "Process") and bool(base)
    )


def _has_health(one: _Class) -> bool:
    if any(_HEALTH.fullmatch(method.name) for method in one.methods()):
        return True
    return any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and _REGISTERS.fullmatch(node.func.attr)
        for node in ast.walk(one.node)
    )
