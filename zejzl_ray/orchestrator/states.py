"""The life of an agent as a written table: state and cause give the next state.

Nothing else in the project decides about states. ``docs/registry_states.md`` is ``render_table()``.
"""

from enum import StrEnum
from typing import Final

from zejzl_ray.contracts.orchestrator import AgentState, HealthStatus


class Cause(StrEnum):
    """What can move an agent from one state to another."""

    DECLARED = "declared"
    REGISTERED = "registered"
    SAID_HEALTHY = "said_healthy"
    SAID_DEGRADED = "said_degraded"
    SAID_UNHEALTHY = "said_unhealthy"
    ANSWERED = "answered"
    RECOVERED = "recovered"
    PROBES_FAILED = "probes_failed"
    LEASE_EXPIRED = "lease_expired"
    SILENT_TOO_LONG = "silent_too_long"
    DEREGISTERED = "deregistered"


MEANING: Final[dict[Cause, str]] = {
    Cause.DECLARED: "the fleet file names it",
    Cause.REGISTERED: "it registered, or somebody did it for it; the same again while it is there is no move",
    Cause.SAID_HEALTHY: "a heartbeat says healthy",
    Cause.SAID_DEGRADED: "a heartbeat says degraded",
    Cause.SAID_UNHEALTHY: "a heartbeat says unhealthy",
    Cause.ANSWERED: "a probe was answered",
    Cause.RECOVERED: "enough good signs in a row (`signs_to_healthy`)",
    Cause.PROBES_FAILED: "enough failed probes in a row (`probes_to_unhealthy`)",
    Cause.LEASE_EXPIRED: "its lease ran out",
    Cause.SILENT_TOO_LONG: "unhealthy, and probes failed for `lost_after_s`",
    Cause.DEREGISTERED: "it was removed on purpose (a member of the fleet; others are forgotten)",
}

HEARTBEAT_CAUSE: Final[dict[HealthStatus, Cause]] = {
    HealthStatus.HEALTHY: Cause.SAID_HEALTHY,
    HealthStatus.DEGRADED: Cause.SAID_DEGRADED,
    HealthStatus.UNHEALTHY: Cause.SAID_UNHEALTHY,
}

_D, _S, _H, _G, _U, _L, _P = (
    AgentState.DECLARED,
    AgentState.STARTING,
    AgentState.HEALTHY,
    AgentState.DEGRADED,
    AgentState.UNHEALTHY,
    AgentState.LOST,
    AgentState.STOPPED,
)

STATES: Final[tuple[AgentState | None, ...]] = (None, _D, _S, _H, _G, _U, _L, _P)

# One row a cause; the columns are STATES: unknown, declared, starting, healthy, degraded, unhealthy, lost,
# stopped. None means that the cause is refused, or cannot happen, in that state.
_ROWS: Final[dict[Cause, tuple[AgentState | None, ...]]] = {
    Cause.DECLARED: (_D, _D, _S, _H, _G, _U, _L, _P),
    Cause.REGISTERED: (_S, _S, _S, _H, _G, _S, _S, _S),
    Cause.SAID_HEALTHY: (None, _H, _H, _H, _H, _U, _S, None),
    Cause.SAID_DEGRADED: (None, _G, _G, _G, _G, _G, _G, None),
    Cause.SAID_UNHEALTHY: (None, _U, _U, _U, _U, _U, _U, None),
    Cause.ANSWERED: (None, _H, _H, _H, _G, _U, _S, None),
    Cause.RECOVERED: (None, _H, _H, _H, _H, _H, _H, None),
    Cause.PROBES_FAILED: (None, _D, _U, _U, _U, _U, _L, None),
    Cause.LEASE_EXPIRED: (None, _D, _L, _L, _L, _L, _L, None),
    Cause.SILENT_TOO_LONG: (None, _D, _L, _L, _L, _L, _L, None),
    Cause.DEREGISTERED: (None, _P, _P, _P, _P, _P, _P, _P),
}

TABLE: Final[dict[tuple[AgentState | None, Cause], AgentState | None]] = {
    (state, cause): target for cause, row in _ROWS.items() for state, target in zip(STATES, row, strict=True)
}

# States in which an agent counts as there; a lease runs in these and in no other.
LIVE: Final[frozenset[AgentState]] = frozenset({_S, _H, _G, _U})


def next_state(state: AgentState | None, cause: Cause) -> AgentState | None:
    """Return the state that follows; None when the cause is refused in this state.

    Args:
        state: None for an agent that the registry does not know.
        cause: what happened.
    """
    return TABLE[state, cause]


def render_table() -> str:
    """Return the table as Markdown: one row a cause, one column a state; a dash means no move, a cross refused."""
    titles = [state.value if state else "(unknown)" for state in STATES]
    lines = ["| cause | " + " | ".join(titles) + " | what it means |", "|" + "---|" * (len(titles) + 2)]
    for cause, row in _ROWS.items():
        cells = [
            "x" if target is None else "-" if target is state else target.value
            for state, target in zip(STATES, row, strict=True)
        ]
        lines.append(f"| {cause.value} | " + " | ".join(cells) + f" | {MEANING[cause]} |")
    return "\n".join(lines) + "\n"
