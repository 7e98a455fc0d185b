import asyncio
import functools
import inspect
import pickle
from collections.abc import AsyncIterator

import pytest

from tests.unit.resilience.noted_pauses import Flaky, NotedPauses
from zejzl_ray.errors import InvalidInput, RateLimited, ServiceUnavailable, TimedOut
from zejzl_ray.resilience.retry import Pace, call, call_blocking, retry_with_backoff, retrying
from zejzl_ray.resilience.retry_policy import RetryPolicy

STEADY = RetryPolicy(max_attempts=4, base_delay_s=1.0, max_delay_s=3.0, jitter=0.0)
AWAY = ServiceUnavailable("away")


async def test_a_call_that_recovers_returns_its_value_after_pauses_that_double_up_to_the_longest() -> None:
    time, callee = NotedPauses(), Flaky(AWAY, TimeoutError(), ConnectionError(), "done")
    assert await call(STEADY, callee, 1, pace=time.pace) == "done"
    assert time.slept == [1.0, 2.0, 3.0]


async def test_after_the_last_try_its_own_error_is_raised_and_no_pause_follows() -> None:
    time, last = NotedPauses(), ServiceUnavailable("the last")
    callee = Flaky(AWAY, AWAY, AWAY, last, "never asked")
    with pytest.raises(ServiceUnavailable) as info:
        await call(STEADY, callee, pace=time.pace)
    assert info.value is last
    assert (callee.calls, len(time.slept)) == (4, 3)


async def test_a_bug_is_raised_at_once() -> None:
    time, callee = NotedPauses(), Flaky(TypeError("bug"), "never asked")
    with pytest.raises(TypeError, match="bug"):
        await call(STEADY, callee, pace=time.pace)
    assert (callee.calls, time.slept) == (1, [])


async def test_one_try_means_no_pause() -> None:
    time, callee = NotedPauses(), Flaky(AWAY)
    with pytest.raises(ServiceUnavailable):
        await call(RetryPolicy(max_attempts=1), callee, pace=time.pace)
    assert time.slept == []


async def test_jitter_spreads_each_pause_and_the_longest_still_holds() -> None:
    time, callee = NotedPauses(factor=1.25), Flaky(AWAY, AWAY, AWAY, "done")
    policy = RetryPolicy(max_attempts=4, base_delay_s=1.0, max_delay_s=4.5, jitter=0.25)
    assert await call(policy, callee, pace=time.pace) == "done"
    assert time.slept == [1.25, 2.5, 4.5]
    assert time.spreads == [(0.75, 1.25)] * 3


async def test_no_pause_is_shorter_than_the_shortest() -> None:
    time, callee = NotedPauses(factor=0.5), Flaky(AWAY, AWAY, "done")
    policy = RetryPolicy(base_delay_s=1.0, min_delay_s=2.0, max_delay_s=10.0, jitter=0.5)
    assert await call(policy, callee, pace=time.pace) == "done"
    assert time.slept == [2.0, 2.0]


async def test_who_says_when_to_come_back_is_not_called_earlier() -> None:
    time, callee = NotedPauses(), Flaky(RateLimited("often", retry_after_s=2.5), "done")
    assert await call(STEADY, callee, pace=time.pace) == "done"
    assert time.slept == [2.5]


async def test_no_pause_begins_that_would_end_after_the_deadline() -> None:
    time, callee = NotedPauses(), Flaky(AWAY, AWAY, AWAY, "never asked")
    policy = RetryPolicy(max_attempts=9, base_delay_s=1.0, jitter=0.0, deadline_s=4.0)
    with pytest.raises(ServiceUnavailable):
        await call(policy, callee, pace=time.pace)
    assert time.slept == [1.0, 2.0]
    assert callee.calls == 3


async def test_a_try_that_takes_too_long_is_ended_and_counts_as_late() -> None:
    time = NotedPauses()
    policy = RetryPolicy(max_attempts=2, attempt_timeout_s=0.001)
    ended: list[str] = []

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("ended")

    with pytest.raises(TimedOut, match=r"ask did not finish within 0\.001 s"):
        await call(policy, hang, op="ask", pace=time.pace)
    assert ended == ["ended", "ended"]


async def test_the_deadline_ends_a_try_that_still_runs() -> None:
    time = NotedPauses()
    for policy in (
        RetryPolicy(deadline_s=0.001),
        RetryPolicy(deadline_s=0.001, attempt_timeout_s=100.0),
    ):
        with pytest.raises(TimedOut):
            await call(policy, asyncio.Event().wait, pace=time.pace)
    assert time.slept == []


async def test_a_time_out_of_the_callee_is_raised_as_it_is() -> None:
    own = TimeoutError("of the callee")
    with pytest.raises(TimeoutError) as info:
        await call(RetryPolicy(max_attempts=1, attempt_timeout_s=100.0), Flaky(own))
    assert info.value is own


async def test_a_cancelled_try_is_not_repeated() -> None:
    time, started = NotedPauses(), asyncio.Event()
    calls = 0

    async def hang() -> None:
        nonlocal calls
        calls += 1
        started.set()
        await asyncio.Event().wait()

    policy = RetryPolicy(retry_on=lambda _: True, attempt_timeout_s=100.0)
    task = asyncio.create_task(call(policy, hang, pace=time.pace))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (calls, time.slept) == (1, [])


