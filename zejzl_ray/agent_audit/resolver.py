"""What an expression stands for, as a dotted name: ``socket.socket().recv`` is a method of what that call returns."""

import ast
import builtins
from typing import Final

from zejzl_ray.agent_audit.scopes import LOCAL, Binding, Scope

_MOST_DEPTH: Final = 40  # deeper chains stand for nothing that a rule knows
_TYPE_WRAPPERS: Final = frozenset({"Optional", "Annotated", "Final", "ClassVar", "Union"})


class Resolver:
    """Follows imports, aliases, types and attributes of ``self`` through one module.

    Args:
        classes: the classes of the module by their dotted name.
    """

    def __init__(self, classes: dict[str, Scope]) -> None:
        self._classes = classes
        self._known: dict[tuple[int, str], str | None] = {}
        self._open: set[tuple[int, str]] = set()

    def resolve(self, node: ast.expr, scope: Scope, depth: int = 0) -> str | None:
        """Return the dotted name of what an expression stands for.

        A call adds ``()``, so that what it returns has a name too. What the module defines begins with ``~``, a
        builtin with ``builtins.``. None where it is not known, or could be different things.
        """
        if depth > _MOST_DEPTH:
            return None
        if isinstance(node, ast.Name):
            return self._name(node.id, scope, depth)
        if isinstance(node, ast.Attribute):
            return self._attribute(node, scope, depth)
        if isinstance(node, ast.Call):
            called = self.resolve(node.func, scope, depth + 1)
            return f"{called}()" if called else None
        if isinstance(node, ast.Await | ast.NamedExpr):
            return self.resolve(node.value, scope, depth + 1)
        if isinstance(node, ast.Subscript):
            base = self.resolve(node.value, scope, depth + 1)
            return (
                base if base and not base.endswith("()") else None
            )  # Queue[int] is Queue; queues[0] is no list
        if isinstance(node, ast.BoolOp):
            return _only([self.resolve(value, scope, depth + 1) for value in node.values], is_strict=False)
        if isinstance(node, ast.IfExp):
            return _only(
                [self.resolve(value, scope, depth + 1) for value in (node.body, node.orelse)], is_strict=False
            )
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            left = self.resolve(node.left, scope, depth + 1)
            return left if left == "pathlib.Path()" else None
        return None

    def instance_of(self, annotation: ast.expr, scope: Scope, depth: int = 0) -> str | None:
        """Return the dotted name of an instance of an annotated type; ``X | None`` counts as X."""
        if depth > _MOST_DEPTH:
            return None
        if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
            try:
                annotation = ast.parse(annotation.value, mode="eval").body
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                return None
        if isinstance(annotation, ast.BinOp):
            sides = [annotation.left, annotation.right]
            return _only([self.instance_of(side, scope, depth + 1) for side in sides], is_strict=False)
        if isinstance(annotation, ast.Subscript):
            base = self.resolve(annotation.value, scope, depth + 1)
            if base and base.rpartition(".")[2] in _TYPE_WRAPPERS:
                inner = annotation.slice
                parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
                if base.endswith("Annotated"):
                    parts = parts[:1]
                return _only([self.instance_of(part, scope, depth + 1) for part in parts], is_strict=False)
            return f"{base}()" if base else None
        if isinstance(annotation, ast.Name | ast.Attribute):
            base = self.resolve(annotation, scope, depth + 1)
            return f"{base}()" if base else None
        return None

    def _name(self, name: str, scope: Scope, depth: int) -> str | None:
        if (owner := scope.class_of(name)) is not None:
            return f"{LOCAL}{owner.qualname}()"
        place: Scope | None = scope
        while place is not None:
            is_seen = place is scope or not place.is_class
            if is_seen and name in place.bindings and name not in place.globals:
                return self._bound(place, name, depth)
            if place.parent is None and "*" in place.bindings and not hasattr(builtins, name):
                return None
            place = place.parent
        return f"builtins.{name}"

    def _attribute(self, node: ast.Attribute, scope: Scope, depth: int) -> str | None:
        base = self.resolve(node.value, scope, depth + 1)
        if base is None:
            return None
        dotted = base.removesuffix("()")
        if dotted not in self._classes:
            return f"{base}.{node.attr}"
        for owner in self.lineage(dotted):
            if node.attr in owner.attributes:
                return self._held(owner, node.attr, depth)
            if node.attr in owner.bindings:
                return self._bound(owner, node.attr, depth)
        return f"{dotted}.{node.attr}"

    def lineage(self, dotted: str) -> list[Scope]:
        """Return a class of the module and those that it inherits from, as far as they are of the module too."""
        found: list[Scope] = []
        waiting = [dotted]
        while waiting and len(found) < _MOST_DEPTH:
            owner = self._classes.get(waiting.pop(0))
            if owner is not None and owner not in found and isinstance(owner.node, ast.ClassDef):
                found.append(owner)
                bases = [self.resolve(base, owner.parent or owner) for base in owner.node.bases]
                waiting += [base for base in bases if base is not None]
        return found

    def _bound(self, place: Scope, name: str, depth: int) -> str | None:
        pairs = [(binding, place) for binding in place.bindings[name]]
        return self._remember(place, name, pairs, depth)

    def _held(self, owner: Scope, name: str, depth: int) -> str | None:
        pairs = [(binding, owner) for binding in owner.bindings.get(name, ())]
        return self._remember(owner, f".{name}", [*pairs, *owner.attributes[name]], depth)

    def _remember(
        self, place: Scope, name: str, pairs: list[tuple[Binding, Scope]], depth: int
    ) -> str | None:
        key = (id(place), name)
        if key in self._known:
            return self._known[key]
        if key in self._open:  # x = x.y
            return None
        self._open.add(key)
        values = [self._value(binding, scope, depth + 1) for binding, scope in pairs if not _is_none(binding)]
        self._open.discard(key)
        self._known[key] = _only(values, is_strict=True)
        return self._known[key]

    def _value(self, binding: Binding, scope: Scope, depth: int) -> str | None:
        found = binding.dotted or None
        if binding.value is not None:
            found = self.resolve(binding.value, scope, depth)
        if found is None and binding.annotation is not None:
            # That of a parameter is read around its function, where the parameter does not hide its type's name.
            if binding.value is None and scope.parent is not None:
                found = self.instance_of(binding.annotation, scope.parent, depth)
            found = found or self.instance_of(binding.annotation, scope, depth)
        return found


def _is_none(binding: Binding) -> bool:
    return (
        isinstance(binding.value, ast.Constant) and binding.value.value is None and binding.annotation is None
    )


def _only(values: list[str | None], *, is_strict: bool) -> str | None:
    """Return the one thing that all are; not strict, those that are not known do not count."""
    known = {value for value in values if value is not None}
    if len(known) != 1 or (is_strict and None in values):
        return None
    return known.pop()
