"""Batches that come on two ways, as calls and with answers, in the order of their numbers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_PATIENCE_S = 2.0  # a batch that was lost with its answer is not waited for any longer


class InOrder:
    """Lets batches of one sender through one at a time, by their numbers."""

    def __init__(self) -> None:
        self._boot = ""
        self._expected = 0
        self._busy = False
        self._waiting: dict[int, asyncio.Future[None]] = {}

    def reset(self) -> None:
        """Begin anew with whatever comes next."""
        self._boot = ""

    @asynccontextmanager
    async def turn(self, boot: str, number: int) -> AsyncIterator[None]:
        """Wait until it is a batch's turn, and hold the others back until it is done.

        Args:
            boot: of the sender; with another one counting begins anew.
            number: of the batch; 0 is let through at once.
        """
        if not number:
            yield
            return
        if boot != self._boot:
            self._boot, self._expected = boot, number
        if number > self._expected:
            await self._wait(number)
        try:
            yield
        finally:
            if boot == self._boot and number >= self._expected:
                self._expected = number + 1
                if (following := self._waiting.pop(number + 1, None)) is not None and not following.done():
                    following.set_result(None)

    async def _wait(self, number: int) -> None:
        waiter = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await waiter
        except TimeoutError:
            self._waiting.pop(number, None)
