"""What a decision is made of: changes of agents, and what is stored and answered with them."""

from typing import Literal, NamedTuple

from zejzl_ray.contracts.orchestrator import Agent, AgentEvent, AgentState, StateChange

ChangeKind = Literal["agent_registered", "agent_updated", "agent_state_changed", "agent_deregistered"]


class Change(NamedTuple):
    """One change of one agent; the small form of ``AgentEvent`` that the history keeps by the thousand.

    Attributes:
        from_state: the state before; None for an agent that was unknown.
        agent: the record after the change; None when the agent was forgotten.
        reason: only for a change that leaves no record; otherwise the record holds it.
    """

    kind: ChangeKind
    name: str
    revision: int
    at_s: float
    caused_by: str
    from_state: AgentState | None
    agent: Agent | None
    reason: str = ""

    def to_event(self) -> AgentEvent:
        """Return the change as it goes over the wire."""
        return AgentEvent.model_construct(
            kind=self.kind,
            name=self.name,
            revision=self.revision,
            at_s=self.at_s,
            caused_by=self.caused_by,
            agent=self.agent,
        )

    def to_state_change(self) -> StateChange | None:
        """Return the move between states; None when the state stayed."""
        to_state = self.agent.state if self.agent is not None else AgentState.STOPPED
        if to_state is self.from_state:
            return None
        return StateChange(
            at_s=self.at_s,
            from_state=self.from_state,
            to_state=to_state,
            reason=self.agent.reason if self.agent is not None else self.reason,
            revision=self.revision,
        )
