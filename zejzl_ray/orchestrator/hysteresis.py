"""Counting signs, so that one lost packet does not make an agent unhealthy and one answer not healthy again.

The counts are kept in memory only: after a restart they start from zero, which errs on the patient side.
"""

from dataclasses import dataclass

from zejzl_ray.contracts.orchestrator import Agent, AgentState, HealthStatus
from zejzl_ray.orchestrator.config import RegistryConfig
from zejzl_ray.orchestrator.states import HEARTBEAT_CAUSE, Cause


@dataclass(slots=True)
class Signs:
    """What was seen of one agent in a row."""

    good: int = 0
    failed: int = 0
    failing_since_s: float = 0.0


class SignCounter:
    """Turns single signs of agents into causes of the state table.

    A cause is returned again with each further sign until the agent has really moved, so a move that could
    not be stored is simply tried again.
    """

    def __init__(self, config: RegistryConfig) -> None:
        self._config = config
        # only agents with something to count
        self._signs: dict[str, Signs] = {}

    def see_probe(self, agent: Agent, is_answering: bool, now_s: float) -> Cause | None:
        """Count a probe.

        Returns:
            The cause it adds up to; None when the agent stays where it is.
        """
        if is_answering:
            return self._see_answer(agent)
        signs = self._signs.setdefault(agent.name, Signs())
        if signs.failed == 0:
            signs.failing_since_s = now_s
        signs.failed += 1
        signs.good = 0
        match agent.state:
            case AgentState.STARTING | AgentState.HEALTHY | AgentState.DEGRADED:
                return Cause.PROBES_FAILED if signs.failed >= self._config.probes_to_unhealthy else None
            case AgentState.UNHEALTHY if now_s - signs.failing_since_s >= self._config.lost_after_s:
                return Cause.SILENT_TOO_LONG
            case _:
                return None

    def see_heartbeat(self, agent: Agent, status: HealthStatus) -> Cause:
        """Count a heartbeat and return its cause."""
        if status is HealthStatus.HEALTHY and agent.state is AgentState.UNHEALTHY:
            return Cause.RECOVERED if self._count_good(agent.name) else Cause.SAID_HEALTHY
        self._signs.pop(agent.name, None)
        return HEARTBEAT_CAUSE[status]

    def forget(self, name: str) -> None:
        """Start from zero: the agent has moved, or is gone."""
        self._signs.pop(name, None)

    def moved(self, name: str) -> None:
        """Note that the agent has changed its state: good signs count anew, failing goes on since it began."""
        signs = self._signs.get(name)
        if signs is not None:
            signs.good = 0
            if signs.failed == 0:
                del self._signs[name]

    def pending(self, agent: Agent) -> str:
        """Return what is being counted for this agent, in words; empty when nothing is."""
        signs = self._signs.get(agent.name)
        if signs is None:
            return ""
        if signs.good:
            return f"{signs.good} of {self._config.signs_to_healthy} good signs in a row until healthy"
        if agent.state in (AgentState.STARTING, AgentState.HEALTHY, AgentState.DEGRADED):
            return f"{signs.failed} of {self._config.probes_to_unhealthy} failed probes until unhealthy"
        if agent.state is AgentState.UNHEALTHY:
            return f"{signs.failed} failed probes in a row; lost when they fail for {self._config.lost_after_s:g} s"
        return f"{signs.failed} failed probes in a row"

    def _see_answer(self, agent: Agent) -> Cause | None:
        if agent.state is AgentState.UNHEALTHY:
            return Cause.RECOVERED if self._count_good(agent.name) else None
        self._signs.pop(agent.name, None)
        is_new = agent.state in (AgentState.DECLARED, AgentState.STARTING, AgentState.LOST)
        return Cause.ANSWERED if is_new else None

    def _count_good(self, name: str) -> bool:
        signs = self._signs.setdefault(name, Signs())
        signs.failed = 0
        signs.good += 1
        return signs.good >= self._config.signs_to_healthy
