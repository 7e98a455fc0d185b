"""A process of agents that ends in order when it is told to."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import Final

from zejzl_ray.log import get_logger

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


async def run_until_signalled(
    close: Callable[[], Awaitable[object]], *, limit_s: float = 30.0
) -> signal.Signals:
    """Wait for SIGTERM or SIGINT, then close within ``limit_s``; return which signal it was.

    A second signal ends the wait for ``close`` at once. Needs the main thread.
    """
    loop = asyncio.get_running_loop()
    received: asyncio.Queue[signal.Signals] = asyncio.Queue(maxsize=64)
    for each in SIGNALS:
        loop.add_signal_handler(each, _note, received, each)
    try:
        which = await received.get()  # zejzl: ignore[receive-without-time-limit] until it is told
        get_logger("agents").info("stops", signal=which.name)
        closing = asyncio.ensure_future(close())
        again = asyncio.ensure_future(received.get())
        done, waiting = await asyncio.wait(
            {closing, again}, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED
        )
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        if closing in done:
            closing.result()
        else:
            get_logger("agents").warning("did not stop in order", limit_s=limit_s)
        return which
    finally:
        for each in SIGNALS:
            loop.remove_signal_handler(each)


def _note(received: "asyncio.Queue[signal.Signals]", which: signal.Signals) -> None:
    if not received.full():  # whoever sends more than that has been heard
        received.put_nowait(which)
