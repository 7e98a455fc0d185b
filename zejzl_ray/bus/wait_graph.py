"""Who waits for whom, from the reports of all hosts: what is stuck, and in which circles.

Pure logic without a time of its own. The graph is built from one report a host, each made at its own moment, so a
circle in it may never have been there as a whole; ``deadlock_finder`` decides about that.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from typing import Final, NamedTuple

from zejzl_ray.contracts.waits import AgentWaits, Handled, Pending, ReportWaits

# A shortest circle is looked for from this many requests of a component; all of them have one of some length.
_MAX_STARTS: Final = 64


class Request(NamedTuple):
    """A request without a reply."""

    correlation_id: str


class Slot(NamedTuple):
    """A handler that runs."""

    host: str
    agent: str
    number: int


class Pool(NamedTuple):
    """All handlers of an agent: what mail in its mailbox waits for."""

    host: str
    agent: str


Node = Request | Slot | Pool


class Step(NamedTuple):
    """One step of a circle: a handler, and the request that it waits for."""

    slot: Slot
    request: Request


class WaitGraph:
    """The waits of one moment.

    Everything goes on as soon as one of the things that it waits for goes on, or when it waits for nothing that is
    known: a free handler, a handler without pending requests, a request that is in nobody's hands. What is left when
    all of that is taken away is stuck: it waits for stuck things only.

    Args:
        reports: the newest of each host; of a host that is left out nothing is known.
    """

    def __init__(self, reports: Iterable[ReportWaits]) -> None:
        self._next: dict[Node, list[Node]] = {}
        self._free: set[Node] = set()
        # correlation id -> host and request, as the hosts of the senders tell it
        self.pending: dict[str, list[tuple[str, Pending]]] = defaultdict(list)
        self.handled: dict[Slot, Handled] = {}
        self.agents: dict[Pool, AgentWaits] = {}
        self._places: dict[str, list[Node]] = defaultdict(list)
        for report in reports:
            for pending in report.pending:
                self.pending[pending.correlation_id].append((report.host, pending))
            for agent in report.agents:
                self._add_agent(report.host, agent)
        for correlation_id in self.pending:
            places = self._places.get(correlation_id, [])
            self._add(Request(correlation_id), places, is_free=not places)
        self.stuck: frozenset[Node] = self._find_stuck()

    def successors(self, node: Node) -> list[Node]:
        """Return what the node waits for."""
        return self._next.get(node, [])

    def closure(self, nodes: Iterable[Node]) -> set[Node]:
        """Return the nodes and everything that they wait for, directly or through others."""
        return _reach(nodes, self._next)

    def components(self) -> list[set[Node]]:
        """Return the groups of stuck nodes that wait for one another, each group once."""
        groups = (set(group) for group in _strongly_connected(self.stuck, self._next))
        return [group for group in groups if len(group) > 1]

    def circle(self, component: Collection[Node]) -> list[Step]:
        """Return the circle of the fewest requests of a component, the same one whenever the component is the same."""
        starts = sorted(node for node in component if isinstance(node, Request))[:_MAX_STARTS]
        best = min((self._circle_from(start, component) for start in starts), key=_number_of_requests)
        return _steps(best)

    def _add_agent(self, host: str, agent: AgentWaits) -> None:
        pool = Pool(host, agent.agent)
        self.agents[pool] = agent
        slots: list[Node] = []
        for handled in agent.handled:
            slot = Slot(host, agent.agent, handled.slot)
            slots.append(slot)
            self.handled[slot] = handled
            self._add(slot, [Request(each) for each in handled.awaits], is_free=not handled.awaits)
            if handled.request_id:
                self._places[handled.request_id].append(slot)
        self._add(pool, slots, is_free=agent.has_receiver or not slots or len(slots) < agent.slots)
        for correlation_id in agent.queued:
            self._places[correlation_id].append(pool)

    def _add(self, node: Node, successors: list[Node], *, is_free: bool) -> None:
        self._next[node] = successors
        if is_free:
            self._free.add(node)

    def _find_stuck(self) -> frozenset[Node]:
        waiting: dict[Node, list[Node]] = defaultdict(list)
        free = set(self._free)
        for node, successors in self._next.items():
            for successor in successors:
                waiting[successor].append(node)
                if successor not in self._next:  # a request that nobody has told of
                    free.add(successor)
        return frozenset(self._next.keys() - _reach(free, waiting))

    def _circle_from(self, start: Node, component: Collection[Node]) -> list[Node]:
        """Return the nodes from ``start`` on to the one that waits for it; by number of requests, not of nodes."""
        came_from: dict[Node, Node] = {}
        frontier: list[Node] = [start]
        while frontier:
            stack, frontier = frontier, []
            while stack:
                node = stack.pop()
                for successor in self._next[node]:
                    if successor == start:
                        return _path(start, node, came_from)
                    if successor in component and successor not in came_from:
                        came_from[successor] = node
                        (frontier if isinstance(successor, Request) else stack).append(successor)
        raise AssertionError("unreachable: every node of a component lies in a circle of it")


def _reach(starts: Iterable[Node], edges: dict[Node, list[Node]]) -> set[Node]:
    found = set(starts)
    stack = list(found)
    while stack:
        for successor in edges.get(stack.pop(), ()):
            if successor not in found:
                found.add(successor)
                stack.append(successor)
    return found


def _path(start: Node, end: Node, came_from: dict[Node, Node]) -> list[Node]:
    nodes = [end]
    while nodes[-1] != start:
        nodes.append(came_from[nodes[-1]])
    return nodes[::-1]


def _number_of_requests(nodes: list[Node]) -> int:
    return sum(isinstance(node, Request) for node in nodes)


def _steps(nodes: list[Node]) -> list[Step]:
    """Return the handlers of a circle with what each waits for; a request stands behind the handler that sent it."""
    return [
        Step(before, node)
        for before, node in zip([nodes[-1], *nodes], nodes, strict=False)
        if isinstance(node, Request) and isinstance(before, Slot)
    ]


def _strongly_connected(nodes: Collection[Node], edges: dict[Node, list[Node]]) -> Iterator[list[Node]]:
    """Yield the strongly connected components of a part of a graph that no edge leaves.

    Tarjan's algorithm, without recursion.
    """
    index: dict[Node, int] = {}
    low: dict[Node, int] = {}
    open_nodes: list[Node] = []
    is_open: set[Node] = set()
    for root in nodes:
        if root in index:
            continue
        index[root] = low[root] = len(index)
        open_nodes.append(root)
        is_open.add(root)
        work: list[tuple[Node, Iterator[Node]]] = [(root, iter(edges[root]))]
        while work:
            node, successors = work[-1]
            for successor in successors:
                if successor not in index:
                    index[successor] = low[successor] = len(index)
                    open_nodes.append(successor)
                    is_open.add(successor)
                    work.append((successor, iter(edges[successor])))
                    break
                if successor in is_open:
                    low[node] = min(low[node], index[successor])
            else:
                work.pop()
                if work:
                    above = work[-1][0]
                    low[above] = min(low[above], low[node])
                if low[node] == index[node]:
                    group = [open_nodes.pop()]
                    while group[-1] != node:
                        group.append(open_nodes.pop())
                    is_open.difference_update(group)
                    yield group
