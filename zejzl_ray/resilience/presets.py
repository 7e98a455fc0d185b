"""Retry policies by name, for the calls that every fleet makes."""

from collections.abc import Mapping
from typing import Any, Final

from zejzl_ray.errors import AgentUnreachable, DeadlineExceeded, ServiceUnavailable
from zejzl_ray.resilience.retry_policy import RetryPolicy

_TIMED_OUT: Final = frozenset({"timeout", "timed_out"})


def says_timeout(result: object) -> bool:
    """Tell whether a result is a report with the status ``timeout``."""
    return isinstance(result, Mapping) and result.get("status") in _TIMED_OUT


def says_failure(result: object) -> bool:
    """Tell whether a result is a report whose status is another than ``success``; other values are successes."""
    return isinstance(result, Mapping) and result.get("status", "success") != "success"


# a call of a language model
LLM_CALL: Final = RetryPolicy(
    max_attempts=3, base_delay_s=1.0, min_delay_s=2.0, max_delay_s=10.0, attempt_timeout_s=30.0
)

# an action of an agent: only what was late or could not be reached, reported as an error or as a result
ACTION: Final = RetryPolicy(
    max_attempts=3,
    base_delay_s=1.0,
    min_delay_s=1.0,
    max_delay_s=10.0,
    retry_on=(TimeoutError, DeadlineExceeded, ConnectionError, ServiceUnavailable, AgentUnreachable),
    is_failure=says_timeout,
)


def executor_policy(max_retries: int = 5, **changes: Any) -> RetryPolicy:
    """Return the policy of executors: ``max_retries`` further tries, 1 s doubling to 60 s, a quarter of jitter.

    A result that says another status than ``success`` is a failure, and tried again.

    Args:
        max_retries: tries beyond the first, 0 or more.
        changes: fields of ``RetryPolicy`` that differ.
    """
    fields: dict[str, Any] = {
        "max_attempts": max_retries + 1,
        "base_delay_s": 1.0,
        "max_delay_s": 60.0,
        "jitter": 0.25,
        "is_failure": says_failure,
    }
    return RetryPolicy(**(fields | changes))
