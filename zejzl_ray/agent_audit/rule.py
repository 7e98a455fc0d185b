"""What a rule is: it looks at one module, or at all of them together."""

import ast
from collections.abc import Iterable, Sequence
from typing import ClassVar, Protocol

from zejzl_ray.agent_audit.finding import Finding, Level
from zejzl_ray.agent_audit.module import Module


class Rule(Protocol):
    """One kind of mistake.

    Attributes:
        id: words with hyphens, as comments and reports name it.
        level: that of its findings, where nothing makes one of them milder.
        summary: what it finds, one sentence.
        remedy: what to do in general, one sentence.
    """

    id: ClassVar[str]
    level: ClassVar[Level]
    summary: ClassVar[str]
    remedy: ClassVar[str]

    def check(self, modules: Sequence[Module]) -> Iterable[Finding]:
        """Return what is wrong in these modules, which are all of one audit."""
        ...


def found(
    rule: Rule, module: Module, node: ast.AST, message: str, *, remedy: str = "", level: Level | None = None
) -> Finding:
    """Return a finding at a node; remedy and level are the rule's where none are given."""
    line, column = module.place(node)
    return Finding(
        path=module.path,
        line=line,
        column=column,
        rule=rule.id,
        level=level or rule.level,
        message=message,
        remedy=remedy or rule.remedy,
        end_line=module.last_line(node),
    )
