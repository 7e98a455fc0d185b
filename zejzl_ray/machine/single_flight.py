"""A blocking call that never runs twice at once, however often it is asked for and however long it hangs."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from zejzl_ray.errors import DeadlineExceeded

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Runs a blocking call in a thread; callers that come while it runs share its result.

    A call that outlasts the time limit goes on in its thread, since a thread cannot be stopped; later callers
    wait for the same one and start no second, so a driver that hangs costs one thread.

    Args:
        call: what to run; its exceptions reach every caller that waits.
        what: its name in the message of ``DeadlineExceeded``.
    """

    def __init__(self, call: Callable[[], T], what: str) -> None:
        self._call = call
        self._what = what
        self._running: asyncio.Future[T] | None = None

    @property
    def is_running(self) -> bool:
        """Whether a call is under way now."""
        return self._running is not None and not self._running.done()

    async def result(self, timeout_s: float) -> T:
        """Return the result of the running call, or of a new one when none runs.

        Raises:
            DeadlineExceeded: no result within ``timeout_s`` seconds; safe to call again.
        """
        running = self._running
        if running is None or running.done():
            running = asyncio.ensure_future(asyncio.to_thread(self._call))
            running.add_done_callback(_take_exception)
            self._running = running
        done, _ = await asyncio.wait({running}, timeout=timeout_s)
        if not done:
            raise DeadlineExceeded(f"{self._what} did not answer within {timeout_s:g} s.")
        return running.result()


def _take_exception(future: "asyncio.Future[T]") -> None:
    """Mark the exception as seen: a call that nobody waits for any more must not end in a warning."""
    if not future.cancelled():
        future.exception()
