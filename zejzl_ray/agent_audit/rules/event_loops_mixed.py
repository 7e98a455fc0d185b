"""Two event loops where one is needed, and what belongs to one used from the other."""

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final

from zejzl_ray.agent_audit.finding import Finding, Level
from zejzl_ray.agent_audit.module import CallSite, Module
from zejzl_ray.agent_audit.rule import found
from zejzl_ray.agent_audit.scopes import FunctionNode, Scope
from zejzl_ray.agent_audit.time_limits import argument, text_of

_RUNS: Final = re.compile(r"asyncio\.(run|Runner\(\)\.run)|uvloop\.run|.*\.(run_until_complete)")
_STARTS: Final = re.compile(
    r"asyncio\.(run|Runner|new_event_loop|set_event_loop)|uvloop\.(run|new_event_loop)|(anyio|trio)\.run"
)
_LOOP_METHODS: Final = frozenset({"run_until_complete", "run_forever"})
_PRIMITIVE: Final = re.compile(
    r"(asyncio\.(\w*Queue|Lock|Event|Condition|(Bounded)?Semaphore|Future)|aiohttp\.ClientSession"
    r"|httpx2?\.AsyncClient|redis\.asyncio\.(Redis|from_url))\(\)"
)
_THREAD_SAFE: Final = frozenset({"empty", "full", "qsize", "is_set", "locked", "done"})
_THREADS: Final = re.compile(r"threading\.(Thread|Timer)|asyncio\.to_thread")
_PATCH: Final = "nest_asyncio.apply"


@dataclass(slots=True)
class _Root:
    """Where a loop or a thread begins: what it runs, and what of the module that calls in turn."""

    place: ast.AST
    is_thread: bool
    functions: set[ast.AST] = field(default_factory=set)


class EventLoopsMixed:
    """A second event loop where there is one already."""

    id: ClassVar[str] = "event-loops-mixed"
    level: ClassVar[Level] = Level.ERROR
    summary: ClassVar[str] = (
        "A second event loop, or something of one loop used from another or from a thread."
    )
    remedy: ClassVar[str] = "Await it in the loop that runs already."

    def check(self, modules: Sequence[Module]) -> Iterable[Finding]:
        """Return where loops are mixed."""
        for module in modules:
            yield from self._nested(module)
            yield from self._shared(module)

    def _nested(self, module: Module) -> Iterator[Finding]:
        for site in module.calls:
            told = text_of(site.node.func) or site.method
            if site.name == _PATCH:
                yield found(
                    self, module, site.node, f"{told} lets loops run inside of one another, out of order.",
                    remedy="Make the callers coroutines, and take it away.",
                )  # fmt: skip
            elif module.is_in_coroutine(site.node) and (
                _STARTS.fullmatch(site.name or "") or (site.method in _LOOP_METHODS and not site.is_awaited)
            ):
                yield found(self, module, site.node, f"{told} in a coroutine starts a second event loop.")

    def _shared(self, module: Module) -> Iterator[Finding]:
        """Tell of locks, queues and clients that two loops, or a loop and a thread, use."""
        roots = list(_roots(module))
        if not roots:
            return
        uses = list(_uses(module))
        made_in = _places_made(module)
        reached = set().union(*(root.functions for root in roots))
        for root in roots:
            told: set[str] = set()
            for owner, site in uses:
                if (
                    site.function not in root.functions
                    or owner in told
                    or made_in.get(owner, set()) & root.functions
                ):
                    continue
                elsewhere = next(
                    (
                        other
                        for name, other in uses
                        if name == owner
                        and other.function not in root.functions
                        and (root.is_thread or other.function in reached)
                    ),
                    None,
                )
                if elsewhere is not None:
                    told.add(owner)
                    where = "a thread" if root.is_thread else "one event loop"
                    yield found(
                        self, module, site.node,
                        f"{owner} is used from {where} here and from another loop in line {elsewhere.node.lineno}.",
                        remedy="Use loop.call_soon_threadsafe or asyncio.run_coroutine_threadsafe, or one loop only.",
                    )  # fmt: skip


def _roots(module: Module) -> Iterator[_Root]:
    """Yield what threads are given to run, and what each ``asyncio.run`` runs."""
    for site in module.calls:
        target: ast.expr | None = None
        is_thread = False
        if _THREADS.fullmatch(site.name or ""):
            place = 1 if site.name in ("threading.Thread", "threading.Timer") else 0
            target, is_thread = argument(site.node, place, "target", "function", "func"), True
        elif site.method == "run_in_executor":
            target, is_thread = argument(site.node, 1, "func"), True
        elif _RUNS.fullmatch(site.name or "") or site.method in _LOOP_METHODS:
            first = argument(site.node, 0, "main", "future")
            target = first.func if isinstance(first, ast.Call) else None
        name = module.name_of(target) if target is not None else None
        if name in module.functions:
            yield _Root(site.node, is_thread, _reach(module, module.functions[name or ""]))
    for dotted, scope in module.classes.items():
        bases = scope.node.bases if isinstance(scope.node, ast.ClassDef) else []
        run = module.functions.get(f"{dotted}.run")
        if run is not None and any(module.name_of(base) == "threading.Thread" for base in bases):
            yield _Root(scope.node, True, _reach(module, run))


def _reach(module: Module, first: FunctionNode) -> set[ast.AST]:
    """Return a function and all of the module that it calls, directly or through others."""
    reached: set[ast.AST] = {first}
    waiting: list[ast.AST] = [first]
    calls: dict[ast.AST | None, list[CallSite]] = {}
    for site in module.calls:
        calls.setdefault(site.function, []).append(site)
    while waiting:
        for site in calls.get(waiting.pop(), ()):
            inner = module.functions.get(site.name or "")
            if inner is not None and inner not in reached:
                reached.add(inner)
                waiting.append(inner)
    return reached


def _uses(module: Module) -> Iterator[tuple[str, CallSite]]:
    """Yield the calls of methods of a loop's things that more than one function can reach, by name."""
    for site in module.calls:
        receiver = site.receiver
        if (
            receiver is None
            or site.method in _THREAD_SAFE
            or not _PRIMITIVE.fullmatch(module.name_of(receiver) or "")
        ):
            continue
        if (owner := _owner(module, receiver)) is not None:
            yield owner, site


def _owner(module: Module, node: ast.expr) -> str | None:
    """Return a name for an attribute of ``self`` or a global; a local variable belongs to its function alone."""
    text = text_of(node)
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        owner = module.scope_of(node).class_of(node.value.id)
        return f"{owner.qualname}.{node.attr}" if owner is not None else None
    if isinstance(node, ast.Name) and text in module.scope_of(module.tree).bindings:
        is_local = any(text in scope.bindings for scope in _inner_scopes(module, node))
        return None if is_local else text
    return None


def _inner_scopes(module: Module, node: ast.AST) -> Iterator[Scope]:
    scope = module.scope_of(node)
    while scope.parent is not None:
        yield scope
        scope = scope.parent


def _places_made(module: Module) -> dict[str, set[ast.AST]]:
    """Return in which functions each thing is made: one that a loop makes for itself is its own."""
    made: dict[str, set[ast.AST]] = {}
    for node in module.nodes:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            function = module.function_of(node)
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                owner = _owner(module, target)
                if owner is not None and function is not None and not _is_none(node.value):
                    made.setdefault(owner, set()).add(function)
    return made


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None
