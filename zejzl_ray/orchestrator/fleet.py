"""Deciding what the fleet file changes in the registry. Nothing here changes anything."""

from typing import Any

from zejzl_ray.contracts.orchestrator import Agent, AgentState, DeclareFleet, FleetDeclared, RegisterAgent
from zejzl_ray.errors import InvalidInput, NoCapacity
from zejzl_ray.orchestrator.changes import Change, ChangeKind
from zejzl_ray.orchestrator.config import RegistryConfig
from zejzl_ray.orchestrator.draft import Decision, Draft
from zejzl_ray.orchestrator.records import (
    changed,
    check_metadata,
    has_profile,
    lease_end_s,
    make_agent,
    profile_of,
)
from zejzl_ray.orchestrator.states import Cause, next_state


def decide_declare_fleet(
    draft: Draft, request: DeclareFleet, now_s: float, config: RegistryConfig
) -> Decision:
    """Decide about loading a fleet.

    - Unknown agents become ``declared``.
    - Agents that the registry knows from a fleet only take over what the file says and keep their state.
    - Agents that registered themselves keep their record, and get the aliases and dependencies that they
    lack.
    - Agents of an earlier fleet that are missing now are forgotten when they were never seen or are stopped.

    Addresses are not checked: the fleet's own validation has done that for all of them together.

    Raises:
        InvalidInput: an agent stands twice in the fleet.
        NoCapacity: too many agents.
        PayloadTooLarge: the metadata of an agent.
    """
    trial = draft.fork()
    named: set[str] = set()
    counts = {"added": 0, "changed": 0, "removed": 0, "unchanged": 0}
    for declaration in request.agents:
        if declaration.name in named:
            raise InvalidInput(
                f"Agent {declaration.name} stands twice in the fleet {request.source}".rstrip() + "."
            )
        named.add(declaration.name)
        current = trial.agent(declaration.name)
        agent = _declared(declaration, current, now_s, config, trial.revision + 1)
        if agent is None:
            counts["unchanged"] += 1
            continue
        if current is None and len(trial) >= config.max_agents:
            raise NoCapacity(f"{config.max_agents} agents are known; {declaration.name} is one too many.")
        counts["added" if current is None else "changed"] += 1
        kind: ChangeKind = "agent_registered" if current is None else "agent_updated"
        trial.record_change(_change(kind, agent, trial, now_s, request.request_id, current))
    leaving = [agent for agent in draft.agents() if agent.is_declared and agent.name not in named]
    for agent in sorted(leaving, key=lambda each: each.name):
        if agent.state in (AgentState.DECLARED, AgentState.STOPPED):
            counts["removed"] += 1
            trial.record_change(
                Change(
                    "agent_deregistered",
                    agent.name,
                    trial.revision + 1,
                    now_s,
                    request.request_id,
                    agent.state,
                    None,
                    "no longer in the fleet",
                )
            )
        else:
            counts["changed"] += 1
            after = changed(agent, is_declared=False, revision=trial.revision + 1)
            trial.record_change(_change("agent_updated", after, trial, now_s, request.request_id, agent))
    return Decision(FleetDeclared(**counts, revision=trial.revision), tuple(trial.changes), draft=trial)


def _declared(
    declaration: RegisterAgent, current: Agent | None, now_s: float, config: RegistryConfig, revision: int
) -> Agent | None:
    """Return the record after the declaration; None when nothing changes."""
    profile = profile_of(declaration, None, config)
    check_metadata(declaration.name, profile["metadata"], config)
    if current is None:
        state = next_state(None, Cause.DECLARED)
        assert state is not None  # the table knows what an unknown agent becomes
        return make_agent(
            {
                **profile,
                "state": state,
                "reason": "declared in the fleet, never seen",
                "state_since_s": now_s,
                "registered_at_s": now_s,
                "last_seen_at_s": None,
                "lease_expires_at_s": None,
                "is_declared": True,
                "has_registered": False,
                "revision": revision,
            }
        )
    if current.has_registered:
        profile = _filled(current, profile)
    if current.is_declared and has_profile(current, profile):
        return None
    lease_s = profile.get("lease_s", current.lease_s)
    lease_expires_at_s = current.lease_expires_at_s
    if lease_s != current.lease_s:
        lease_expires_at_s = lease_end_s(current.state, lease_s, now_s)
    return changed(
        current, **profile, lease_expires_at_s=lease_expires_at_s, is_declared=True, revision=revision
    )


def _filled(current: Agent, profile: dict[str, Any]) -> dict[str, Any]:
    return {field: getattr(current, field) or profile[field] for field in ("aliases", "dependencies")}


def _change(
    kind: ChangeKind, agent: Agent, draft: Draft, now_s: float, caused_by: str, before: Agent | None
) -> Change:
    from_state = before.state if before is not None else None
    return Change(kind, agent.name, draft.revision + 1, now_s, caused_by, from_state, agent)
