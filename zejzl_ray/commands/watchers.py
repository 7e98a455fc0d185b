"""Callers that wait for changes."""

import asyncio

from zejzl_ray.errors import Overloaded


class Watchers:
    """Wakes waiting callers after a commit.

    Args:
        limit: callers that may wait at the same time.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: set[asyncio.Future[None]] = set()

    def __len__(self) -> int:
        """Return how many callers wait."""
        return len(self._waiting)

    def wake(self) -> None:
        """Wake all; each looks for itself what is new."""
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    async def wait(self, timeout_s: float) -> bool:
        """Wait for the next ``wake``.

        Returns:
            False when nothing happened within the time.

        Raises:
            Overloaded: too many wait already.
        """
        if len(self._waiting) >= self._limit:
            raise Overloaded(
                f"{self._limit} callers wait for changes already.", "Watch through the ingress instead."
            )
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            async with asyncio.timeout(timeout_s):
                await future
        except TimeoutError:
            return False
        finally:
            self._waiting.discard(future)
        return True
