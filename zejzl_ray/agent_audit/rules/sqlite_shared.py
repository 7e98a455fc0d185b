"""One SQLite file, several processes."""

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import ClassVar, Final

from zejzl_ray.agent_audit.finding import Finding, Level
from zejzl_ray.agent_audit.module import CallSite, Module
from zejzl_ray.agent_audit.rule import found
from zejzl_ray.agent_audit.scopes import Scope
from zejzl_ray.agent_audit.time_limits import argument, text_of

_OPENS: Final = re.compile(
    r"(sqlite3(\.dbapi2)?|aiosqlite|apsw|pysqlite3)\.(connect|Connection)|peewee\.SqliteDatabase"
    r"|sqlalchemy(\.ext\.asyncio)?\.create_(async_)?engine|dataset\.connect"
)
_BY_ADDRESS: Final = re.compile(r"sqlalchemy.*|dataset\..*")
_ADDRESS: Final = re.compile(r"sqlite(\+\w+)?:///(?P<path>[^?]*)(\?.*)?")
_STARTS: Final = re.compile(
    r"multiprocessing(\.get_context\(\))?\.(Process|Pool)|multiprocessing\.pool\.Pool"
    r"|concurrent\.futures(\.process)?\.ProcessPoolExecutor|os\.fork|joblib\.Parallel"
)
_REMOTE: Final = "ray.remote"
_MOST_DEPTH: Final = 10


@dataclass(frozen=True, slots=True)
class _Opening:
    module: Module
    site: CallSite
    path: str  # empty where the code does not say it


class SqliteShared:
    """A SQLite file that several processes open."""

    id: ClassVar[str] = "sqlite-shared"
    level: ClassVar[Level] = Level.ERROR
    summary: ClassVar[str] = "A SQLite file that several processes open, which ends in 'database is locked'."
    remedy: ClassVar[str] = "Let one process own the file and the others ask it, or use a database server."

    def check(self, modules: Sequence[Module]) -> Iterable[Finding]:
        """Return the openings of files that more than one process, or more than one module, opens."""
        openings = [opening for module in modules for opening in _openings(module)]
        paths: dict[str, list[_Opening]] = {}
        for opening in openings:
            if opening.path:
                paths.setdefault(opening.path, []).append(opening)
        for opening in openings:
            yield from self._in_processes(opening)
            others = [
                other
                for other in paths.get(opening.path, ())
                if other.module is not opening.module and opening.path
            ]
            if others:
                programs = {one.module.path for one in (opening, *others) if _is_program(one.module)}
                named = ", ".join(sorted({f"{one.module.path}:{one.site.node.lineno}" for one in others})[:3])
                yield found(
                    self, opening.module, opening.site.node, f"{opening.path!r} is opened here and in {named}.",
                    level=Level.ERROR if len(programs) > 1 else Level.WARNING,
                )  # fmt: skip

    def _in_processes(self, opening: _Opening) -> Iterator[Finding]:
        module, site = opening.module, opening.site
        told = repr(opening.path) if opening.path else "A SQLite file"
        started = next((one for one in module.calls if _STARTS.fullmatch(one.name or "")), None)
        if _is_in_remote(module, site.node):
            yield found(self, module, site.node, f"{told} is opened by each worker that Ray starts from this.",
                        level=Level.WARNING)  # fmt: skip
        elif started is not None:
            how = text_of(started.node.func) or started.method
            yield found(
                self, module, site.node,
                f"{told} is opened in code that starts processes too ({how} in line {started.node.lineno}).",
            )  # fmt: skip


def _openings(module: Module) -> Iterator[_Opening]:
    for site in module.calls:
        name = site.name or ""
        if not _OPENS.fullmatch(name):
            continue
        node = argument(site.node, 0, "database", "filename", "url", "dbname")
        path = _path_of(module, node) if node is not None else ""
        if _BY_ADDRESS.fullmatch(name):
            match = _ADDRESS.fullmatch(path)
            if match is None:  # another database, or not known
                continue
            path = match["path"]
        is_in_memory = path == ":memory:" or path.startswith("file::memory:") or "mode=memory" in path
        if is_in_memory or "mode=ro" in path or (_BY_ADDRESS.fullmatch(name) and not path):
            continue
        path = path.removeprefix("file:").partition("?")[0]
        yield _Opening(module, site, str(PurePosixPath(path)) if path else "")


def _path_of(module: Module, node: ast.expr, depth: int = 0) -> str:
    """Return a path that the code spells out: a text, a name of one, ``Path(...)``, ``/`` or ``os.path.join``."""
    if depth > _MOST_DEPTH:
        return ""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return _joined([_path_of(module, side, depth + 1) for side in (node.left, node.right)])
    if isinstance(node, ast.Call):
        name = module.name_of(node.func)
        if name in ("pathlib.Path", "os.path.join", "builtins.str", "pathlib.PurePath"):
            return _joined([_path_of(module, part, depth + 1) for part in node.args])
    if isinstance(node, ast.Name | ast.Attribute):
        values = _values(module, node)
        if len(values) == 1:
            return _path_of(module, values[0], depth + 1)
    return ""


def _joined(parts: list[str]) -> str:
    return str(PurePosixPath(*parts)) if parts and all(parts) else ""


def _values(module: Module, node: ast.Name | ast.Attribute) -> list[ast.expr]:
    """Return the expressions that a name or an attribute of ``self`` is given; none where one is not known."""
    scope: Scope | None = module.scope_of(node)
    bindings = []
    if isinstance(node, ast.Attribute):
        owner = (
            scope.class_of(node.value.id) if scope is not None and isinstance(node.value, ast.Name) else None
        )
        if owner is not None:
            bindings = [
                *owner.bindings.get(node.attr, ()),
                *(pair[0] for pair in owner.attributes.get(node.attr, ())),
            ]
    else:
        while scope is not None and node.id not in scope.bindings:
            scope = scope.parent
        bindings = scope.bindings[node.id] if scope is not None else []
    values = [binding.value for binding in bindings]
    return [value for value in values if value is not None] if None not in values else []


def _is_in_remote(module: Module, node: ast.AST) -> bool:
    for above in module.parents(node):
        if isinstance(above, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for mark in above.decorator_list:
                if module.name_of(mark.func if isinstance(mark, ast.Call) else mark) == _REMOTE:
                    return True
    return False


def _is_program(module: Module) -> bool:
    """Tell whether a file is started by itself: it asks whether its name is ``__main__``."""
    return any(
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Compare)
        and text_of(node.test.left) == "__name__"
        for node in module.tree.body
    )
