"""The states of an agent in its host, as one table; a move is returned as data."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from zejzl_ray.contracts.agent_life import LifeState
from zejzl_ray.errors import Conflict

_KEPT: Final = 100


class LifeEvent(StrEnum):
    """What happens to an agent."""

    START = "start"
    STARTED = "started"
    PAUSE = "pause"
    RESUME = "resume"
    CRASH = "crash"
    BACK_OFF = "back_off"
    GIVE_UP = "give_up"
    STAND_BY = "stand_by"
    STOP = "stop"
    DRAINED = "drained"


_S = LifeState
_E = LifeEvent
TRANSITIONS: Final[dict[LifeState, dict[LifeEvent, LifeState]]] = {
    _S.STOPPED: {_E.START: _S.STARTING, _E.STAND_BY: _S.STANDBY},
    _S.STARTING: {_E.STARTED: _S.RUNNING, _E.CRASH: _S.FAILED, _E.STOP: _S.DRAINING},
    _S.RUNNING: {_E.PAUSE: _S.PAUSED, _E.CRASH: _S.FAILED, _E.STOP: _S.DRAINING},
    _S.PAUSED: {_E.RESUME: _S.RUNNING, _E.CRASH: _S.FAILED, _E.STOP: _S.DRAINING},
    _S.DRAINING: {_E.DRAINED: _S.STOPPED},
    _S.FAILED: {
        _E.BACK_OFF: _S.BACKING_OFF,
        _E.GIVE_UP: _S.FAILED,
        _E.STAND_BY: _S.STANDBY,
        _E.START: _S.STARTING,
        _E.STOP: _S.DRAINING,
    },
    _S.BACKING_OFF: {_E.START: _S.STARTING, _E.STAND_BY: _S.STANDBY, _E.STOP: _S.DRAINING},
    _S.STANDBY: {_E.START: _S.STARTING, _E.STOP: _S.DRAINING},
}


@dataclass(frozen=True, slots=True)
class Transition:
    """One move.

    Attributes:
        agent: whose.
        from_state: before.
        to_state: after.
        event: what happened.
        at_s: wall time.
        reason: why; may be empty.
    """

    agent: str
    from_state: LifeState
    to_state: LifeState
    event: LifeEvent
    at_s: float
    reason: str = ""


class Lifecycle:
    """Where one agent is in its life; it begins stopped.

    Args:
        agent: its name.
        now_s: wall time now.
        on_transition: called with every move, after it; it must not raise.

    Attributes:
        state: where it is.
        since_s: wall time of the last move.
        reason: of the last move.
        history: the last 100 moves, oldest first.
    """

    def __init__(
        self, agent: str, now_s: float, on_transition: Callable[[Transition], None] | None = None
    ) -> None:
        self.agent = agent
        self.state = LifeState.STOPPED
        self.since_s = now_s
        self.reason = ""
        self.history: deque[Transition] = deque(maxlen=_KEPT)
        self._on_transition = on_transition

    def allows(self, event: LifeEvent) -> bool:
        """Tell whether an event may happen now."""
        return event in TRANSITIONS[self.state]

    def apply(self, event: LifeEvent, now_s: float, reason: str = "") -> Transition:
        """Move on, and return the move.

        Raises:
            Conflict: the event may not happen in this state; nothing has changed.
        """
        to_state = TRANSITIONS[self.state].get(event)
        if to_state is None:
            raise Conflict(
                f"{self.agent} is {self.state}: {event} is not possible now.",
                f"Possible: {', '.join(TRANSITIONS[self.state])}.",
            )
        transition = Transition(self.agent, self.state, to_state, event, now_s, reason)
        self.state, self.since_s, self.reason = to_state, now_s, reason
        self.history.append(transition)
        if self._on_transition is not None:
            self._on_transition(transition)
        return transition


def shown_reason(error: BaseException) -> str:
    """Return what the registry may show of a failure: its text where it is ours, else only its kind."""
    message = getattr(error, "message", "")
    return message if isinstance(message, str) and message else type(error).__name__
