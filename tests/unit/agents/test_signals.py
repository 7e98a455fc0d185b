import asyncio
import os
import signal

import pytest

from zejzl_ray.agents.signals import run_until_signalled


async def kill_soon(which: signal.Signals) -> None:
    await asyncio.sleep(0)
    os.kill(os.getpid(), which)


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_closes_in_order(which: signal.Signals) -> None:
    closed = []

    async def close() -> None:
        closed.append(True)

    sending = asyncio.create_task(kill_soon(which))
    assert await run_until_signalled(close) is which
    await sending
    assert closed == [True]


async def test_a_second_signal_or_the_limit_ends_the_wait() -> None:
    closing = asyncio.Event()

    async def hang() -> None:
        closing.set()
        await asyncio.sleep(100)

    running = asyncio.create_task(run_until_signalled(hang))
    await kill_soon(signal.SIGTERM)
    await closing.wait()
    await kill_soon(signal.SIGTERM)
    assert await running is signal.SIGTERM
    sending = asyncio.create_task(kill_soon(signal.SIGINT))
    assert await run_until_signalled(hang, limit_s=0.01) is signal.SIGINT
    await sending


async def test_what_closing_raises_is_raised() -> None:
    async def fail() -> None:
        raise ValueError("x")

    sending = asyncio.create_task(kill_soon(signal.SIGTERM))
    with pytest.raises(ValueError, match="x"):
        await run_until_signalled(fail)
    await sending
