"""Indexes over agent names: groups in the order of names, and claims of things that belong to one agent."""

import bisect
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class NameGroup:
    """A set of names that can be read in order.

    The order is made at the first ordered read and kept up to date from then on, so that a bulk load pays
    nothing for it and a single change costs one insertion.
    """

    __slots__ = ("_order", "members")

    def __init__(self, *names: str) -> None:
        self.members: set[str] = set(names)
        self._order: list[str] | None = None

    def add(self, name: str) -> None:
        """Add a name; adding it again changes nothing."""
        if self._order is not None and name not in self.members:
            bisect.insort(self._order, name)
        self.members.add(name)

    def discard(self, name: str) -> None:
        """Remove a name; an absent one is no error."""
        if name not in self.members:
            return
        self.members.discard(name)
        if self._order is not None:
            del self._order[bisect.bisect_left(self._order, name)]

    def forget_order(self) -> None:
        """Drop the order before many changes; the next ordered read makes it again."""
        self._order = None

    def after(self, name: str) -> Iterator[str]:
        """Return the names that sort after ``name``, in order; valid until the group changes."""
        order = self.ordered()
        start = bisect.bisect_right(order, name) if name else 0
        return (order[position] for position in range(start, len(order)))

    def ordered(self) -> list[str]:
        """Return all names in order; not to be changed by the caller."""
        if self._order is None:
            self._order = sorted(self.members)
        return self._order

    def __len__(self) -> int:
        """Return the number of names."""
        return len(self.members)

    def __contains__(self, name: str) -> bool:
        """Tell whether the name is in the group."""
        return name in self.members


_EMPTY = NameGroup()


class GroupIndex(Generic[K]):
    """Key -> the names of agents that have it. A group of one is stored as its bare name, to save memory."""

    __slots__ = ("_groups",)

    def __init__(self) -> None:
        self._groups: dict[K, str | NameGroup] = {}

    def add(self, key: K, name: str) -> None:
        """Put a name into the group of a key."""
        group = self._groups.get(key)
        if group is None:
            self._groups[key] = name
        elif isinstance(group, NameGroup):
            group.add(name)
        elif group != name:
            self._groups[key] = NameGroup(group, name)

    def discard(self, key: K, name: str) -> None:
        """Take a name out of the group of a key; an empty group disappears."""
        group = self._groups.get(key)
        if isinstance(group, NameGroup):
            group.discard(name)
            if not group.members:
                del self._groups[key]
        elif group == name:
            del self._groups[key]

    def group(self, key: K) -> NameGroup:
        """Return the group of a key; an empty one when nobody has it. Not to be changed by the caller."""
        group = self._groups.get(key)
        if group is None:
            return _EMPTY
        return group if isinstance(group, NameGroup) else NameGroup(group)

    def forget_order(self) -> None:
        """Drop all orders before many changes."""
        for group in self._groups.values():
            if isinstance(group, NameGroup):
                group.forget_order()

    def as_sets(self) -> dict[K, set[str]]:
        """Return a copy, for checks."""
        return {
            key: set(group.members) if isinstance(group, NameGroup) else {group}
            for key, group in self._groups.items()
        }


class Claims:
    """Key -> the names that claim it, first come first; an alias or an endpoint, normally of one agent."""

    __slots__ = ("_holders",)

    def __init__(self) -> None:
        self._holders: dict[str, str | tuple[str, ...]] = {}

    def add(self, key: str, name: str) -> None:
        """Let a name claim a key, behind those that did so before."""
        holders = self._holders.get(key)
        if holders is None:
            self._holders[key] = name
        elif name not in (known := self.holders(key)):
            self._holders[key] = (*known, name)

    def discard(self, key: str, name: str) -> None:
        """Give a claim up; an absent one is no error."""
        left = tuple(holder for holder in self.holders(key) if holder != name)
        if len(left) > 1:
            self._holders[key] = left
        elif left:
            self._holders[key] = left[0]
        else:
            self._holders.pop(key, None)

    def holders(self, key: str) -> tuple[str, ...]:
        """Return who claims a key, the first one first."""
        holders = self._holders.get(key)
        if holders is None:
            return ()
        return (holders,) if isinstance(holders, str) else holders

    def as_pairs(self) -> set[tuple[str, str]]:
        """Return all claims as (key, name), for checks."""
        return {(key, name) for key in self._holders for name in self.holders(key)}
