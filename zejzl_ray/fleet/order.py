"""In which order a fleet starts: levels, so that everything of one level can start side by side."""

from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter

from zejzl_ray.errors import FleetInvalid
from zejzl_ray.fleet.model import Fleet


def canonical_names(fleet: Fleet) -> dict[str, str]:
    """Return what each name means: services and agents mean themselves, an alias means its owner.

    Services come first, then agents, both in order of declaration. A real name wins over an alias of the
    same text.
    """
    names = {name: name for name in (*fleet.services, *fleet.agents)}
    owners = [(service.name, service.aliases) for service in fleet.services.values()]
    owners += [(agent.name, agent.aliases) for agent in fleet.agents.values()]
    for owner, aliases in owners:
        for alias in aliases:
            names.setdefault(alias, owner)
    return names


def dependency_edges(fleet: Fleet) -> dict[str, tuple[str, ...]]:
    """Return for each service and agent what it waits for, by real names, each once.

    Names that nothing declares are left out: the validator reports them.
    """
    names = canonical_names(fleet)
    declared: list[tuple[str, tuple[str, ...]]] = [(s.name, s.dependencies) for s in fleet.services.values()]
    declared += [(a.name, a.dependencies) for a in fleet.agents.values()]
    return {
        name: tuple(dict.fromkeys(names[dependency] for dependency in dependencies if dependency in names))
        for name, dependencies in declared
    }


def start_levels(fleet: Fleet) -> tuple[tuple[str, ...], ...]:
    """Return the names to start, level by level; stopping goes the other way round.

    Level 0 depends on nothing; whatever a member of level n depends on stands in a level before n. Within a
    level services come before agents, each in order of declaration, so that two runs give the same answer.

    Raises:
        FleetInvalid: some depend on each other in a circle; the message names the circle.
    """
    edges = dependency_edges(fleet)
    position = {name: index for index, name in enumerate(edges)}
    sorter = TopologicalSorter(edges)
    try:
        sorter.prepare()
    except CycleError as cycle:
        # graphlib lists each member before the one that waits for it; a reader asks "who waits for whom".
        circle = " -> ".join(reversed(cycle.args[1]))
        raise FleetInvalid(
            f"there is no start order: these depend on each other in a circle: {circle}.",
            "Remove one of these dependencies.",
        ) from None
    return tuple(_levels(sorter, position))


def _levels(sorter: TopologicalSorter[str], position: dict[str, int]) -> Iterator[tuple[str, ...]]:
    while sorter.is_active():
        ready = sorter.get_ready()
        sorter.done(*ready)
        yield tuple(sorted(ready, key=position.__getitem__))


def reaches(edges: dict[str, tuple[str, ...]], start: str, goal: str) -> bool:
    """Return whether ``goal`` is ``start`` or something that it waits for, directly or through others."""
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name == goal:
            return True
        if name not in seen:
            seen.add(name)
            waiting.extend(edges.get(name, ()))
    return False
