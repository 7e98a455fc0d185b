import asyncio

import pytest

from tests.unit.resilience.noted_pauses import Flaky, NotedPauses
from zejzl_ray.errors import InvalidInput, ServiceUnavailable
from zejzl_ray.resilience.degradations import Degradations, using_degradations
from zejzl_ray.resilience.execution import Execution, ExecutionStatus, execute
from zejzl_ray.resilience.retry_policy import RetryPolicy

FAILED = {"status": "failed", "reason": "the tool is busy"}
AWAY = ServiceUnavailable("away")


async def test_a_first_success_is_one_try() -> None:
    time, action = NotedPauses(), Flaky({"status": "success", "output": 7})
    execution = await execute(action, "click", pace=time.pace)
    assert execution.as_reply() == {"status": "success", "result": {"status": "success", "output": 7}}
    assert (action.calls, time.slept) == (1, [])


async def test_a_result_that_says_failed_is_tried_again_with_jittered_pauses() -> None:
    time, action = NotedPauses(factor=0.75), Flaky(FAILED, AWAY, "done")
    execution = await execute(action, "click", pace=time.pace)
    assert execution == Execution(ExecutionStatus.SUCCESS, "done")
    assert time.slept == [0.75, 1.5]


async def test_five_further_tries_and_then_the_status_failed_with_the_reason() -> None:
    time, action = NotedPauses(), Flaky(*[FAILED] * 6)
    execution = await execute(action, "click", pace=time.pace)
    assert execution.as_reply() == {"status": "failed", "reason": "the tool is busy"}
    assert action.calls == 6
    assert time.slept == [1.0, 2.0, 4.0, 8.0, 16.0]


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (AWAY, "ServiceUnavailable: away"),
        (ValueError("https://user:password@host"), "ValueError"),
        ({"status": "failed", "error": "no window"}, "no window"),
        ({"status": "odd"}, "status odd"),
        ({"status": "failed", "reason": "x" * 500}, "x" * 197 + "..."),
    ],
    ids=["ours", "foreign", "error", "bare", "long"],
)
async def test_the_reason_says_what_may_be_shown(outcome: object, reason: str) -> None:
    execution = await execute(Flaky(outcome), "click", 0, pace=NotedPauses().pace)
    assert execution == Execution(ExecutionStatus.FAILED, reason=reason)


async def test_the_fallback_answers_once_all_tries_failed_and_health_shows_it() -> None:
    book = Degradations()
    with using_degradations(book):
        execution = await execute(Flaky(AWAY, AWAY), "click", 1, Flaky("by hand"), pace=NotedPauses().pace)
        assert execution.as_reply() == {"status": "success_fallback", "result": "by hand"}
        (shown,) = book.in_use()
        assert (shown.name, shown.reason, shown.uses) == ("click", "ServiceUnavailable: away", 1)

        await execute(Flaky("done"), "click", pace=NotedPauses().pace)
        assert book.in_use() == ()


@pytest.mark.parametrize(
    ("outcome", "second"),
    [(KeyError("x"), "KeyError"), (FAILED, "the tool is busy")],
    ids=["error", "result"],
)
async def test_a_fallback_that_fails_too_gives_both_reasons(outcome: object, second: str) -> None:
    book = Degradations()
    with using_degradations(book):
        execution = await execute(Flaky(AWAY), "click", 0, Flaky(outcome), pace=NotedPauses().pace)
    assert execution.status is ExecutionStatus.FAILED
    assert execution.reason == f"ServiceUnavailable: away; the fallback failed too: {second}"
    assert book.checks() == ()


async def test_a_cancelled_action_is_cancelled_and_its_fallback_not_asked() -> None:
    fallback = Flaky("never asked")
    with pytest.raises(asyncio.CancelledError):
        await execute(Flaky(asyncio.CancelledError()), "click", fallback=fallback, pace=NotedPauses().pace)
    assert fallback.calls == 0


async def test_another_policy_may_be_given_and_fewer_than_no_retries_not() -> None:
    action = Flaky(KeyError(), "done")
    policy = RetryPolicy(max_attempts=2, retry_on=(KeyError,))
    assert (await execute(action, "click", policy=policy, pace=NotedPauses().pace)).result == "done"
    with pytest.raises(InvalidInput):
        await execute(action, "click", -1)
