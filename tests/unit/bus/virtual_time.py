"""An event loop whose time is made up: waiting takes none, the order is always the same, hanging is an error."""

import asyncio
import functools
import gc
import selectors
import traceback
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec

P = ParamSpec("P")
START_S = 1_700_000_000.0


class _Selector(selectors.SelectSelector):
    """Does not wait: it moves the time of its loop."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise AssertionError("nothing will ever happen: everybody waits without a time limit")
        self.now_s += max(0.0, timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop.

    Attributes:
        problems: what nobody has caught or looked at.
    """

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)
        self.problems: list[str] = []
        self.set_exception_handler(self._note)

    def time(self) -> float:
        return self._virtual.now_s

    def _note(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        trace = "".join(traceback.format_exception(error)) if isinstance(error, BaseException) else ""
        self.problems.append(f"{context['message']}\n{trace}")

    def go_round(self) -> None:
        """Do what is ready now, once, without time going by."""
        self.stop()
        self.run_forever()


class LoopClock:
    """A ``Clock`` that goes with the running loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def now_s(self) -> float:
        return START_S + self._loop.time()

    def monotonic_s(self) -> float:
        return self._loop.time()


def clock() -> LoopClock:
    """Return the clock of the running loop."""
    return LoopClock(asyncio.get_running_loop())


@contextmanager
def virtual_loop() -> Iterator[VirtualLoop]:
    """Give a loop, and check in the end that nothing went wrong unseen."""
    loop = VirtualLoop()
    try:
        yield loop
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        gc.collect(0)
        assert loop.problems == []
    finally:
        loop.close()


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an asynchronous test in a loop of its own whose time is made up."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with virtual_loop() as loop:
            loop.run_until_complete(test(*args, **kwargs))

    return run


async def settle(rounds: int = 20) -> None:
    """Let everything happen that can without time going by."""
    for _ in range(rounds):
        await asyncio.sleep(0)
