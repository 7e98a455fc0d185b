"""Work that waits for a store is tried again until nothing is left, without anybody waiting for it."""

import asyncio
from collections.abc import Awaitable, Callable

from zejzl_ray.errors import ZejzlError
from zejzl_ray.log import get_logger

_RETRY_S = 1.0
_log = get_logger("zejzl.bus")


class LateFlush:
    """Calls ``flush`` a little later, and once more as long as it ``is_needed``; one call at a time.

    Args:
        name: whose work it is, for the log.
        flush: stores what waits.
        is_needed: whether anything waits, and there is hope.
    """

    def __init__(
        self, name: str, flush: Callable[[], Awaitable[None]], is_needed: Callable[[], bool]
    ) -> None:
        self._name = name
        self._flush = flush
        self._is_needed = is_needed
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_stopped = False

    def plan(self, delay_s: float = _RETRY_S) -> None:
        """Have it done in ``delay_s`` seconds if it is needed and not planned already."""
        if self._timer is None and not self._is_stopped and self._is_needed():
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._start)

    async def stop(self, timeout_s: float) -> None:
        """Plan no more and wait for the call that runs; safe to repeat."""
        self._is_stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=timeout_s)

    def _start(self) -> None:
        self._timer = None
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"flush-{self._name}")

    async def _run(self) -> None:
        try:
            if self._is_needed():
                await self._flush()
        except ZejzlError as error:
            _log.warning("work waits for the store", of=self._name, error=str(error))
        finally:
            self._task = None
            self.plan()
