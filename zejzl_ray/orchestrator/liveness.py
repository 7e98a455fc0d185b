"""Deciding about signs of life and their absence. Nothing here changes anything."""

from collections.abc import Iterable
from dataclasses import dataclass

from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.orchestrator import Agent, AgentState, Heartbeat, HeartbeatAccepted
from zejzl_ray.errors import Conflict
from zejzl_ray.orchestrator.changes import Change
from zejzl_ray.orchestrator.draft import Decision, Draft
from zejzl_ray.orchestrator.endpoint_holder import check_endpoint, find_holder
from zejzl_ray.orchestrator.records import changed, lease_end_s, renewed
from zejzl_ray.orchestrator.states import LIVE, Cause, next_state

# Causes that are signs of life.
_ALIVE = frozenset(
    {Cause.SAID_HEALTHY, Cause.SAID_DEGRADED, Cause.SAID_UNHEALTHY, Cause.ANSWERED, Cause.RECOVERED}
)


@dataclass(frozen=True, slots=True)
class Move:
    """Something that may move an agent to another state."""

    name: str
    cause: Cause
    reason: str


class Moved(Contract):
    """Internal answer: how many agents have changed their state."""

    count: int


def heartbeat_reason(request: Heartbeat) -> str:
    """Return the reason to keep: what the agent says, or the status itself."""
    return request.reason or f"says it is {request.status.value}"


def accepted(agent: Agent) -> HeartbeatAccepted:
    """Return the answer to a heartbeat of this agent."""
    return HeartbeatAccepted(
        name=agent.name,
        state=agent.state,
        lease_expires_at_s=agent.lease_expires_at_s,
        revision=agent.revision,
    )


def refuse_stopped(agent: Agent) -> Conflict:
    """Return the error for a heartbeat of an agent that was removed on purpose."""
    return Conflict(
        f"Agent {agent.name} is stopped: {agent.reason}.", "Register it again before it sends heartbeats."
    )


def decide_heartbeat(draft: Draft, agent: Agent, request: Heartbeat, cause: Cause, now_s: float) -> Decision:
    """Decide about a heartbeat that may change the state.

    Args:
        draft: the state that the heartbeat meets.
        agent: the sender's record in the draft.
        request: the heartbeat.
        cause: what it amounts to, from ``SignCounter``.
        now_s: wall time.

    Raises:
        Conflict: the agent is stopped, or comes back while another live agent has its endpoint.
    """
    state = next_state(agent.state, cause)
    if state is None:
        raise refuse_stopped(agent)
    if state is agent.state:
        return Decision(accepted(renewed(agent, now_s)), renewed=(agent.name,))
    if agent.state not in LIVE and state in LIVE:
        check_endpoint(draft, agent.name, agent.__dict__)
    change = _moved(draft, agent, state, cause, heartbeat_reason(request), now_s, request.request_id)
    assert change.agent is not None
    return Decision(accepted(change.agent), (change,))


def decide_moves(draft: Draft, moves: Iterable[Move], now_s: float) -> Decision:
    """Decide about moves that the registry itself found: probes, expired leases.

    A move that no longer fits is left out: the agent is gone, was renewed since, or stays where it is. An
    agent whose probe is answered moves even where another live agent has its endpoint: nobody can tell which
    of the two answered. The reason says so.
    """
    trial = draft.fork()
    for move in moves:
        agent = trial.agent(move.name)
        if agent is None or _is_renewed(agent, move.cause, now_s):
            continue
        state = next_state(agent.state, move.cause)
        if state is None or state is agent.state:
            continue
        reason = move.reason
        if move.cause in _ALIVE and (holder := find_holder(trial, agent.name, agent.__dict__)) is not None:
            reason = f"{reason}, but {holder}"
        trial.record_change(_moved(trial, agent, state, move.cause, reason, now_s, ""))
    return Decision(Moved(count=len(trial.changes)), tuple(trial.changes), draft=trial)


def decide_forget(draft: Draft, names: Iterable[str], lost_before_s: float, now_s: float) -> Decision:
    """Decide about forgetting agents that have been lost since before ``lost_before_s``; declared ones stay."""
    trial = draft.fork()
    for name in names:
        agent = trial.agent(name)
        if agent is not None and may_be_forgotten(agent, lost_before_s):
            trial.record_change(
                Change(
                    "agent_deregistered",
                    name,
                    trial.revision + 1,
                    now_s,
                    "",
                    agent.state,
                    None,
                    f"lost for {now_s - agent.state_since_s:.0f} s",
                )
            )
    return Decision(Moved(count=len(trial.changes)), tuple(trial.changes), draft=trial)


def may_be_forgotten(agent: Agent, lost_before_s: float) -> bool:
    """Tell whether a lost agent has been lost long enough.

    Agents without lease are kept: an old one that comes back does not register again.
    """
    return (
        agent.state is AgentState.LOST
        and not agent.is_declared
        and agent.lease_s is not None
        and agent.state_since_s <= lost_before_s
    )


def _is_renewed(agent: Agent, cause: Cause, now_s: float) -> bool:
    end_at_s = agent.lease_expires_at_s
    return cause is Cause.LEASE_EXPIRED and (end_at_s is None or end_at_s > now_s)


def _moved(
    draft: Draft, agent: Agent, state: AgentState, cause: Cause, reason: str, now_s: float, caused_by: str
) -> Change:
    revision = draft.revision + 1
    after = changed(
        agent,
        state=state,
        reason=reason,
        state_since_s=now_s,
        last_seen_at_s=now_s if cause in _ALIVE else agent.last_seen_at_s,
        lease_expires_at_s=(
            lease_end_s(state, agent.lease_s, now_s)
            if cause in _ALIVE or agent.lease_expires_at_s is None or state is AgentState.LOST
            else agent.lease_expires_at_s
        ),
        revision=revision,
    )
    return Change("agent_state_changed", agent.name, revision, now_s, caused_by, agent.state, after)
