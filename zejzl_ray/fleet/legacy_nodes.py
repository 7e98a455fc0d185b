"""Nodes of an old startup file, as places in its text."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from zejzl_ray.errors import FleetInvalid


@dataclass(frozen=True)
class Entry:
    """One agent entry. ``container`` is the mapping or list that holds it; ``key`` is None in a list."""

    name: str
    key: ScalarNode | None
    value: MappingNode
    container: MappingNode | SequenceNode
    path: str

    def fields(self) -> dict[str, Any]:
        """Return the entry's fields as plain data, expressions as the text that stands there."""
        loader = yaml.SafeLoader("")
        return {str(key.value): loader.construct_object(value, deep=True) for key, value in self.value.value}

    def one_line(self) -> str:
        """Return the entry's fields as YAML on one line."""
        return flow_text(self.fields())


def pair_of(mapping: MappingNode, names: Sequence[str]) -> tuple[ScalarNode, Node] | None:
    """Return the first key of a mapping that is one of ``names``, with its value."""
    return next(((key, value) for key, value in mapping.value if key.value in names), None)


def scalar_spans(node: Node) -> Iterator[tuple[int, int]]:
    """Yield where each plain value begins and ends, keys included."""
    if isinstance(node, ScalarNode):
        yield node.start_mark.index, node.end_mark.index
    elif isinstance(node, SequenceNode):
        for item in node.value:
            yield from scalar_spans(item)
    elif isinstance(node, MappingNode):
        for key, value in node.value:
            yield from scalar_spans(key)
            yield from scalar_spans(value)


def is_empty(node: Node) -> bool:
    """Whether nothing is written where the value should stand."""
    return isinstance(node, ScalarNode) and node.start_mark.index == node.end_mark.index


def content_end(node: Node) -> int:
    """Return where the node's last character stands; a block's own mark lies past what follows it."""
    if isinstance(node, MappingNode) and not node.flow_style and node.value:
        key, value = node.value[-1]
        return key.end_mark.index + 1 if is_empty(value) else content_end(value)
    if isinstance(node, SequenceNode) and not node.flow_style and node.value:
        return content_end(node.value[-1])
    if isinstance(node, ScalarNode) and node.style in ("|", ">"):
        return int(node.end_mark.index) - 1
    return int(node.end_mark.index)


def flow_text(value: Any) -> str:
    """Return a value as YAML on one line that can stand inside braces."""
    text = yaml.safe_dump(
        [value], default_flow_style=True, width=100_000, sort_keys=False, allow_unicode=True
    )
    return text.strip()[1:-1]


def read_text(path: Path) -> str:
    """Return the content of a startup file.

    Raises:
        FleetInvalid: it is not there, cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        reason = getattr(problem, "strerror", None) or "it is not UTF-8"
        raise FleetInvalid(
            f"{path}: cannot be read: {reason}.", "Check the path and its permissions."
        ) from None
