"""What is different between two fleets, by meaning and not by text."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import BaseModel

from zejzl_ray.fleet.model import Fleet


class ChangeKind(StrEnum):
    """What happened to a part of the fleet between the two."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True)
class Change:
    """One difference.

    ``part`` is ``machine``, ``service``, ``host`` or ``agent``. ``field`` is the dotted path inside it, and empty when
    the whole member was added or removed; then ``old`` and ``new`` are None. A field that stands on one side
    only has None on the other.
    """

    kind: ChangeKind
    part: str
    name: str
    field: str = ""
    old: Any = None
    new: Any = None

    def as_dict(self) -> dict[str, Any]:
        """Return the change as JSON-able data."""
        return {
            "kind": self.kind.value,
            "part": self.part,
            "name": self.name,
            "field": self.field,
            "old": self.old,
            "new": self.new,
        }

    def __str__(self) -> str:
        """Return the change as one line."""
        what = f"{self.part} {self.name}"
        return (
            f"{what}.{self.field}: {self.old!r} -> {self.new!r}"
            if self.field
            else f"{what}: {self.kind.value}"
        )


def diff_fleets(old: Fleet, new: Fleet) -> tuple[Change, ...]:
    """Return the differences from ``old`` to ``new``: machines, services, hosts, then agents; empty when equal.

    Order of declaration counts as a difference nowhere, except inside lists.
    """
    return (
        *_members("machine", old.machines, new.machines),
        *_members("service", old.services, new.services),
        *_members("host", old.hosts, new.hosts),
        *_members("agent", old.agents, new.agents),
    )


def _members(part: str, old: Mapping[str, BaseModel], new: Mapping[str, BaseModel]) -> Iterator[Change]:
    for name in (*old, *(name for name in new if name not in old)):
        if name not in new:
            yield Change(ChangeKind.REMOVED, part, name)
        elif name not in old:
            yield Change(ChangeKind.ADDED, part, name)
        else:
            before, after = old[name].model_dump(mode="json"), new[name].model_dump(mode="json")
            yield from _fields(part, name, "", before, after)


def _fields(part: str, name: str, path: str, old: Any, new: Any) -> Iterator[Change]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in (*old, *(key for key in new if key not in old)):
            yield from _fields(part, name, f"{path}.{key}" if path else str(key), old.get(key), new.get(key))
    elif old != new or type(old) is not type(new):
        yield Change(ChangeKind.CHANGED, part, name, path, old, new)