async def test_a_cancelled_pause_ends_the_call() -> None:
    callee, pausing = Flaky(AWAY, "never asked"), asyncio.Event()

    async def sleep(_: float) -> None:
        pausing.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(call(STEADY, callee, pace=Pace(sleep=sleep)))
    await pausing.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert callee.calls == 1


async def test_a_value_that_is_a_failure_is_tried_again_and_the_last_one_returned() -> None:
    policy = RetryPolicy(max_attempts=2, is_failure=lambda value: value < 0)
    for outcomes, value in (((-1, 5), 5), ((-1, -2), -2), ((3,), 3)):
        callee = Flaky(*outcomes)
        assert await call(policy, callee, pace=NotedPauses().pace) == value
        assert callee.calls == len(outcomes)


def test_a_plain_function_is_tried_again_the_same_way() -> None:
    time, callee = NotedPauses(), Flaky(AWAY, AWAY, "done")
    assert call_blocking(STEADY, callee.blocking, "x", pace=time.pace) == "done"
    assert time.slept == [1.0, 2.0]
    with pytest.raises(ServiceUnavailable) as info:
        call_blocking(STEADY, Flaky(AWAY, AWAY, AWAY, AWAY).blocking, pace=time.pace)
    assert info.value is AWAY


def test_a_time_for_one_try_is_refused_for_plain_functions() -> None:
    policy = RetryPolicy(attempt_timeout_s=1.0)
    with pytest.raises(InvalidInput, match="plain function"):
        call_blocking(policy, Flaky("x").blocking)
    with pytest.raises(InvalidInput, match="plain function"):
        retrying(policy)(Flaky("x").blocking)


async def test_a_decorated_coroutine_function_keeps_its_name_and_signature() -> None:
    time, outcomes = NotedPauses(), Flaky(AWAY, "done")

    @retrying(STEADY, pace=time.pace)
    async def ask(question: str, *, loud: bool = False) -> object:
        """Ask."""
        return (question, loud, await outcomes())

    assert (ask.__name__, ask.__doc__) == ("ask", "Ask.")
    assert list(inspect.signature(ask).parameters) == ["question", "loud"]
    assert inspect.iscoroutinefunction(ask)
    assert await ask("why", loud=True) == ("why", True, "done")
    assert time.slept == [1.0]


def test_a_decorated_plain_function_keeps_its_name_too() -> None:
    time, outcomes = NotedPauses(), Flaky(AWAY, "done")

    @retrying(STEADY, pace=time.pace)
    def read(path: str) -> object:
        return (path, outcomes.blocking())

    assert read.__name__ == "read"
    assert read("p") == ("p", "done")


def test_generators_are_refused() -> None:
    async def stream() -> AsyncIterator[int]:
        yield 1

    with pytest.raises(TypeError, match="generator"):
        retrying(STEADY)(stream)
    with pytest.raises(TypeError, match="generator"):
        retrying(STEADY)(lambda: (yield))


async def test_the_old_name_retries_with_doubling_pauses_and_keeps_the_functions_name() -> None:
    time, callee = NotedPauses(), Flaky(AWAY, AWAY, "done")

    async def fetch(what: str) -> object:
        return (what, await callee())

    wrapped = retry_with_backoff(fetch, 3, 1.0, 60.0, pace=time.pace)
    assert getattr(wrapped, "__name__", "") == "fetch"
    assert await wrapped("it") == ("it", "done")
    assert time.slept == [1.0, 2.0]
    assert list(inspect.signature(retry_with_backoff).parameters)[:4] == [
        "func",
        "max_attempts",
        "base_delay",
        "max_delay",
    ]


async def test_the_old_name_raises_bugs_at_once_and_refuses_no_tries() -> None:
    callee = Flaky(ValueError("wrong"), "never asked")
    with pytest.raises(ValueError, match="wrong"):
        await retry_with_backoff(callee, pace=NotedPauses().pace)()
    assert callee.calls == 1
    with pytest.raises(InvalidInput, match="max_attempts is 0"):
        retry_with_backoff(callee, max_attempts=0)


async def test_the_old_name_takes_a_longest_pause_below_the_first_one_and_other_errors() -> None:
    time, callee = NotedPauses(), Flaky(KeyError(), "done")
    wrapped = retry_with_backoff(callee, base_delay=5.0, max_delay=2.0, retry_on=(KeyError,), pace=time.pace)
    assert await wrapped() == "done"
    assert time.slept == [2.0]


async def test_errors_survive_pickling_after_retries() -> None:
    async def fail() -> None:
        raise ServiceUnavailable("away", "Wait.", {"service": "x"})

    with pytest.raises(ServiceUnavailable) as info:
        await call(STEADY, fail, pace=NotedPauses().pace)
    back = pickle.loads(pickle.dumps(info.value))
    assert (type(back), vars(back)) == (ServiceUnavailable, vars(info.value))


async def test_a_partial_is_named_after_its_function() -> None:
    policy = RetryPolicy(max_attempts=1, attempt_timeout_s=0.001)

    async def hang(_: int) -> None:
        await asyncio.Event().wait()

    with pytest.raises(TimedOut, match="hang did not finish"):
        await call(policy, functools.partial(hang, 1))
