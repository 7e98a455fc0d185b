"""A blocked loop is found with its stack, once; a loop that only waits never is."""

import asyncio
import sys
import threading
import time

import pytest

from zejzl_ray.metrics.loop_watchdog import BlockedLoop, LoopWatchdog
from zejzl_ray.testing import ManualClock

LIMIT_S = 0.04
PATIENCE_S = 20.0


class Listener:
    """What the watchdog tells; ``found`` is set with the first news of each kind."""

    def __init__(self) -> None:
        self.told: list[BlockedLoop] = []
        self.found = threading.Event()
        self.over = threading.Event()

    def __call__(self, blocked: BlockedLoop) -> None:
        self.told.append(blocked)
        (self.over if blocked.is_over else self.found).set()


def hold_the_loop(until: threading.Event) -> bool:
    return until.wait(PATIENCE_S)


async def soon(event: threading.Event) -> bool:
    return await asyncio.to_thread(event.wait, PATIENCE_S)


async def test_a_blocked_loop_is_told_with_the_stack_that_blocks_it_and_again_when_it_goes_on() -> None:
    listener = Listener()
    watchdog = LoopWatchdog(asyncio.get_running_loop(), limit_s=LIMIT_S, on_blocked=listener)
    watchdog.start()
    watchdog.start()
    await asyncio.sleep(0)
    assert hold_the_loop(listener.found)
    assert watchdog.is_blocked
    assert await soon(listener.over)
    watchdog.stop()
    watchdog.stop()
    first, last = listener.told
    assert "hold_the_loop" in first.stack
    assert first.blocked_s >= LIMIT_S
    assert not first.is_over
    assert last.is_over
    assert last.stack == first.stack
    assert (watchdog.blocks, watchdog.longest_s) == (1, last.blocked_s)
    assert not watchdog.is_blocked


async def test_a_plain_callback_that_blocks_is_found_as_well() -> None:
    listener = Listener()
    loop, lock = asyncio.get_running_loop(), threading.Lock()
    lock.acquire()

    def release(blocked: BlockedLoop) -> None:
        listener(blocked)
        if not blocked.is_over:
            lock.release()

    watchdog = LoopWatchdog(loop, limit_s=LIMIT_S, on_blocked=release)
    watchdog.start()
    await asyncio.sleep(0)
    loop.call_soon(lock.acquire, True, PATIENCE_S)  # a function of C, which has no frame
    assert await soon(listener.over)
    watchdog.stop()
    assert listener.told[0].stack


async def test_a_machine_that_slept_while_the_loop_had_nothing_to_do_is_no_block() -> None:
    clock, listener = ManualClock(), Listener()
    # So slow that its own thread does not look within the test.
    watchdog = LoopWatchdog(asyncio.get_running_loop(), limit_s=3600, on_blocked=listener, clock=clock)
    watchdog.start()
    await asyncio.sleep(0)

    loop_thread, is_waiting = threading.get_ident(), threading.Event()

    def look_three_times() -> None:
        end_s = time.monotonic() + PATIENCE_S
        while sys._current_frames()[loop_thread].f_code.co_name != "select" and time.monotonic() < end_s:
            is_waiting.wait(0.001)
        for _ in range(3):
            clock.advance(10_000)
            watchdog.look()

    await asyncio.to_thread(look_three_times)
    watchdog.stop()
    assert listener.told == []
    assert watchdog.blocks == 0


async def test_before_the_loop_has_run_once_nothing_is_judged() -> None:
    clock, listener = ManualClock(), Listener()
    watchdog = LoopWatchdog(asyncio.get_running_loop(), limit_s=3600, on_blocked=listener, clock=clock)
    watchdog.start()
    clock.advance(10_000)
    watchdog.look()
    watchdog.look()
    watchdog.stop()
    assert listener.told == []


async def test_one_look_at_a_slow_callback_is_not_enough() -> None:
    clock, listener = ManualClock(), Listener()
    watchdog = LoopWatchdog(asyncio.get_running_loop(), limit_s=3600, on_blocked=listener, clock=clock)
    watchdog.start()
    await asyncio.sleep(0)
    clock.advance(4000)
    watchdog.look()
    assert listener.told == []
    watchdog.look()
    assert [each.is_over for each in listener.told] == [False]
    watchdog.look()
    assert len(listener.told) == 1
    watchdog.stop()


async def test_a_listener_that_fails_does_not_end_the_watch() -> None:
    clock = ManualClock()

    def fail(blocked: BlockedLoop) -> None:
        raise RuntimeError("no")

    watchdog = LoopWatchdog(asyncio.get_running_loop(), limit_s=3600, on_blocked=fail, clock=clock)
    watchdog.start()
    await asyncio.sleep(0)
    clock.advance(4000)
    watchdog.look()
    watchdog.look()
    assert watchdog.blocks == 1
    watchdog.stop()


async def test_a_limit_has_to_be_above_zero() -> None:
    with pytest.raises(ValueError, match="above 0"):
        LoopWatchdog(asyncio.get_running_loop(), limit_s=0.0, on_blocked=lambda blocked: None)
