"""What follows when a part of this machine's Ray node has ended: pure decisions, no process and no waiting."""

from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import tenacity

RAYLET: Final = "raylet"
CONTROL_STORE: Final = "gcs_server"
DASHBOARD: Final = "dashboard"
START: Final = "ray start"
SERVICES: Final = "services"
ROLE: Final = "role"


@dataclass(frozen=True, slots=True)
class Ending:
    """How a part of the node ended, or the whole.

    Attributes:
        is_asked: Ray was told to stop, by ``ray stop`` or a signal to the supervisor.
        process: which of its processes ended first; ``ray start`` for a start that failed; ``role`` when it ends
            to begin as something else; empty when it was the supervisor that was told.
        status: exit status of that process; negative is the number of a signal.
        reason: in words, where there is more to say than the status.
    """

    is_asked: bool
    process: str
    status: int
    reason: str = ""

    def __str__(self) -> str:
        """Return one line for the record and the log."""
        return self.reason or (f"{self.process} ended with {self.status}" if self.process else "")


class Step(StrEnum):
    """What to do next."""

    STOP = "stop"
    RESTART_NODE = "restart the node"
    RESTART_PART = "restart this process alone"


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, and after how many seconds."""

    step: Step
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class BackOff:
    """How long to wait before something is started again; there is no giving up.

    Attributes:
        initial_s: before the second restart in a row; the first comes at once.
        max_s: longest wait; after that much trouble a machine whose way is clear again is back this much later.
        window_s: endings longer ago are forgotten.
    """

    initial_s: float = 1.0
    max_s: float = 10.0
    window_s: float = 120.0

    def wait_s(self, endings: int) -> float:
        """Return how long to wait after so many endings in the window, 1 or more."""
        if endings <= 1:
            return 0.0
        turn = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
        turn.attempt_number = endings - 1
        return tenacity.wait_exponential(multiplier=self.initial_s, max=self.max_s)(turn)


class HeadWatch:
    """Tells when a machine that was cut off should ask whether the cluster still counts it as a member.

    A raylet that was given up finds out by itself, but only after the network's own back-off: up to half a minute.

    Args:
        lost_after_s: how long a head must have been out of reach for it; shorter than the head's own patience.
    """

    def __init__(self, lost_after_s: float = 4.0) -> None:
        self._lost_after_s = lost_after_s
        self._last_seen_s: float | None = None
        self._is_in_doubt = False

    def saw(self, now_s: float, *, is_reachable: bool) -> bool:
        """Note one look at the head, about a second after the last; return whether to ask now.

        A machine that was frozen itself has made no looks, which is the same to the head.

        Args:
            now_s: monotonic seconds.
            is_reachable: whether the head's control store took a connection.
        """
        if self._last_seen_s is not None and now_s - self._last_seen_s >= self._lost_after_s:
            self._is_in_doubt = True
        if is_reachable:
            self._last_seen_s = now_s
        return is_reachable and self._is_in_doubt

    def answered(self) -> None:
        """Note that the head has said so, either way."""
        self._is_in_doubt = False


class NodeRestarts:
    """Decides, by what ended and how often it did lately.

    Args:
        keeps_state: the control store has its state outside of its process, so it can be restarted alone: everything
            else connects again and goes on.
        backoff: waits between restarts.
    """

    def __init__(self, *, keeps_state: bool, backoff: BackOff | None = None) -> None:
        self._keeps_state = keeps_state
        self._backoff = backoff or BackOff()
        self._endings: dict[
            str, deque[float]
        ] = {}  # process -> when it ended lately, monotonic seconds, ascending

    def after(self, ending: Ending, now_s: float) -> Decision:
        """Return what to do about an ending.

        Args:
            ending: what has just happened.
            now_s: monotonic seconds.
        """
        if ending.is_asked:
            return Decision(Step.STOP)
        is_part = ending.process in (SERVICES, DASHBOARD) or (
            ending.process == CONTROL_STORE and self._keeps_state
        )
        # All that takes the whole node down counts together: a start that fails because of the last raylet's end too.
        recent = self._endings.setdefault(ending.process if is_part else RAYLET, deque())
        while recent and recent[0] < now_s - self._backoff.window_s:
            recent.popleft()
        recent.append(now_s)
        return Decision(
            Step.RESTART_PART if is_part else Step.RESTART_NODE, self._backoff.wait_s(len(recent))
        )
