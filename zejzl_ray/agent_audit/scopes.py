"""Names of one module: in which scope each is bound, and to what."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
ScopeNode = ast.Module | ast.ClassDef | FunctionNode | ast.Lambda | ast.expr

COMPREHENSIONS: Final = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
LOCAL: Final = "~"  # first letter of the dotted name of something that the module itself defines


@dataclass(frozen=True, slots=True)
class Binding:
    """What a name was given: a dotted name, an expression, a type that it is said to have, or nothing that is known."""

    dotted: str = ""
    value: ast.expr | None = None
    annotation: ast.expr | None = None


@dataclass(eq=False, slots=True)
class Scope:
    """A module, class, function, lambda or comprehension, and the names that are bound in it."""

    node: ScopeNode
    parent: "Scope | None"
    qualname: str
    bindings: dict[str, list[Binding]] = field(default_factory=dict)
    globals: set[str] = field(default_factory=set)
    nonlocals: set[str] = field(default_factory=set)
    attributes: dict[str, list[tuple[Binding, "Scope"]]] = field(
        default_factory=dict
    )  # of a class: self.x = ...

    @property
    def is_class(self) -> bool:
        """It is the body of a class, which its methods do not see."""
        return isinstance(self.node, ast.ClassDef)

    @property
    def self_name(self) -> str:
        """Name of the first parameter of a method; empty for anything else."""
        if isinstance(self.node, FunctionNode) and self.parent is not None and self.parent.is_class:
            arguments = [*self.node.args.posonlyargs, *self.node.args.args]
            is_static = any(
                isinstance(mark, ast.Name) and mark.id == "staticmethod" for mark in self.node.decorator_list
            )
            if arguments and not is_static:
                return arguments[0].arg
        return ""

    def class_of(self, name: str) -> "Scope | None":
        """Return the class whose instance this name is, if it is the ``self`` of a method around here."""
        scope: Scope | None = self
        while scope is not None:
            if scope.self_name == name and name:
                return scope.parent
            if not scope.is_class and name in scope.bindings:
                return None
            scope = scope.parent
        return None

    def bind(self, name: str, binding: Binding) -> None:
        """Note that a name is given something here, or in the scope that a ``global`` names."""
        scope = self
        if name in self.globals:
            while scope.parent is not None:
                scope = scope.parent
        elif name in self.nonlocals and self.parent is not None:
            self.parent.bind(name, binding)
            return
        scope.bindings.setdefault(name, []).append(binding)


def bind_parameters(scope: Scope, arguments: ast.arguments) -> None:
    """Bind the parameters of a function or lambda in its scope, to the types they are said to have."""
    for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        scope.bind(argument.arg, Binding(annotation=argument.annotation))
    for extra in (arguments.vararg, arguments.kwarg):
        if extra is not None:
            scope.bind(extra.arg, Binding())


def bind_statement(scope: Scope, node: ast.AST) -> None:
    """Bind what one node, without those inside of it, gives names to."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        _bind_import(scope, node)
    elif isinstance(node, ast.Assign):
        for target in node.targets:
            bind_target(scope, target, Binding(value=node.value))
    elif isinstance(node, ast.AnnAssign):
        bind_target(scope, node.target, Binding(value=node.value, annotation=node.annotation))
    elif isinstance(node, ast.NamedExpr):
        inner = scope
        while isinstance(inner.node, COMPREHENSIONS) and inner.parent is not None:
            inner = inner.parent
        bind_target(inner, node.target, Binding(value=node.value))
    elif isinstance(node, ast.AugAssign | ast.For | ast.AsyncFor | ast.comprehension):
        bind_target(scope, node.target, Binding())
    elif isinstance(node, ast.withitem) and node.optional_vars is not None:
        bind_target(scope, node.optional_vars, Binding(value=node.context_expr))
    elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
        scope.bind(node.name, Binding())
    elif isinstance(node, ast.MatchMapping) and node.rest:
        scope.bind(node.rest, Binding())


def _bind_import(scope: Scope, node: ast.Import | ast.ImportFrom) -> None:
    if isinstance(node, ast.Import):
        for alias in node.names:
            name = alias.asname or alias.name.partition(".")[0]
            scope.bind(name, Binding(dotted=alias.name if alias.asname else name))
        return
    package = "." * node.level + (node.module or "")
    dot = "" if package.endswith(".") else "."
    for alias in node.names:
        scope.bind(alias.asname or alias.name, Binding(dotted=f"{package}{dot}{alias.name}"))


def bind_target(scope: Scope, target: ast.expr, binding: Binding) -> None:
    """Bind a name, each name of a tuple, or an attribute of ``self``."""
    if isinstance(target, ast.Name):
        scope.bind(target.id, binding)
    elif isinstance(target, ast.Tuple | ast.List):
        for inner, one in zip(target.elts, _parts(binding, len(target.elts)), strict=True):
            bind_target(scope, inner, one)
    elif isinstance(target, ast.Starred):
        bind_target(scope, target.value, Binding())
    elif isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
        owner = scope.class_of(target.value.id)
        if owner is not None:
            owner.attributes.setdefault(target.attr, []).append((binding, scope))


def _parts(binding: Binding, count: int) -> Iterator[Binding]:
    value = binding.value
    is_alike = isinstance(value, ast.Tuple | ast.List) and len(value.elts) == count
    for index in range(count):
        if is_alike and isinstance(value, ast.Tuple | ast.List):
            yield Binding(value=value.elts[index])
        else:
            yield Binding()
