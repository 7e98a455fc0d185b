"""What hosts tell of who waits for whom, as facts: told twice, such a thing was so in between as well."""

from collections.abc import Iterator

from zejzl_ray.bus.wait_graph import Node, Pool, Slot, WaitGraph
from zejzl_ray.contracts.waits import AgentWaits, Handled, ReportWaits

Fact = tuple[object, ...]


def facts_of(report: ReportWaits) -> Iterator[Fact]:
    """Yield all that a report tells."""
    for pending in report.pending:
        yield "pending", pending.correlation_id
    for agent in report.agents:
        for handled in agent.handled:
            yield waiting(agent.agent, handled)
        if not agent.has_receiver:
            yield _busy(agent)
        for correlation_id in agent.queued:
            yield "queued", agent.agent, correlation_id


def waiting(agent: str, handled: Handled) -> Fact:
    """Return that a handler works on its message and waits for just these replies."""
    # Another message in the same slot, or another wait, is another fact.
    return "waiting", agent, handled.slot, handled.message_id, handled.request_id, frozenset(handled.awaits)


def _busy(agent: AgentWaits) -> Fact:
    return "busy", agent.agent, agent.slots, frozenset((each.slot, each.message_id) for each in agent.handled)


def parts_of(graph: WaitGraph, component: set[Node]) -> Iterator[tuple[str, Fact]]:
    """Yield host and fact of everything that makes the component stuck."""
    for node in graph.closure(component):
        if isinstance(node, Slot):
            yield node.host, waiting(node.agent, graph.handled[node])
        elif isinstance(node, Pool):
            yield node.host, _busy(graph.agents[node])
        else:
            for host, pending in graph.pending[node.correlation_id]:
                yield host, ("pending", pending.correlation_id)
            for place in graph.successors(node):
                if isinstance(place, Pool):
                    yield place.host, ("queued", place.agent, node.correlation_id)


def stacks_of(report: ReportWaits, before: dict[Fact, str]) -> dict[Fact, str]:
    """Return where handlers stand; from an earlier report where this one does not say it and nothing has changed."""
    found: dict[Fact, str] = {}
    for agent in report.agents:
        for handled in agent.handled:
            fact = waiting(agent.agent, handled)
            if stack := handled.stack or before.get(fact):
                found[fact] = stack
    return found
