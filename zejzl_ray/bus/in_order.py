"""Batches that come on two ways, as calls and with answers, in the order of their numbers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_PATIENCE_S = 2.0  # a batch that was lost with its answer is not waited for any longer
_FIRST = 3  # with so low a number the first batch that comes may not be the first that was sent


class InOrder:
    """Lets batches of one sender through one at a time, by their numbers."""

    def __init__(self) -> None:
        self._boot = ""
        self._expected = 0
        self._begins_anew = False
        self._turn = asyncio.Lock()
        self._waiting: dict[int, asyncio.Future[None]] = {}

    def reset(self) -> None:
        """Begin anew with whatever comes next; what waits for an earlier batch does not any more."""
        self._begins_anew = True
        for waiter in self._waiting.values():
            _wake(waiter)
        self._waiting.clear()

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
            self.reset()
            self._boot, self._expected = boot, 1 if number <= _FIRST else number
        elif self._begins_anew:
            self._expected = number
        self._begins_anew = False
        if number > self._expected:
            await self._wait(number)
        async with self._turn:
            try:
                yield
            finally:
                if boot == self._boot and number >= self._expected:
                    self._expected = number + 1
                    if (following := self._waiting.get(number + 1)) is not None:
                        _wake(following)

    async def _wait(self, number: int) -> None:
        waiter = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await waiter
        except TimeoutError:
            pass
        finally:
            if self._waiting.get(number) is waiter:
                del self._waiting[number]


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
