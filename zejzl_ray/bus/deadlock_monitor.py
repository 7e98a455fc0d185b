"""The search for deadlocks in a process that is alone, without a hub."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

from zejzl_ray.bus.callbacks import CallbackHandle, call_safely
from zejzl_ray.bus.deadlock_finder import DeadlockFinder, DeadlockPolicy
from zejzl_ray.bus.post_office import PostOffice
from zejzl_ray.bus.waits import MIN_AGE_S, WaitsReporter
from zejzl_ray.contracts.waits import Deadlock
from zejzl_ray.errors import DeadlockDetected, InvalidInput
from zejzl_ray.log import get_logger

PERIOD_S: Final = 0.5
_CALL_S: Final = 5.0
_MOST_KEPT: Final = 100
_MOST_SUBSCRIBERS: Final = 1000
_log = get_logger("zejzl.bus")

OnDeadlock = Callable[[Deadlock], Awaitable[Any] | Any]


class LocalDeadlockMonitor:
    """Looks twice a second for agents of one process that wait for one another in a circle, and ends the circle.

    A deadlock is told once: to the log, to the counter ``deadlocks_total`` and to the subscribers. The youngest
    request of the circle fails with ``DeadlockDetected``, unless the policy says otherwise. Looking goes on, whatever
    was found.

    Args:
        office: the bus of the process.
        policy: how deadlocks are judged.
        on_deadlock: a first subscriber.
        period_s: time between two looks.
        min_age_s: nothing is looked at as long as no request waits for so long.
    """

    def __init__(
        self,
        office: PostOffice,
        policy: DeadlockPolicy | None = None,
        *,
        on_deadlock: OnDeadlock | None = None,
        period_s: float = PERIOD_S,
        min_age_s: float = MIN_AGE_S,
    ) -> None:
        if not isinstance(period_s, int | float) or not period_s > 0:
            raise InvalidInput(
                f"period_s of a search for deadlocks is {period_s!r}.", "Give seconds, above 0."
            )
        self._office = office
        self._finder = DeadlockFinder(policy)
        self._reporter = WaitsReporter(office.local, min_age_s=min_age_s)
        self._period_s = period_s
        self._subscribers: dict[int, OnDeadlock] = {}
        self._next = 0
        self._found: deque[Deadlock] = deque(maxlen=_MOST_KEPT)
        self._detected = 0
        self._recovered = 0
        self._task: asyncio.Task[None] | None = None
        if on_deadlock is not None:
            self.on_deadlock(on_deadlock)

    def on_deadlock(self, callback: OnDeadlock) -> CallbackHandle:
        """Have a function called with every deadlock from now on, a plain one or a coroutine function.

        What it raises is logged and keeps nobody else from being called. A coroutine is given five seconds.

        Raises:
            InvalidInput: it is no function, or there are 1,000 subscribers already.
        """
        if not callable(callback):
            raise InvalidInput(f"A subscriber of deadlocks is {callback!r}.", "Give a function.")
        if len(self._subscribers) >= _MOST_SUBSCRIBERS:
            raise InvalidInput(
                f"There are {_MOST_SUBSCRIBERS} subscribers already.", "Cancel those not needed."
            )
        number, self._next = self._next, self._next + 1
        self._subscribers[number] = callback
        return CallbackHandle(lambda: self._subscribers.pop(number, None))

    def start(self) -> None:
        """Begin to look; safe to repeat.

        Raises:
            RuntimeError: no event loop runs.
        """
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(), name="search for deadlocks")

    async def stop(self) -> None:
        """Stop looking; safe to repeat. What was found is kept."""
        task, self._task = self._task, None
        if task is not None and task is not asyncio.current_task():
            task.cancel()
            await asyncio.wait({task}, timeout=5)

    @property
    def is_running(self) -> bool:
        """Whether it looks."""
        return self._task is not None and not self._task.done()

    @property
    def found(self) -> tuple[Deadlock, ...]:
        """The last 100 deadlocks, oldest first."""
        return tuple(self._found)

    def stats(self) -> dict[str, int | bool]:
        """Return the counters with the names of the old detector.

        ``deadlocks_recovered`` counts those that were ended by failing a request, ``agents_monitored`` the agents of
        the process.
        """
        return {
            "deadlocks_detected": self._detected,
            "deadlocks_recovered": self._recovered,
            "agents_monitored": len(self._office.agents()),
            "running": self.is_running,
        }

    async def look(self) -> tuple[Deadlock, ...]:
        """Look once, and see to what was found; returns it."""
        found: list[Deadlock] = []
        for has_stacks in (False, True):
            now_s = self._office.clock.now_s()
            report = self._reporter.next_report(now_s, has_stacks=has_stacks)
            if report is None:
                break
            verdict = self._finder.observe(report, now_s)
            self._reporter.answered(report)
            found += verdict.found
            for fail in verdict.answer.fail:
                error = DeadlockDetected(
                    f"Agents wait for one another in a circle: {fail.reason}",
                    "Let one of them answer before it asks, or ask with a shorter time limit.",
                    {"agents": list(fail.agents), "correlation_id": fail.correlation_id},
                )
                self._recovered += await self._office.give_up(fail.correlation_id, error)
            if not verdict.answer.wants_stacks:
                break
        for deadlock in found:
            await self._tell(deadlock)
        return tuple(found)

    async def _tell(self, deadlock: Deadlock) -> None:
        self._detected += 1
        self._found.append(deadlock)
        self._office.figures.events.add("deadlocks_total")
        _log.error(
            "deadlock",
            agents=deadlock.agents,
            correlation_ids=deadlock.correlation_ids,
            broken=deadlock.broken,
        )
        for callback in tuple(self._subscribers.values()):
            await call_safely(callback, deadlock, _CALL_S, subscriber_of="deadlocks", deadlock=deadlock.id)

    async def _run(self) -> None:
        while self._task is asyncio.current_task():  # a subscriber may stop it
            await asyncio.sleep(self._period_s)
            try:
                await self.look()
            except Exception:
                _log.exception("the search for deadlocks failed; it goes on")
