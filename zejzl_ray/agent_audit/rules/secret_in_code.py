"""Passwords, tokens and keys that whoever reads the code can use."""

import ast
from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar

from zejzl_ray.agent_audit.finding import Finding, Level
from zejzl_ray.agent_audit.module import Module
from zejzl_ray.agent_audit.rule import found
from zejzl_ray.agent_audit.rules.secret_shapes import is_secret_name, is_secret_value, shapes_in
from zejzl_ray.agent_audit.time_limits import argument


class SecretInCode:
    """A secret that stands in the source."""

    id: ClassVar[str] = "secret-in-code"
    level: ClassVar[Level] = Level.ERROR
    summary: ClassVar[str] = "A password, token or key that stands in the source, in a comment or a text."
    remedy: ClassVar[str] = (
        "Revoke it, keep the new one outside of the code, and read it when the agent starts."
    )

    def check(self, modules: Sequence[Module]) -> Iterable[Finding]:
        """Return the secrets; no finding repeats one."""
        for module in modules:
            named = list(self._named(module))
            yield from named
            lines = {line for finding in named for line in range(finding.line, finding.end_line + 1)}
            for line, column, kind in _places(module.text):
                if line not in lines:
                    yield Finding(
                        module.path, line, column, self.id, self.level, f"This has the shape of {kind}.",
                        self.remedy, line,
                    )  # fmt: skip

    def _named(self, module: Module) -> Iterator[Finding]:
        for node in module.nodes:
            for name, value in _pairs(module, node):
                text = _text(value)
                if text and is_secret_name(name) and (is_secret_value(name, text) or shapes_in(text)):
                    yield found(self, module, value, f"The value of {name!r} stands in the source.")


def _pairs(module: Module, node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Yield what a node gives a name to, with the name."""
    if isinstance(node, ast.Assign) and not _is_in_enumeration(module, node):
        for target in node.targets:
            yield from ((name, node.value) for name in _names(target))
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        yield from ((name, node.value) for name in _names(node.target) if node.value is not None)
    elif isinstance(node, ast.NamedExpr):
        yield node.target.id, node.value
    elif isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            yield (_text(key) if key is not None else ""), value
    elif isinstance(node, ast.keyword):
        yield node.arg or "", node.value
    elif isinstance(node, ast.arguments):
        positional = [*node.posonlyargs, *node.args]
        pairs = [
            *zip(positional[len(positional) - len(node.defaults) :], node.defaults, strict=True),
            *zip(node.kwonlyargs, node.kw_defaults, strict=True),
        ]
        yield from ((one.arg, default) for one, default in pairs if default is not None)
    elif isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], ast.Eq | ast.NotEq):
        yield from ((name, node.comparators[0]) for name in _names(node.left))
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
        last = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
        default = argument(node, 1, "default")
        if last in ("getenv", "get", "setdefault") and default is not None and node.args:
            yield _text(node.args[0]), default


def _names(target: ast.expr) -> Iterator[str]:
    if isinstance(target, ast.Name):
        yield target.id
    elif isinstance(target, ast.Attribute):
        yield target.attr
    elif isinstance(target, ast.Subscript):
        yield _text(target.slice)


def _text(node: ast.expr) -> str:
    """Return a text or bytes as it is written; empty for anything else."""
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            return node.value
        if isinstance(node.value, bytes):
            return node.value.decode("latin-1")
    return ""


def _is_in_enumeration(module: Module, node: ast.AST) -> bool:
    """The members of an enumeration are names of things."""
    owner = next(module.parents(node), None)
    return isinstance(owner, ast.ClassDef) and any(
        (module.name_of(base) or "").startswith("enum.") for base in owner.bases
    )


def _places(text: str) -> Iterator[tuple[int, int, str]]:
    for start, kind in shapes_in(text):
        line = text.count("\n", 0, start) + 1
        yield line, start - (text.rfind("\n", 0, start) + 1) + 1, kind
