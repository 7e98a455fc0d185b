"""Typed reading of single values: each fault becomes a finding with its place, and the reading goes on.

Null means absent everywhere. A value that the fleet uses (a port, a flag, a dependency, ...) must resolve, or
it is an error; what is only handed on to agents (environment, config) may hold unset variables, which is a
warning.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeVar

from zejzl_ray.fleet.document import Entry, Items, Node, Scalar, Table, is_null, kind_of
from zejzl_ray.fleet.expressions import (
    Evaluated,
    evaluate_boolean,
    evaluate_integer,
    expand,
    has_placeholder,
    is_sum,
)
from zejzl_ray.fleet.finding import Finding, Place, error, warning
from zejzl_ray.fleet.suggest import did_you_mean
from zejzl_ray.ids import NAME_REGEX
from zejzl_ray.log import is_secret_name

MAX_PORT: Final = 65535
FIRST_FREE_PORT: Final = 1024


T = TypeVar("T")


class FieldReader:
    """Reads values of one load; ``findings`` collects what is wrong with them.

    ``environment`` are the variables that expressions see. One reader serves all files of a load.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self.findings: list[Finding] = []

    def report(self, finding: Finding) -> None:
        """Keep a finding."""
        self.findings.append(finding)

    def wrong_type(self, node: Node, path: str, expected: str) -> None:
        """Report that a value is of another kind than ``expected`` (words with an article: 'a list')."""
        self.report(
            error(
                "wrong-type",
                f"{path} must be {expected}, but it is {kind_of(node)}",
                node.place,
                path=path,
                subject=path.rsplit(".", 1)[-1],
                remedy=f"Write {expected}.",
            )
        )

    def table(self, node: Node, path: str) -> Table | None:
        """Return the mapping, or None where it is null or something else."""
        if isinstance(node, Table):
            return node
        if not is_null(node):
            self.wrong_type(node, path, "a mapping")
        return None

    def items(self, node: Node, path: str) -> tuple[Node, ...]:
        """Return the values of a list; nothing where it is null or something else."""
        if isinstance(node, Items):
            return node.items
        if not is_null(node):
            self.wrong_type(node, path, "a list")
        return ()

    def port(self, node: Node, path: str) -> int | None:
        """Return a port, 1 to 65535, written as a number or an expression."""
        value = self.integer(node, path, "a port number")
        if value is None:
            return None
        if not 1 <= value <= MAX_PORT:
            self.report(
                error(
                    "port-range",
                    f"{path} is {value}, outside of 1 to {MAX_PORT}",
                    node.place,
                    path=path,
                    subject=str(value),
                    remedy="Choose a free port from 1024 on.",
                )
            )
            return None
        if value < FIRST_FREE_PORT:
            self.report(
                warning(
                    "port-privileged",
                    f"{path} is {value}: ports below {FIRST_FREE_PORT} need root",
                    node.place,
                    path=path,
                    subject=str(value),
                    remedy="Choose a port from 1024 on.",
                )
            )
        return value

    def integer(self, node: Node, path: str, expected: str = "a whole number") -> int | None:
        """Return a whole number, written as one or as an expression."""
        if is_null(node):
            return None
        if isinstance(node, Scalar):
            if isinstance(node.value, int) and not isinstance(node.value, bool):
                return node.value
            if isinstance(node.value, str):
                result = evaluate_integer(node.value, self.environment)
                if result.problem and not has_placeholder(node.value):
                    self.wrong_type(node, path, expected)
                    return None
                return self._used(result, node, path)
        self.wrong_type(node, path, expected)
        return None

    def amount(self, node: Node, path: str, *, is_whole: bool) -> int | float | None:
        """Return a number that is not negative."""
        if not is_whole and isinstance(node, Scalar) and isinstance(node.value, float):
            value: int | float | None = node.value
        else:
            value = self.integer(node, path, "a whole number" if is_whole else "a number")
        if value is None:
            return None
        if not 0 <= value < float("inf"):
            self.report(
                error(
                    "wrong-value",
                    f"{path} is {value}, but it must be 0 or more",
                    node.place,
                    path=path,
                    subject=path.rsplit(".", 1)[-1],
                    remedy="Write 0 or a positive number.",
                )
            )
            return None
        return value

    def boolean(self, node: Node, path: str) -> bool | None:
        """Return a truth value, written as one, as a word, or as a comparison."""
        if is_null(node):
            return None
        if isinstance(node, Scalar):
            if isinstance(node.value, bool):
                return node.value
            if isinstance(node.value, str) and node.value.strip():
                result = evaluate_boolean(node.value, self.environment)
                if not (result.problem and not has_placeholder(node.value)):
                    return self._used(result, node, path)
        self.wrong_type(node, path, "true or false")
        return None

    def text(self, node: Node, path: str) -> str | None:
        """Return a text that the fleet uses: all its variables must be set."""
        if is_null(node):
            return None
        if not isinstance(node, Scalar):
            self.wrong_type(node, path, "a text")
            return None
        return self._used(expand(node.text, self.environment), node, path) if node.text else None

    def name(self, node: Node, path: str) -> str | None:
        """Return a name of the grammar that agents and machines share."""
        value = self.text(node, path)
        return value if value is not None and self.is_name(value, node.place, path) else None

    def is_name(self, value: str, place: Place, path: str) -> bool:
        """Whether a text is a good name; a bad one is reported."""
        if NAME_REGEX.fullmatch(value) and not value.endswith("\n"):
            return True
        shown = value if len(value) <= 60 else value[:57] + "..."
        self.report(
            error(
                "name-invalid",
                f"{shown!r} is not a name",
                place,
                path=path,
                subject=shown,
                remedy="Begin with a letter; then letters, digits, '_', '.' and '-', at most 128 in all.",
            )
        )
        return False

    def names(self, node: Node, path: str) -> tuple[tuple[str, Place], ...]:
        """Return the texts of a list with their places; one that stands twice is reported and kept once."""
        found: dict[str, Place] = {}
        for index, item in enumerate(self.items(node, path)):
            where = f"{path}[{index}]"
            if is_null(item):
                self.wrong_type(item, where, "a name")
                continue
            value = self.text(item, where)
            if value is None:
                continue
            if value in found:
                first = found[value]
                self.report(
                    warning(
                        "repeated-value",
                        f"{path} names {value} twice",
                        item.place,
                        path=where,
                        subject=value,
                        remedy="Remove one.",
                        related=(Place(first.file, first.line, first.column, "first named here"),),
                    )
                )
                continue
            found[value] = item.place
        return tuple(found.items())

    def texts(self, node: Node, path: str) -> dict[str, str]:
        """Return a mapping to texts, such as environment variables; numbers stand as they are written."""
        table = self.table(node, path)
        result: dict[str, str] = {}
        for key, entry in (table.entries if table is not None else {}).items():
            where = f"{path}.{key}"
            if isinstance(entry.node, Scalar):
                result[key] = str(
                    self._handed_on(
                        entry.node, entry.node.text if entry.node.value is not None else "", where
                    )
                )
            else:
                self.wrong_type(entry.node, where, "a text")
        return result

    def plain(self, node: Node, path: str) -> Any:
        """Return a value as plain data, expressions evaluated where their variables are set."""
        if isinstance(node, Table):
            return {key: self.plain(entry.node, f"{path}.{key}") for key, entry in node.entries.items()}
        if isinstance(node, Items):
            return [self.plain(item, f"{path}[{index}]") for index, item in enumerate(node.items)]
        return self._handed_on(node, node.value, path) if isinstance(node.value, str) else node.value

    def plain_table(self, node: Node, path: str) -> dict[str, Any]:
        """Return a mapping as plain data; nothing where it is null or something else."""
        table = self.table(node, path)
        return {} if table is None else dict(self.plain(table, path))

    def unknown_keys(self, entries: Iterable[Entry], known: Iterable[str], path: str, what: str) -> None:
        """Warn of each key that is not known, with the known one that it was probably meant to be."""
        known = tuple(known)
        for entry in entries:
            if entry.key not in known:
                where = f"{path}.{entry.key}" if path else entry.key
                self.report(
                    warning(
                        "unknown-key",
                        f"{entry.key} is not a key of {what}",
                        entry.place,
                        path=where,
                        subject=entry.key,
                        remedy=did_you_mean(entry.key, known, "Remove it, or move it under 'extras'."),
                    )
                )

    def _handed_on(self, node: Scalar, value: Any, path: str) -> Any:
        """Expand a text that is only handed on; unset variables stay as written."""
        if not isinstance(value, str) or not has_placeholder(value):
            return value
        if is_sum(value):
            number = evaluate_integer(value, self.environment)
            if number.value is not None:
                return number.value
        result = expand(value, self.environment)
        if result.problem:
            # The problem quotes the text.
            is_secret = is_secret_name(path.rpartition(".")[2])
            problem = "a placeholder cannot be read" if is_secret else result.problem
            self.report(
                warning(
                    "bad-expression",
                    f"{path}: {problem}; the text is kept as it is",
                    node.place,
                    path=path,
                    subject=path.rsplit(".", 1)[-1],
                    remedy="Correct the placeholder.",
                )
            )
        for name in result.unresolved:
            self.report(
                warning(
                    "unresolved-variable",
                    f"{path} uses {name}, which is not set; the text is kept as it is",
                    node.place,
                    path=path,
                    subject=name,
                    remedy=_give(name),
                )
            )
        return value if result.problem or result.unresolved else result.value

    def _used(self, result: Evaluated[T], node: Node, path: str) -> T | None:
        if result.problem:
            self.report(
                error(
                    "bad-expression",
                    f"{path}: {result.problem}",
                    node.place,
                    path=path,
                    subject=path.rsplit(".", 1)[-1],
                    remedy="Write a plain value or an expression such as ${PORT_OFFSET}+7200.",
                )
            )
        for name in result.unresolved:
            self.report(
                error(
                    "unresolved-variable",
                    f"{path} uses {name}, which is not set",
                    node.place,
                    path=path,
                    subject=name,
                    remedy=_give(name),
                )
            )
        return None if result.problem or result.unresolved else result.value


def _give(name: str) -> str:
    return f"Set {name}, or give it a default: ${{{name}:-value}}."
