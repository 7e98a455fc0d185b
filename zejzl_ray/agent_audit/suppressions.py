"""``# zejzl: ignore[rule] reason``: a finding that somebody has looked at and accepts."""

import io
import re
import tokenize
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from zejzl_ray.agent_audit.finding import Finding, Level
from zejzl_ray.agent_audit.module import Module

WRONG_SUPPRESSION: Final = "wrong-suppression"
_COMMENT: Final = re.compile(r"#\s*zejzl:\s*ignore\b(?:\[(?P<rules>[^\]]*)\])?(?P<reason>.*)")


@dataclass(frozen=True, slots=True)
class Suppression:
    """One comment.

    Attributes:
        line: where it stands.
        column: from 1.
        covers: the line of code that it speaks of: its own, or the next one where it stands alone.
        rules: the rules it names.
        reason: why; empty if none is given.
    """

    line: int
    column: int
    covers: int
    rules: tuple[str, ...]
    reason: str


def suppressions_of(module: Module) -> list[Suppression]:
    """Return the ignoring comments of a module; what stands in texts is none."""
    if "zejzl:" not in module.text:
        return []
    tokens = list(tokenize.generate_tokens(io.StringIO(module.text).readline))
    code_lines = sorted(
        {
            token.start[0]
            for token in tokens
            if token.type
            not in (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
        }
    )
    found = []
    for token in tokens:
        if token.type == tokenize.COMMENT and (match := _COMMENT.search(token.string)):
            line, offset = token.start
            is_alone = not token.line[:offset].strip()
            after = [other for other in code_lines if other > line] if is_alone else []
            rules = tuple(name.strip() for name in (match["rules"] or "").split(",") if name.strip())
            reason = match["reason"].strip(" \t-:#")
            found.append(Suppression(line, offset + 1, after[0] if after else line, rules, reason))
    return found


def apply_suppressions(
    module: Module, findings: Sequence[Finding], known_rules: Iterable[str]
) -> tuple[list[Finding], int]:
    """Return the findings of a module that are left, those about its comments among them, and how many were ignored.

    A comment without a reason ignores nothing, and one that ignores nothing is a finding itself.
    """
    left = list(findings)
    known = frozenset(known_rules)
    ignored = 0
    told = []
    for comment in suppressions_of(module):
        if not comment.rules or not comment.reason:
            told.append(
                _wrong(
                    module, comment, Level.ERROR,
                    "This comment ignores nothing: it "
                    + ("names no rule." if not comment.rules else "gives no reason."),
                    "Write: # zejzl: ignore[rule] reason",
                )
            )  # fmt: skip
            continue
        for rule in comment.rules:
            kept = [
                one for one in left if not (one.rule == rule and one.line <= comment.covers <= one.end_line)
            ]
            if len(kept) == len(left):
                why = "finds nothing here" if rule in known else "does not exist"
                told.append(
                    _wrong(
                        module, comment, Level.WARNING,
                        f"This comment ignores nothing: the rule {rule!r} {why}.",
                        "Take it away." if rule in known else "The option --rules lists the rules.",
                    )
                )  # fmt: skip
            ignored += len(left) - len(kept)
            left = kept
    return [*left, *told], ignored


def _wrong(module: Module, comment: Suppression, level: Level, message: str, remedy: str) -> Finding:
    return Finding(
        module.path, comment.line, comment.column, WRONG_SUPPRESSION, level, message, remedy, comment.line
    )
