"""Deciding about registration, update and removal of agents. Nothing here changes anything."""

from zejzl_ray.contracts.orchestrator import (
    AgentDeregistered,
    AgentsRegistered,
    AgentState,
    DeregisterAgent,
    RegisterAgent,
    RegisterAgents,
    UpdateAgent,
)
from zejzl_ray.errors import AgentExists, AgentNotFound, Conflict, InvalidInput, NoCapacity, VersionConflict
from zejzl_ray.orchestrator.changes import Change
from zejzl_ray.orchestrator.config import RegistryConfig
from zejzl_ray.orchestrator.draft import Decision, Draft
from zejzl_ray.orchestrator.endpoint import check_host, check_ports
from zejzl_ray.orchestrator.endpoint_holder import check_endpoint
from zejzl_ray.orchestrator.held_name import check_may_take, is_held_by_another
from zejzl_ray.orchestrator.quiet_gc import BULK, held_back
from zejzl_ray.orchestrator.records import (
    changed,
    check_metadata,
    has_profile,
    lease_end_s,
    make_agent,
    profile_of,
    renewed,
)
from zejzl_ray.orchestrator.states import LIVE, STATES, Cause, next_state

# The column of the table, looked up once: enum members hash slowly, and a bulk registration asks 10,000
# times.
_AFTER_REGISTRATION = {state: next_state(state, Cause.REGISTERED) or AgentState.STARTING for state in STATES}

_UPDATABLE = (
    "machine",
    "host",
    "port",
    "health_port",
    "capabilities",
    "dependencies",
    "vram_mib",
    "metadata",
)


def decide_register(draft: Draft, request: RegisterAgent, now_s: float, config: RegistryConfig) -> Decision:
    """Decide about one registration. The same registration again is a sign of life and no change.

    Raises:
        AgentExists: ``is_new_required`` and the name is taken.
        AgentHeld: another process holds it.
        Conflict: a live agent has the endpoint or an alias.
        InvalidInput: host or ports cannot be used.
        NoCapacity: too many agents.
        PayloadTooLarge: the metadata.
    """
    change = _registration(draft, request, now_s, config, request.request_id)
    if change is None:
        current = draft.agent(request.name)
        assert current is not None  # _registration found it unchanged
        return Decision(renewed(current, now_s), renewed=(request.name,))
    assert change.agent is not None
    return Decision(change.agent, (change,))


def decide_register_many(
    draft: Draft, request: RegisterAgents, now_s: float, config: RegistryConfig
) -> Decision:
    """Decide about a bulk registration: all or none.

    Raises:
        InvalidInput: a name stands twice in the request; otherwise as ``decide_register``.
    """
    trial = draft.fork()
    seen: set[str] = set()
    unchanged: list[str] = []
    created = 0
    with held_back(len(request.agents) > BULK):
        for each in request.agents:
            name = each.name
            if name in seen:
                raise InvalidInput(f"Agent {name} stands twice in the request.", "Send each agent once.")
            seen.add(name)
            change = _registration(trial, each, now_s, config, request.request_id)
            if change is None:
                unchanged.append(name)
                continue
            created += change.from_state is None
            trial.record_change(change)
    reply = AgentsRegistered(
        created=created,
        replaced=len(trial.changes) - created,
        unchanged=len(unchanged),
        revision=trial.revision,
    )
    return Decision(reply, tuple(trial.changes), renewed=tuple(unchanged), draft=trial)


def decide_update(draft: Draft, request: UpdateAgent, now_s: float, config: RegistryConfig) -> Decision:
    """Decide about changing some fields of an agent.

    Raises:
        AgentNotFound: no agent of this name.
        VersionConflict: the record changed since ``expected_revision``.
        Conflict, InvalidInput, PayloadTooLarge: as ``decide_register``.
    """
    current = draft.agent(request.name)
    if current is None:
        raise AgentNotFound(f"No agent is called {request.name}.", "An update takes the name, not an alias.")
    if request.expected_revision is not None and request.expected_revision != current.revision:
        raise VersionConflict(
            f"Agent {current.name} is at revision {current.revision}, not {request.expected_revision}.",
            "Read it again and decide anew.",
        )
    given = {field: value for field in _UPDATABLE if (value := getattr(request, field)) is not None}
    if all(getattr(current, field) == value for field, value in given.items()):
        return Decision(current)
    after = changed(current, **given, revision=draft.revision + 1)
    check_host(after.name, after.host)
    check_ports(after.name, after.port, after.health_port)
    check_metadata(after.name, after.metadata, config)
    check_endpoint(draft, after.name, after.__dict__)
    change = Change(
        "agent_updated", after.name, after.revision, now_s, request.request_id, current.state, after
    )
    return Decision(after, (change,))


