"""Placeholders and small sums in the values of a startup configuration.

Five spellings stand in the old files, and all of them are read::

    ${NAME}              the variable, unresolved when it is not set
    ${NAME}+7200         in a number: the sum
    ${NAME+7200}         the same, inside the braces
    ${NAME:-default}     the default when the variable is not set or empty
    ${NAME:default}      the same

A default may itself hold placeholders. ``${A} == 'x'`` and ``!=`` are read where a boolean is wanted.
Variables come in as a value; ``PORT_OFFSET`` is 0 where nobody sets it, since the old launchers took it so.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

BUILT_IN: Final[Mapping[str, str]] = {"PORT_OFFSET": "0"}

TRUE_WORDS: Final = frozenset({"true", "yes", "on", "1", "enabled"})
FALSE_WORDS: Final = frozenset({"false", "no", "off", "0", "disabled", ""})

_MAX_NESTING: Final = 8
_MAX_SUM_LENGTH: Final = 200
_HEAD: Final = re.compile(r"\$\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*")
_SUM: Final = re.compile(r"\s*[+-]?\s*[0-9]{1,12}(\s*[+-]\s*[0-9]{1,12})*\s*", re.ASCII)
_TERM: Final = re.compile(r"([+-]?)\s*([0-9]+)", re.ASCII)
_COMPARISON: Final = re.compile(r"==|!=")

T = TypeVar("T")


@dataclass(frozen=True)
class Evaluated(Generic[T]):
    """The outcome of one expression.

    ``value`` is None when it has none; then either ``unresolved`` names the variables that are not set, or
    ``problem`` says in words what is wrong with the expression.
    """

    value: T | None
    unresolved: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class _Variable:
    name: str
    operator: str  # "", ":" or "+"
    operand: str
    source: str


_Part = str | _Variable


class _BadExpressionError(Exception):
    """The text cannot be read; the argument says why."""


def has_placeholder(text: str) -> bool:
    """Whether the text holds ``${``."""
    return "${" in text


def expand(text: str, environment: Mapping[str, str]) -> Evaluated[str]:
    """Return the text with its placeholders replaced.

    Variables that are not set stay in the text as they are written, and are named in ``unresolved``;
    ``value`` is None only when the text cannot be read.
    """
    unresolved: list[str] = []
    try:
        value = _render(_parse(text), environment, unresolved, 0)
    except _BadExpressionError as problem:
        return Evaluated(None, (), str(problem))
    return Evaluated(value, tuple(dict.fromkeys(unresolved)))


def evaluate_integer(text: str, environment: Mapping[str, str]) -> Evaluated[int]:
    """Return the whole number that a text such as ``${PORT_OFFSET}+7200`` stands for."""
    expanded = expand(text, environment)
    if expanded.value is None or expanded.unresolved:
        return Evaluated(None, expanded.unresolved, expanded.problem)
    total = _sum(expanded.value)
    if total is None:
        shown = f"'{text}'" if expanded.value == text else f"'{text}', which becomes '{expanded.value}',"
        return Evaluated(None, (), f"{shown} is not a sum of whole numbers")
    return Evaluated(total)


def evaluate_boolean(text: str, environment: Mapping[str, str]) -> Evaluated[bool]:
    """Return the truth of a word (true, yes, on, 1, enabled and their opposites) or of a comparison."""
    try:
        left, operator, right = _split(_parse(text))
        unresolved: list[str] = []
        first = _unquoted(_render(left, environment, unresolved, 0))
        second = _unquoted(_render(right, environment, unresolved, 0))
    except _BadExpressionError as problem:
        return Evaluated(None, (), str(problem))
    if unresolved:
        return Evaluated(None, tuple(dict.fromkeys(unresolved)))
    if operator:
        return Evaluated(_is_same(first, second) == (operator == "=="))
    truth = _truth(first)
    return (
        Evaluated(truth) if truth is not None else Evaluated(None, (), f"'{text}' is neither true nor false")
    )


def is_sum(text: str) -> bool:
    """Whether a text has the shape of a number: ``${A}+7200``, ``7200+${A}`` or ``${A+7200}``."""
    try:
        parts = _parse(text)
    except _BadExpressionError:
        return False
    variables = [part for part in parts if isinstance(part, _Variable)]
    if len(text) > _MAX_SUM_LENGTH:
        return False
    written = "".join(part for part in parts if isinstance(part, str)).strip()
    if not variables:
        return False
    if not written:
        return len(variables) == 1 and variables[0].operator == "+"
    return re.fullmatch(r"(\s*[+-]\s*[0-9]+)+|([0-9]+\s*[+-]\s*)+", written, re.ASCII) is not None


def _parse(text: str) -> list[_Part]:
    parts: list[_Part] = []
    at = 0
    while (start := text.find("${", at)) >= 0:
        if start > at:
            parts.append(text[at:start])
        end = _closing_brace(text, start)
        parts.append(_variable(text[start:end]))
        at = end
    if at < len(text):
        parts.append(text[at:])
    return parts


def _closing_brace(text: str, start: int) -> int:
    depth, at = 0, start
    while at < len(text):
        if text.startswith("${", at):
            depth, at = depth + 1, at + 2
            continue
        if text[at] == "}":
            depth -= 1
            if depth == 0:
                return at + 1
        at += 1
    raise _BadExpressionError(f"'{text}' opens a placeholder with '${{' and does not close it")


def _variable(source: str) -> _Variable:
    head = _HEAD.match(source)
    if head is None:
        raise _BadExpressionError(f"'{source}' does not name a variable")
    rest = source[head.end() : -1]
    if not rest:
        return _Variable(head.group(1), "", "", source)
    for written, operator in ((":-", ":"), (":", ":"), ("+", "+")):
        if rest.startswith(written):
            operand = rest[len(written) :]
            if operator == "+" and _sum(operand) is None and not has_placeholder(operand):
                raise _BadExpressionError(f"'{source}' adds something that is not a whole number")
            return _Variable(head.group(1), operator, operand, source)
    raise _BadExpressionError(
        f"'{source}' is not one of the forms ${{V}}, ${{V:-default}}, ${{V:default}}, ${{V+7200}}"
    )


def _render(
    parts: Sequence[_Part], environment: Mapping[str, str], unresolved: list[str], nesting: int
) -> str:
    if nesting > _MAX_NESTING:
        raise _BadExpressionError(f"placeholders are nested deeper than {_MAX_NESTING}")
    return "".join(
        part if isinstance(part, str) else _replaced(part, environment, unresolved, nesting) for part in parts
    )


def _replaced(
    variable: _Variable, environment: Mapping[str, str], unresolved: list[str], nesting: int
) -> str:
    value = environment.get(variable.name, BUILT_IN.get(variable.name))
    if variable.operator == ":":
        return value if value else _render(_parse(variable.operand), environment, unresolved, nesting + 1)
    if value is None:
        unresolved.append(variable.name)
        return variable.source
    if variable.operator == "+":
        operand = _render(_parse(variable.operand), environment, unresolved, nesting + 1)
        total = _sum(f"{value or 0}+{operand}")
        if total is None:
            raise _BadExpressionError(f"'{variable.source}' is not a sum: {variable.name} is '{value}'")
        return str(total)
    return value


def _split(parts: Sequence[_Part]) -> tuple[list[_Part], str, list[_Part]]:
    """Split at the first comparison that stands outside of braces."""
    for index, part in enumerate(parts):
        if isinstance(part, str) and (found := _COMPARISON.search(part)) is not None:
            left: list[_Part] = [*parts[:index], part[: found.start()]]
            right: list[_Part] = [part[found.end() :], *parts[index + 1 :]]
            return left, found.group(), right
    return list(parts), "", []


def _sum(text: str) -> int | None:
    if len(text) > _MAX_SUM_LENGTH or _SUM.fullmatch(text) is None:
        return None
    return sum(int(sign + digits) for sign, digits in _TERM.findall(text))


def _unquoted(text: str) -> str:
    text = text.strip()
    return text[1:-1] if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"" else text


def _truth(word: str) -> bool | None:
    word = word.strip().lower()
    if word in TRUE_WORDS:
        return True
    return False if word in FALSE_WORDS else None


def _is_same(first: str, second: str) -> bool:
    truths = _truth(first), _truth(second)
    return truths[0] == truths[1] if None not in truths else first == second
