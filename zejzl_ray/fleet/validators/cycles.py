"""Dependencies that go round in a circle."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from zejzl_ray.fleet.drafts import Draft, FleetContext
from zejzl_ray.fleet.finding import Finding
from zejzl_ray.fleet.model import AgentDeclaration, ServiceDeclaration
from zejzl_ray.fleet.validators.names import listed, resolved_names

_SEARCHED = 64  # members of a circle from which the shortest way round is looked for

Graph = Mapping[str, Mapping[str, str]]


class DependencyCycles:
    """Nobody in a circle can be started first: shows the shortest way round, with the line of each step."""

    name = "dependency-cycle"

    def check(self, context: FleetContext) -> Iterable[Finding]:
        """Return one finding for each knot of agents that depend on each other."""
        meaning = resolved_names(context)
        drafts: dict[str, Draft[AgentDeclaration] | Draft[ServiceDeclaration]] = {}
        drafts.update({draft.name: draft for draft in context.services})
        drafts.update({draft.name: draft for draft in context.running_agents})
        #: name -> the names it depends on -> the word that the file uses for it
        graph = {
            name: {
                meaning[word]: word
                for word in draft.declaration.dependencies
                if meaning.get(word, name) != name and meaning[word] in drafts
            }
            for name, draft in drafts.items()
        }
        order = {name: index for index, name in enumerate(drafts)}
        for knot in knots(graph):
            members = sorted(knot, key=order.__getitem__)
            ring = _shortest_ring(graph, members)
            steps = list(zip(ring, [*ring[1:], ring[0]], strict=True))
            places = [
                drafts[one].where(f"dependencies.{graph[one][two]}", f"{one} -> {two}") for one, two in steps
            ]
            shown = " -> ".join([*ring, ring[0]])
            lines = ", ".join(f"{place.text} at {place}" for place in places)
            rest = [name for name in members if name not in ring]
            also = f"; also tied into it: {listed(rest)}" if rest else ""
            first, (one, two) = drafts[ring[0]], steps[0]
            yield first.error(
                "dependency-cycle",
                f"dependencies.{graph[one][two]}",
                f"dependency cycle {shown} ({lines}){also}",
                "Remove one of these dependencies.",
                subject=shown,
                related=tuple(places[1:]),
            )


def knots(graph: Graph) -> list[list[str]]:
    """Return the strongly connected components of more than one member (Tarjan 1972, without recursion)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    on_stack: set[str] = set()
    found: list[list[str]] = []
    for root in graph:
        if root in index:
            continue
        work = [(root, iter(graph[root]))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        while work:
            name, successors = work[-1]
            for successor in successors:
                if successor not in index:
                    index[successor] = low[successor] = len(index)
                    stack.append(successor)
                    on_stack.add(successor)
                    work.append((successor, iter(graph[successor])))
                    break
                if successor in on_stack:
                    low[name] = min(low[name], index[successor])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[name])
                if low[name] == index[name]:
                    component = [stack.pop()]
                    while component[-1] != name:
                        component.append(stack.pop())
                    on_stack.difference_update(component)
                    if len(component) > 1:
                        found.append(component)
    return found


def _shortest_ring(graph: Graph, members: Sequence[str]) -> list[str]:
    """Return the shortest way round, from the member that is declared first among those on it."""
    inside = frozenset(members)
    rings = (_ring_through(graph, name, inside) for name in members[:_SEARCHED])
    ring = min(rings, key=len)
    start = min(range(len(ring)), key=lambda at: members.index(ring[at]))
    return [*ring[start:], *ring[:start]]


def _ring_through(graph: Graph, start: str, inside: frozenset[str]) -> list[str]:
    """Return the shortest way from ``start`` back to it (breadth-first); a knot has one."""
    before: dict[str, str] = {}
    waiting = deque([start])
    while start not in before:
        name = waiting.popleft()
        for successor in graph[name]:
            if successor in inside and successor not in before:
                before[successor] = name
                waiting.append(successor)
    ring = [before[start]]
    while ring[-1] != start:
        ring.append(before[ring[-1]])
    return ring[::-1]
