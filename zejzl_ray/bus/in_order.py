"""Batches that come on two ways, as calls and with answers, in the order of their numbers."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

_PATIENCE_S = 2.0  # a batch that was lost with its answer is not waited for any longer
_FAR = 1000  # numbers so much higher than the next one are not of this sender
_FIRST = 3  # with so low a number the first batch that comes may not be the first that was sent


class InOrder:
    """Lets batches of one sender through one at a time, by their numbers."""

    def __init__(self) -> None:
        self._boot = ""
        self._expected = 0
        self._turn = asyncio.Lock()
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._lost: set[int] = set()

    def skip(self, boot: str, numbers: Sequence[int]) -> None:
        """Learn that some batches may never come: they are not waited for; those that do come are let through."""
        if numbers:
            if boot != self._boot:
                self._begin(boot, min(numbers))
            self._lost |= {number for number in numbers if self._expected <= number <= self._expected + _FAR}
            self._go_on()

    @asynccontextmanager
    async def turn(self, boot: str, number: int) -> AsyncIterator[None]:
        """Wait until it is a batch's turn, and hold the others back until it is done.

        Args:
            boot: of the sender; with another one counting begins anew, and what waits is let through.
            number: of the batch; 0 is let through at once.
        """
        if not number:
            yield
            return
        if boot != self._boot:
            self._begin(boot, number)
            await asyncio.sleep(0)  # what has waited goes first
        if number > self._expected:
            await self._wait(number)
        async with self._turn:
            try:
                yield
            finally:
                if boot == self._boot and number >= self._expected:
                    self._expected = number + 1
                    self._go_on()

    def _begin(self, boot: str, number: int) -> None:
        self._boot, self._expected = boot, 1 if number <= _FIRST else number
        for waiting in sorted(self._waiting):
            _wake(self._waiting[waiting])
        self._waiting.clear()
        self._lost.clear()

    def _go_on(self) -> None:
        while self._expected in self._lost:
            self._lost.discard(self._expected)
            self._expected += 1
        if (following := self._waiting.get(self._expected)) is not None:
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