def decide_deregister(draft: Draft, request: DeregisterAgent, now_s: float) -> Decision:
    """Decide about removing an agent, by name or alias.

    An unknown one is no error, so that repeating is safe; nor is one that another process holds by now.
    """
    current = draft.resolve(request.name)
    if current is None or is_held_by_another(current, request.held_by):
        return Decision(AgentDeregistered(name=request.name, was_known=False, revision=draft.revision))
    reason = request.reason or "deregistered"
    revision = draft.revision + 1
    if not current.is_declared:
        change = Change(
            "agent_deregistered",
            current.name,
            revision,
            now_s,
            request.request_id,
            current.state,
            None,
            reason,
        )
    elif current.state is AgentState.STOPPED:
        return Decision(AgentDeregistered(name=current.name, was_known=True, revision=draft.revision))
    else:
        stopped = changed(
            current,
            state=AgentState.STOPPED,
            reason=reason,
            state_since_s=now_s,
            lease_expires_at_s=None,
            revision=revision,
        )
        change = Change(
            "agent_state_changed", current.name, revision, now_s, request.request_id, current.state, stopped
        )
    return Decision(AgentDeregistered(name=current.name, was_known=True, revision=revision), (change,))


def _registration(
    draft: Draft, request: RegisterAgent, now_s: float, config: RegistryConfig, caused_by: str
) -> Change | None:
    """Return the change that a registration makes; None when everything is as it says already."""
    name = request.name
    current = draft.agent(name)
    if current is None:
        if len(draft) >= config.max_agents:
            raise NoCapacity(f"{config.max_agents} agents are registered; {name} is one too many.")
    elif request.is_new_required and current.has_registered and current.state is not AgentState.STOPPED:
        raise AgentExists(
            f"Agent {name} is registered already (state {current.state.value}, revision {current.revision}).",
            "Choose another name, or leave is_new_required out to replace it.",
        )
    if current is not None:
        check_may_take(current, request.held_by)
    profile = profile_of(request, current, config)
    if (
        current is not None
        and current.has_registered
        and current.state in LIVE
        and has_profile(current, profile)
    ):
        return None
    check_host(name, profile["host"])
    check_ports(name, profile["port"], profile["health_port"])
    check_metadata(name, profile["metadata"], config)
    _check_aliases(draft, name, profile["aliases"])
    check_endpoint(draft, name, profile)
    before = current.state if current is not None else None
    state = _AFTER_REGISTRATION[before]
    has_moved = current is None or state is not before
    revision = draft.revision + 1
    agent = make_agent(
        {
            **profile,
            "state": state,
            "reason": "registered" if current is None or has_moved else current.reason,
            "state_since_s": now_s if current is None or has_moved else current.state_since_s,
            "registered_at_s": now_s,
            "last_seen_at_s": current.last_seen_at_s if current is not None else None,
            "lease_expires_at_s": lease_end_s(state, profile["lease_s"], now_s),
            "is_declared": current is not None and current.is_declared,
            "has_registered": True,
            "revision": revision,
        }
    )
    return Change("agent_registered", name, revision, now_s, caused_by, before, agent)


def _check_aliases(draft: Draft, name: str, aliases: tuple[str, ...]) -> None:
    for alias in aliases:
        holders = [holder for holder in draft.alias_holders(alias) if holder != name]
        if alias != name and draft.agent(alias) is not None:
            holders.append(alias)
        if holders:
            raise Conflict(
                f"Alias {alias} of agent {name} already means agent {holders[0]}.", "Choose another alias."
            )
