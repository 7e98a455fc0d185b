"""Time limits of many short waits, with one timer.

Nearly every wait ends long before its limit. A timer of its own for each would be most of what a wait costs.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

_APART_S: Final = 0.005  # passes that look for what is over are at least so far apart


class TimeLimits:
    """Calls a function for each wait that is not ended in time, up to 5 ms late; belongs to one event loop."""

    __slots__ = ("_at_s", "_loop", "_timer", "_waiting")

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: dict[asyncio.Future[Any], tuple[float, Callable[..., None], tuple[Any, ...]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._at_s = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    def begin(
        self, future: "asyncio.Future[Any]", limit_s: float, on_time: Callable[..., None], *args: Any
    ) -> None:
        """Have ``on_time(*args)`` called after ``limit_s`` seconds, unless ``end`` comes before."""
        loop = self._loop
        if loop is None:
            loop = self._loop = future.get_loop()
        at_s = loop.time() + limit_s
        self._waiting[future] = (at_s, on_time, args)
        if self._timer is None or at_s < self._at_s:
            self._plan(loop, at_s)

    def end(self, future: "asyncio.Future[Any]") -> None:
        """Forget a wait; safe to repeat."""
        self._waiting.pop(future, None)

    def _plan(self, loop: asyncio.AbstractEventLoop, at_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._at_s = at_s
        self._timer = loop.call_at(at_s, self._look)

    def _look(self) -> None:
        loop, self._timer = self._loop, None
        assert loop is not None
        now_s = max(
            loop.time(), self._at_s
        )  # a timer may come a little early, by the resolution of the clock
        over = [(future, each) for future, each in self._waiting.items() if each[0] <= now_s]
        for future, (_, on_time, args) in over:
            del self._waiting[future]
            on_time(*args)
        if self._waiting:
            earliest_s = min(each[0] for each in self._waiting.values())
            self._plan(loop, max(earliest_s, now_s + _APART_S))
