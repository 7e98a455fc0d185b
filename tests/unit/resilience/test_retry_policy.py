import asyncio
import math
import pickle
from typing import Any

import pytest

from zejzl_ray import errors
from zejzl_ray.errors import InvalidInput
from zejzl_ray.resilience.retry_policy import RetryPolicy


@pytest.mark.parametrize(
    "error",
    [
        errors.ServiceUnavailable("away"),
        errors.Overloaded("full"),
        errors.AgentUnreachable("gone"),
        errors.DeadlineExceeded("late"),
        errors.RequestTimedOut("late"),
        errors.RateLimited("often", retry_after_s=60.0),
        ConnectionResetError(),
        TimeoutError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_may_pass_by_itself_is_tried_again(error: Exception) -> None:
    assert RetryPolicy().is_retried(error)


@pytest.mark.parametrize(
    "error",
    [
        TypeError("bug"),
        KeyError("bug"),
        ValueError("wrong"),
        AssertionError(),
        OSError("disk"),
        errors.InvalidInput("wrong"),
        errors.MessageTooLarge("big"),
        errors.UnknownAgent("who"),
        errors.Forbidden("no"),
        errors.TokenExpired("old"),
        errors.DeadlockDetected("circle"),
        errors.StoreLocked("owned"),
        errors.BudgetExhausted("spent"),
        errors.RateLimited("often", retry_after_s=60.1),
        asyncio.CancelledError(),
        KeyboardInterrupt(),
        SystemExit(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_bugs_wrong_input_and_what_stays_as_it_is_are_not_tried_again(error: BaseException) -> None:
    assert not RetryPolicy().is_retried(error)


def test_classes_or_a_function_say_what_is_tried_again() -> None:
    assert RetryPolicy(retry_on=(KeyError,)).is_retried(KeyError())
    assert not RetryPolicy(retry_on=(KeyError,)).is_retried(TimeoutError())
    assert RetryPolicy(retry_on=lambda error: "again" in str(error)).is_retried(ValueError("again"))
    assert not RetryPolicy(retry_on=lambda error: "again" in str(error)).is_retried(ValueError("no"))


def test_giving_up_stands_above_trying_again() -> None:
    policy = RetryPolicy(give_up_on=(errors.BusClosed,))
    assert not policy.is_retried(errors.BusClosed())
    assert policy.is_retried(errors.AgentUnreachable())


def test_a_cancellation_is_never_tried_again_whatever_the_policy_says() -> None:
    assert not RetryPolicy(retry_on=lambda _: True).is_retried(asyncio.CancelledError())


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"max_attempts": 0}, "max_attempts is 0"),
        ({"max_attempts": -1}, "max_attempts is -1"),
        ({"base_delay_s": -0.1}, "base_delay_s"),
        ({"max_delay_s": math.inf}, "max_delay_s"),
        ({"min_delay_s": math.nan}, "min_delay_s"),
        ({"base_delay_s": 61.0}, "max_delay_s is 60"),
        ({"min_delay_s": 61.0}, "max_delay_s is 60"),
        ({"jitter": 1.1}, "jitter"),
        ({"jitter": -0.1}, "jitter"),
        ({"jitter": math.nan}, "jitter"),
        ({"deadline_s": 0.0}, "deadline_s"),
        ({"attempt_timeout_s": -1.0}, "attempt_timeout_s"),
        ({"attempt_timeout_s": math.nan}, "attempt_timeout_s"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused_with_its_place(fields: dict[str, Any], place: str) -> None:
    with pytest.raises(InvalidInput, match=place) as info:
        RetryPolicy(**fields)
    assert info.value.remedy


def test_a_policy_travels_between_processes() -> None:
    policy = RetryPolicy(max_attempts=7, give_up_on=(errors.BusClosed,))
    assert pickle.loads(pickle.dumps(policy)) == policy
