"""One parsed file, and the questions that rules ask about it."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from zejzl_ray.agent_audit.resolver import Resolver
from zejzl_ray.agent_audit.scopes import (
    COMPREHENSIONS,
    LOCAL,
    Binding,
    FunctionNode,
    Scope,
    bind_parameters,
    bind_statement,
)

_WRAPPERS: Final = frozenset({"wait_for", "shield"})
_LOOPS: Final = (ast.For, ast.AsyncFor, ast.While)


@dataclass(frozen=True, slots=True)
class CallSite:
    """One call.

    Attributes:
        node: the call.
        function: the function or lambda whose body it is in; None at the top of the module or of a class.
        name: dotted name of what is called, see ``Resolver.resolve``.
        is_awaited: its result is awaited on the spot.
    """

    node: ast.Call
    function: FunctionNode | ast.Lambda | None
    name: str | None
    is_awaited: bool

    @property
    def method(self) -> str:
        """The last name of what is called: ``recv`` of ``self.sock.recv``."""
        function = self.node.func
        if isinstance(function, ast.Attribute):
            return function.attr
        return function.id if isinstance(function, ast.Name) else ""

    @property
    def receiver(self) -> ast.expr | None:
        """What stands before the last name; None for a plain name."""
        return self.node.func.value if isinstance(self.node.func, ast.Attribute) else None


class Module:
    """A file as a tree with scopes; reading it runs nothing of it.

    Attributes:
        path: as it was reached.
        text: its source.
        tree: its syntax.
        functions: all functions and methods by their dotted name, which begins with ``~``.
        classes: the scopes of all classes by their dotted name.
        calls: all calls in the order of their place.
        nodes: all nodes, outer ones first.
    """

    def __init__(self, path: str, text: str, tree: ast.Module) -> None:
        self.path = path
        self.text = text
        self.tree = tree
        self._lines = text.split("\n")
        self._parents: dict[ast.AST, ast.AST] = {}
        self._scopes: dict[ast.AST, Scope] = {}
        self._functions_of: dict[ast.AST, FunctionNode | ast.Lambda | None] = {}
        self.functions: dict[str, FunctionNode] = {}
        self.classes: dict[str, Scope] = {}
        self.nodes: list[ast.AST] = []
        self._build()
        self._resolver = Resolver(self.classes)

    @cached_property
    def calls(self) -> list[CallSite]:
        """All calls of the module."""
        return [
            CallSite(node, self.function_of(node), self.name_of(node.func), self._is_awaited(node))
            for node in self.nodes
            if isinstance(node, ast.Call)
        ]

    def name_of(self, node: ast.expr) -> str | None:
        """Return the dotted name of what an expression stands for, or None."""
        return self._resolver.resolve(node, self._scopes[node]) if node in self._scopes else None

    def function_of(self, node: ast.AST) -> FunctionNode | ast.Lambda | None:
        """Return the function or lambda in whose body a node is executed."""
        return self._functions_of[node]

    def scope_of(self, node: ast.AST) -> Scope:
        """Return the scope in which a node is evaluated."""
        return self._scopes[node]

    def parents(self, node: ast.AST) -> Iterator[ast.AST]:
        """Yield the nodes around a node, the nearest first."""
        while (above := self._parents.get(node)) is not None:
            yield above
            node = above

    def around(self, node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
        """Yield each node around with the part of it that holds the node, up to the function that executes it."""
        function = self.function_of(node)
        below = node
        for above in self.parents(node):
            if above is function:
                return
            yield above, below
            below = above

    def is_in_loop(self, node: ast.AST) -> bool:
        """Tell whether a loop of the same function repeats a node."""
        return any(isinstance(above, _LOOPS) and below in above.body for above, below in self.around(node))

    def is_in_coroutine(self, node: ast.AST) -> bool:
        """Tell whether a node is executed by the body of an ``async def`` itself."""
        return isinstance(self.function_of(node), ast.AsyncFunctionDef)

    def place(self, node: ast.AST) -> tuple[int, int]:
        """Return line and column of a node, from 1, the column in characters."""
        line = getattr(node, "lineno", 1)
        offset = getattr(node, "col_offset", 0)
        return line, len(self._lines[line - 1].encode()[:offset].decode(errors="ignore")) + 1

    def last_line(self, node: ast.AST) -> int:
        """Return the last line of a node; of a class, function or other block, that of its first line."""
        line: int = getattr(node, "lineno", 1)
        if isinstance(node, ast.stmt | ast.ExceptHandler) and hasattr(node, "body"):
            return line
        return getattr(node, "end_lineno", None) or line

    def imports(self, *packages: str) -> bool:
        """Tell whether the module imports one of these packages, or something of it."""
        return any(
            name == package or name.startswith(f"{package}.")
            for name in self._imported
            for package in packages
        )

    @cached_property
    def generators(self) -> frozenset[ast.AST]:
        """The functions that yield; calling one runs nothing of it."""
        yielding = [node for node in self.nodes if isinstance(node, ast.Yield | ast.YieldFrom)]
        return frozenset(function for node in yielding if (function := self.function_of(node)) is not None)

    @cached_property
    def _imported(self) -> frozenset[str]:
        return frozenset(
            [
                *(alias.name for node in self.nodes if isinstance(node, ast.Import) for alias in node.names),
                *(
                    node.module or ""
                    for node in self.nodes
                    if isinstance(node, ast.ImportFrom) and not node.level
                ),
            ]
        )

    def _is_awaited(self, node: ast.AST) -> bool:
        """Tell whether a coroutine is awaited on the spot, itself or within ``wait_for`` or ``shield``."""
        above = self._parents.get(node)
        if isinstance(above, ast.Call) and above.args[:1] == [node]:
            called = above.func
            if (called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")) in _WRAPPERS:
                above = self._parents.get(above)
        return isinstance(above, ast.Await)

    def _build(self) -> None:
        top = Scope(self.tree, None, "")
        self._scopes[self.tree] = top
        self._functions_of[self.tree] = None
        waiting: list[tuple[ast.AST, ast.AST, Scope, FunctionNode | ast.Lambda | None]] = [
            (child, self.tree, top, None) for child in reversed(list(ast.iter_child_nodes(self.tree)))
        ]
        self.nodes.append(self.tree)
        while waiting:  # a loop and not recursion: generated code nests deeper than Python's stack
            node, parent, scope, function = waiting.pop()
            self._parents[node] = parent
            self._scopes[node] = scope
            self._functions_of[node] = function
            self.nodes.append(node)
            bind_statement(scope, node)
            if isinstance(node, ast.Global):
                scope.globals.update(node.names)
            elif isinstance(node, ast.Nonlocal):
                scope.nonlocals.update(node.names)
            inner, runs = self._open(node, scope, function)
            own = set(self._own_parts(node))
            for child in reversed(list(ast.iter_child_nodes(node))):
                is_own = child in own
                waiting.append((child, node, inner if is_own else scope, runs if is_own else function))

    def _open(
        self, node: ast.AST, scope: Scope, function: FunctionNode | ast.Lambda | None
    ) -> tuple[Scope, FunctionNode | ast.Lambda | None]:
        """Return the scope of a node's own parts and the function that executes them."""
        if isinstance(node, FunctionNode | ast.ClassDef):
            qualname = f"{scope.qualname}.{node.name}".lstrip(".")
            inner = Scope(node, scope, qualname)
            scope.bind(node.name, Binding(dotted=f"{LOCAL}{qualname}"))
            if isinstance(node, ast.ClassDef):
                self.classes[f"{LOCAL}{qualname}"] = inner
                return inner, function
            self.functions[f"{LOCAL}{qualname}"] = node
            bind_parameters(inner, node.args)
            return inner, node
        if isinstance(node, ast.Lambda):
            inner = Scope(node, scope, scope.qualname)
            bind_parameters(inner, node.args)
            return inner, node
        if isinstance(node, COMPREHENSIONS):
            return Scope(node, scope, scope.qualname), function
        return scope, function

    @staticmethod
    def _own_parts(node: ast.AST) -> list[ast.AST]:
        """Return the children of a node that are in its own scope; defaults and decorators are in the one around."""
        if isinstance(node, FunctionNode | ast.ClassDef):
            return list(node.body)
        if isinstance(node, ast.Lambda):
            return [node.body]
        return list(ast.iter_child_nodes(node)) if isinstance(node, COMPREHENSIONS) else []
