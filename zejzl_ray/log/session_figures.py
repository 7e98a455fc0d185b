"""The figures of a session: counted as it goes on, bounded however long it lasts."""

from collections import Counter, deque
from typing import Any, Final

KEPT: Final = 1000
_MAX_AGENTS: Final = 1000
_OTHERS: Final = "(others)"


class SwarmFigures:
    """What agents did together in one session; per agent for the first 1,000 agents, the others as one."""

    def __init__(self) -> None:
        self.agent_states: dict[str, str] = {}
        self.messages: Counter[str] = Counter()
        self.errors: dict[str, deque[str]] = {}
        self.handoffs_ms: deque[float] = deque(maxlen=KEPT)
        self.counts: Counter[str] = Counter()
        self._handoff_sum_ms = 0.0
        self._handoff_max_ms = 0.0

    def agent_is(self, agent: str, state: str) -> None:
        """Note the state of an agent."""
        self.agent_states[self._known(agent, self.agent_states)] = state

    def agent_failed(self, agent: str, error: str) -> None:
        """Note an error of an agent; the last 100 of each are kept."""
        self.errors.setdefault(self._known(agent, self.errors), deque(maxlen=100)).append(error)

    def agent_sent(self, agent: str) -> None:
        """Count a message of an agent."""
        self.messages[self._known(agent, self.messages)] += 1
        self.counts["message_count"] += 1

    def handed_over(self, latency_ms: float) -> None:
        """Count a hand-over and how long it took."""
        self.counts["total_handoffs"] += 1
        self.handoffs_ms.append(latency_ms)
        self._handoff_sum_ms += latency_ms
        self._handoff_max_ms = max(self._handoff_max_ms, latency_ms)

    def as_data(self) -> dict[str, Any]:
        """Return all figures; times are ms, the mean and the maximum over the whole session."""
        handoffs = self.counts["total_handoffs"]
        return {
            "agent_states": dict(self.agent_states),
            "agent_message_counts": dict(self.messages),
            "agent_errors": {agent: list(errors) for agent, errors in self.errors.items()},
            "total_handoffs": handoffs,
            "handoff_latencies": list(self.handoffs_ms),
            "message_count": self.counts["message_count"],
            "avg_handoff_latency": self._handoff_sum_ms / handoffs if handoffs else 0.0,
            "max_handoff_latency": self._handoff_max_ms,
            **{
                name: self.counts[name]
                for name in (
                    "coordinator_decisions", "task_decompositions", "confirmations_requested",
                    "confirmations_approved", "heartbeats_received", "deadlocks_detected", "agent_restarts",
                )
            },
        }  # fmt: skip

    @staticmethod
    def _known(agent: str, table: dict[str, Any]) -> str:
        return agent if agent in table or len(table) < _MAX_AGENTS else _OTHERS
