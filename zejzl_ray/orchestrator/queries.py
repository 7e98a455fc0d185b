"""Questions to the committed registry; none of them waits for anything."""

from collections.abc import Callable
from typing import Final

from zejzl_ray.contracts.orchestrator import (
    Agent,
    AgentExplanation,
    AgentPage,
    ExplainAgent,
    GetHistory,
    History,
    ListAgents,
    RegistryStatus,
)
from zejzl_ray.errors import InvalidInput
from zejzl_ray.orchestrator.indexes import NameGroup
from zejzl_ray.orchestrator.registry import Registry
from zejzl_ray.orchestrator.states import STATES
from zejzl_ray.orchestrator.suggest import unknown_agent

_MOVES_EXPLAINED: Final = 20


def find_agent(registry: Registry, name: str) -> Agent:
    """Return the record of a name or alias, the stored object itself.

    Raises:
        AgentNotFound: with near names.
    """
    agent = registry.resolve(name)
    if agent is None:
        raise unknown_agent(name, registry.names.ordered())
    return agent


def list_agents(registry: Registry, request: ListAgents) -> AgentPage:
    """Return one page of agents in the order of their names; starts from the rarest of the asked-for properties.

    Raises:
        InvalidInput: ``metadata_value`` without ``metadata_key``.
    """
    groups = sorted(_groups(registry, request), key=len)
    first, others = groups[0], [group.members for group in groups[1:]]
    found: list[Agent] = []
    next_cursor = ""
    for name in first.after(request.cursor):
        if others and not all(name in members for members in others):
            continue
        if len(found) == request.limit:
            next_cursor = found[-1].name
            break
        agent = registry.agent(name)
        assert agent is not None  # an index names no agent that is not there
        found.append(agent)
    return AgentPage.model_construct(agents=tuple(found), next_cursor=next_cursor, revision=registry.revision)


def explain_agent(
    registry: Registry, request: ExplainAgent, pending: Callable[[Agent], str]
) -> AgentExplanation:
    """Return why an agent is in its state.

    Args:
        registry: the committed state.
        request: names the agent.
        pending: gives what is being counted for an agent.

    Raises:
        AgentNotFound: with near names.
    """
    agent = find_agent(registry, request.name)
    moves = (change.to_state_change() for change in registry.history.newest_first(agent.name, None, 1000))
    changes = tuple(move for move in moves if move is not None)[:_MOVES_EXPLAINED]
    return AgentExplanation(
        name=agent.name,
        state=agent.state,
        reason=agent.reason,
        since_s=agent.state_since_s,
        pending=pending(agent),
        changes=changes,
    )


def get_history(registry: Registry, request: GetHistory) -> History:
    """Return past changes, newest first. An agent that is gone keeps its history until that is dropped."""
    name = request.name
    if name is not None and (agent := registry.resolve(name)) is not None:
        name = agent.name
    changes = registry.history.newest_first(name, request.before_revision, request.limit)
    return History(
        events=tuple(change.to_event() for change in changes),
        oldest_kept_revision=registry.history.oldest_revision(registry.revision),
    )


def get_status(registry: Registry, alarm: str) -> RegistryStatus:
    """Return the counts by state; states without agents are listed with 0."""
    return RegistryStatus(
        agents=len(registry),
        by_state={state.value: len(registry.by_state(state)) for state in STATES if state is not None},
        machines=len(registry.machines),
        revision=registry.revision,
        is_protected=bool(alarm),
        alarm=alarm,
    )


def _groups(registry: Registry, request: ListAgents) -> list[NameGroup]:
    if request.metadata_value is not None and request.metadata_key is None:
        raise InvalidInput(
            "metadata_value is given without metadata_key.", "Say which key has to have this value."
        )
    groups = []
    if request.machine is not None:
        groups.append(registry.by_machine(request.machine))
    if request.capability is not None:
        groups.append(registry.by_capability(request.capability))
    if request.agent_type is not None:
        groups.append(registry.by_type(request.agent_type))
    if request.kind is not None:
        groups.append(registry.by_kind(request.kind))
    if request.state is not None:
        groups.append(registry.by_state(request.state))
    if request.metadata_key is not None:
        groups.append(registry.by_metadata(request.metadata_key, request.metadata_value))
    return groups or [registry.names]
