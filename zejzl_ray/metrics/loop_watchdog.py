"""Finds an event loop that is blocked, with the stack that blocks it."""

import asyncio
import selectors
import sys
import threading
import traceback
from asyncio.events import Handle
from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Final

import structlog

from zejzl_ray.clock import Clock, SystemClock

_LOOKS: Final = 4  # within the limit
_MAX_STACK: Final = 4000
_JOIN_S: Final = 5.0
_RUN_CODE: Final = Handle._run.__code__
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class BlockedLoop:
    """A loop that does not get to its other work.

    Attributes:
        blocked_s: for how long, by now or in all.
        stack: what runs on it, the innermost call last; without values of variables.
        is_over: it goes on again.
    """

    blocked_s: float
    stack: str
    is_over: bool


class LoopWatchdog:
    """Watches one event loop from a thread of its own.

    A callback on the loop says four times within ``limit_s`` that it runs. When that stays away for ``limit_s``, and
    two looks at the loop's thread show the same callback at work, the loop is blocked. A loop that waits for events is
    never blocked, however late: then the machine slept, or had no time for the whole process.

    Args:
        loop: what to watch.
        limit_s: from this time on a callback blocks the loop.
        on_blocked: called once when a block is found, and once when it is over; in the watchdog's thread.
        clock: its monotonic time is used.

    Attributes:
        blocks: how many were found.
        longest_s: the longest that is over.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        limit_s: float = 1.0,
        on_blocked: Callable[[BlockedLoop], None],
        clock: Clock | None = None,
    ) -> None:
        if not limit_s > 0:
            raise ValueError(f"limit_s is {limit_s}, and must be above 0")
        self._loop = loop
        self._limit_s = limit_s
        self._period_s = limit_s / _LOOKS
        self._on_blocked = on_blocked
        self._clock = clock or SystemClock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._timer: asyncio.Handle | None = None
        self._loop_thread = 0
        # Code of the loop itself and of whoever runs it: what stands below every callback.
        self._below: frozenset[CodeType] = frozenset()
        self._beat_s = 0.0
        self._suspect: tuple[float, FrameType] | None = None
        self._blocked: tuple[float, str] | None = None
        self.blocks = 0
        self.longest_s = 0.0

    @property
    def is_blocked(self) -> bool:
        """Whether the loop is blocked now."""
        return self._blocked is not None

    def start(self) -> None:
        """Begin to watch; call it on the loop. Safe to repeat."""
        if self._thread is not None:
            return
        self._stopping.clear()
        self._loop_thread = threading.get_ident()
        self._beat_s = self._clock.monotonic_s()
        self._timer = self._loop.call_soon(self._beat)
        self._thread = threading.Thread(target=self._run, name="loop-watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop watching; call it on the loop. Safe to repeat."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._stopping.set()
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(_JOIN_S)

    def look(self) -> None:
        """Look once; the thread does it four times within the limit."""
        beat_s, now_s = self._beat_s, self._clock.monotonic_s()
        if self._blocked is not None:
            since_s, stack = self._blocked
            if beat_s > since_s:
                self._end(beat_s - since_s - self._period_s, stack)
            else:
                return
        if now_s - beat_s < self._limit_s:
            self._suspect = None
            return
        frame = sys._current_frames().get(self._loop_thread)
        at_work = None if frame is None else self._callback(frame)
        if frame is None or at_work is None:
            self._suspect = None
        elif self._suspect is not None and self._suspect == (beat_s, at_work):
            self._suspect = None  # a frame that is held keeps its variables alive
            self._begin(beat_s, now_s - beat_s, _format(frame))
        else:
            self._suspect = (beat_s, at_work)

    def _run(self) -> None:
        while not self._stopping.wait(self._period_s):
            self.look()

    def _beat(self) -> None:
        if not self._below:
            self._below = frozenset(frame.f_code for frame, _ in traceback.walk_stack(sys._getframe(1)))
        self._beat_s = self._clock.monotonic_s()
        self._timer = self._loop.call_later(self._period_s, self._beat)

    def _callback(self, innermost: FrameType) -> FrameType | None:
        """Return the frame of the callback that the loop runs now; None when it waits for events."""
        if not self._below:  # it has not run yet since the start
            return None
        found: FrameType | None = None
        for frame, _ in traceback.walk_stack(innermost):
            if frame.f_code not in self._below:
                found = frame
        if found is None:  # a callback without a frame of its own, such as a function of a C library
            return innermost if innermost.f_code is _RUN_CODE else None
        return None if found.f_code.co_filename == selectors.__file__ else found

    def _begin(self, since_s: float, blocked_s: float, stack: str) -> None:
        self._blocked = (since_s, stack)
        self.blocks += 1
        self._tell(BlockedLoop(blocked_s=blocked_s, stack=stack, is_over=False))

    def _end(self, blocked_s: float, stack: str) -> None:
        self._blocked = None
        self.longest_s = max(self.longest_s, blocked_s)
        self._tell(BlockedLoop(blocked_s=blocked_s, stack=stack, is_over=True))

    def _tell(self, blocked: BlockedLoop) -> None:
        try:
            self._on_blocked(blocked)
        except Exception:  # whoever listens must not end the watch
            _log.exception("news of a blocked loop were not taken")


def _format(innermost: FrameType) -> str:
    return "".join(traceback.format_stack(innermost))[-_MAX_STACK:]
