from collections import Counter

import pytest
import structlog

from tests.unit.resilience.noted_pauses import Flaky, NotedPauses
from zejzl_ray.errors import ServiceUnavailable
from zejzl_ray.resilience.retry import call
from zejzl_ray.resilience.retry_events import FailedAttempt, add_retry_hook, count_retries
from zejzl_ray.resilience.retry_policy import RetryPolicy

POLICY = RetryPolicy(max_attempts=3, base_delay_s=1.0, jitter=0.0, is_failure=lambda value: value == "bad")
AWAY = ServiceUnavailable("away from redis://:password@host")


async def fail_for_good() -> None:
    with pytest.raises(ServiceUnavailable):
        await call(POLICY, Flaky("bad", AWAY, AWAY), op="ask_model", pace=NotedPauses().pace)


async def test_every_failed_try_is_told_with_its_number_reason_and_pause() -> None:
    heard: list[FailedAttempt] = []
    remove = add_retry_hook(heard.append)
    try:
        await fail_for_good()
    finally:
        remove()
    assert heard == [
        FailedAttempt("ask_model", 1, "result", 1.0, is_last=False),
        FailedAttempt("ask_model", 2, "ServiceUnavailable", 2.0, is_last=False),
        FailedAttempt("ask_model", 3, "ServiceUnavailable", 0.0, is_last=True),
    ]


async def test_only_further_tries_are_counted_by_operation() -> None:
    counts: Counter[str] = Counter()

    def increment(op: str) -> None:
        counts[op] += 1

    remove = add_retry_hook(count_retries(increment))
    try:
        await fail_for_good()
        await call(POLICY, Flaky("good"), op="ask_model", pace=NotedPauses().pace)
    finally:
        remove()
    assert counts == {"ask_model": 2}


async def test_a_hook_that_was_removed_hears_nothing_and_one_added_twice_ends_singly() -> None:
    heard: list[FailedAttempt] = []
    first, second = add_retry_hook(heard.append), add_retry_hook(heard.append)
    first()
    first()
    try:
        await fail_for_good()
    finally:
        second()
    assert len(heard) == 3
    await fail_for_good()
    assert len(heard) == 3


async def test_a_hook_that_fails_changes_nothing() -> None:
    def broken(_: FailedAttempt) -> None:
        raise RuntimeError("no counter")

    remove = add_retry_hook(broken)
    try:
        with structlog.testing.capture_logs() as lines:
            assert await call(POLICY, Flaky("bad", "good"), pace=NotedPauses().pace) == "good"
    finally:
        remove()
    assert [line["event"] for line in lines] == ["trying again", "a retry hook failed"]


async def test_failed_tries_are_warnings_the_last_is_an_error_and_no_text_of_an_error_is_logged() -> None:
    with structlog.testing.capture_logs() as lines:
        await fail_for_good()
    assert [(line["log_level"], line["event"], line["attempt"]) for line in lines] == [
        ("warning", "trying again", 1),
        ("warning", "trying again", 2),
        ("error", "gave up", 3),
    ]
    assert "password" not in str(lines)
