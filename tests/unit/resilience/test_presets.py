import pytest

from tests.unit.resilience.noted_pauses import Flaky, NotedPauses
from zejzl_ray.errors import InvalidInput, Overloaded, ServiceUnavailable, TimedOut
from zejzl_ray.resilience.presets import ACTION, LLM_CALL, executor_policy, says_failure, says_timeout
from zejzl_ray.resilience.retry import call

AWAY = ServiceUnavailable("away")


async def test_a_model_is_called_three_times_with_two_to_ten_seconds_between_and_thirty_for_each() -> None:
    time, callee = NotedPauses(), Flaky(AWAY, AWAY, AWAY)
    with pytest.raises(ServiceUnavailable):
        await call(LLM_CALL, callee, pace=time.pace)
    assert time.slept == [2.0, 2.0]
    assert (LLM_CALL.attempt_timeout_s, LLM_CALL.max_delay_s) == (30.0, 10.0)


async def test_an_action_is_repeated_when_it_was_late_or_unreachable() -> None:
    time, callee = NotedPauses(), Flaky(TimedOut("late"), ConnectionError(), "done")
    assert await call(ACTION, callee, pace=time.pace) == "done"
    assert time.slept == [1.0, 2.0]


async def test_an_action_that_reports_its_time_out_as_a_result_is_repeated_too() -> None:
    callee = Flaky({"status": "timeout"}, {"status": "success"})
    assert await call(ACTION, callee, pace=NotedPauses().pace) == {"status": "success"}


@pytest.mark.parametrize("error", [Overloaded("full"), KeyError("bug")], ids=["full", "bug"])
async def test_an_action_is_not_repeated_after_anything_else(error: Exception) -> None:
    callee = Flaky(error, "never asked")
    with pytest.raises(type(error)):
        await call(ACTION, callee, pace=NotedPauses().pace)
    assert callee.calls == 1


def test_the_executors_policy_counts_tries_beyond_the_first() -> None:
    policy = executor_policy()
    assert (policy.max_attempts, policy.base_delay_s, policy.max_delay_s, policy.jitter) == (
        6,
        1.0,
        60.0,
        0.25,
    )
    assert executor_policy(0).max_attempts == 1
    assert executor_policy(2, deadline_s=9.0).deadline_s == 9.0
    with pytest.raises(InvalidInput):
        executor_policy(-1)


@pytest.mark.parametrize(
    ("result", "is_failure", "is_timeout"),
    [
        ({"status": "success", "result": 1}, False, False),
        ({"status": "failed"}, True, False),
        ({"status": "timeout"}, True, True),
        ({"status": "timed_out"}, True, True),
        ({"status": None}, True, False),
        ({"answer": 1}, False, False),
        ("failed", False, False),
        (None, False, False),
    ],
)
def test_a_report_is_a_failure_when_it_says_so(result: object, is_failure: bool, is_timeout: bool) -> None:
    assert (says_failure(result), says_timeout(result)) == (is_failure, is_timeout)
