"""A YAML file as a tree in which every key and value knows its place.

Nothing here knows what a fleet is.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from zejzl_ray.fleet.finding import Finding, Place

ScalarValue = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value. ``text`` is how it is written in the file, without quotes; dates stay text."""

    value: ScalarValue
    text: str
    place: Place


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    items: "tuple[Node, ...]"
    place: Place


@dataclass(frozen=True, slots=True)
class Entry:
    """A key with its value."""

    key: str
    place: Place
    node: "Node"


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping: ``entries`` holds the last of each key, as YAML loaders do; ``every`` holds all of them."""

    entries: dict[str, Entry]
    every: tuple[Entry, ...]
    place: Place

    def get(self, key: str) -> Entry | None:
        """Return the entry of ``key``, or None where it is absent or null."""
        entry = self.entries.get(key)
        return None if entry is None or is_null(entry.node) else entry


Node = Scalar | Items | Table


@dataclass(frozen=True)
class Document:
    """What became of one file: ``root`` is None when it cannot be used, and then ``findings`` say why."""

    file: str
    root: Table | None
    findings: tuple[Finding, ...] = field(default=())


def is_null(node: Node) -> bool:
    """Whether the value is written as nothing, ``null`` or ``~``."""
    return isinstance(node, Scalar) and node.value is None


def kind_of(node: Node) -> str:
    """Return what a value is, in words for a message."""
    if isinstance(node, Table):
        return "a mapping"
    if isinstance(node, Items):
        return "a list"
    if node.value is None:
        return "nothing"
    if isinstance(node.value, bool):
        return f"the boolean {node.text}"
    if isinstance(node.value, int | float):
        return f"the number {_shortened(node.text)}"
    return f"the text '{_shortened(node.text)}'"


def plain(node: Node) -> Any:
    """Return the value as plain Python data, expressions untouched."""
    if isinstance(node, Table):
        return {key: plain(entry.node) for key, entry in node.entries.items()}
    if isinstance(node, Items):
        return [plain(item) for item in node.items]
    return node.value


def repeated_keys(root: Node) -> Iterator[tuple[Table, Entry, Entry]]:
    """Yield each mapping that has a key more than once, with the first entry and the later one."""
    seen: set[int] = set()
    waiting: list[Node] = [root]
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, Items):
            waiting.extend(node.items)
        elif isinstance(node, Table):
            first: dict[str, Entry] = {}
            for entry in node.every:
                waiting.append(entry.node)
                if first.setdefault(entry.key, entry) is not entry:
                    yield node, first[entry.key], entry


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
