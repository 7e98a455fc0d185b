"""An action with retries and one more way: what executors do with every action of theirs."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import structlog

from zejzl_ray.resilience.degradations import current_degradations
from zejzl_ray.resilience.presets import executor_policy, says_failure
from zejzl_ray.resilience.reason import reason_of, shortened
from zejzl_ray.resilience.retry import REAL_TIME, Pace, call
from zejzl_ray.resilience.retry_policy import RetryPolicy

Action = Callable[[], Awaitable[Any]]
_log = structlog.get_logger(component="resilience")  # not zejzl_ray.log: this package stands beside it


class ExecutionStatus(StrEnum):
    """How an action ended."""

    SUCCESS = "success"
    SUCCESS_FALLBACK = "success_fallback"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Execution:
    """How an action ended, and with what.

    Attributes:
        status: success, success_fallback where the fallback did it, or failed.
        result: what the action or its fallback returned; None where it failed.
        reason: why the action failed; empty where it did not.
    """

    status: ExecutionStatus
    result: Any = None
    reason: str = ""

    def as_reply(self) -> dict[str, Any]:
        """Return status with result, or with reason: the shape of an executor's reply."""
        if self.status is ExecutionStatus.FAILED:
            return {"status": self.status.value, "reason": self.reason}
        return {"status": self.status.value, "result": self.result}


async def execute(
    action: Action,
    operation_name: str,
    max_retries: int = 5,
    fallback: Action | None = None,
    *,
    policy: RetryPolicy | None = None,
    pace: Pace = REAL_TIME,
) -> Execution:
    """Run an action, again where that may help, and then its fallback; errors become the status ``failed``.

    A result that says another status than ``success`` is a failure like an error. The use of the fallback is noted
    among the degradations under the name of the operation. A cancellation passes through.

    Args:
        action: safe to repeat.
        operation_name: in logs, counters and health.
        max_retries: tries beyond the first, 0 or more.
        fallback: run once after all tries have failed.
        policy: instead of the policy of executors with ``max_retries``.
        pace: where time and chance come from.

    Raises:
        InvalidInput: ``max_retries`` is below 0.
    """
    policy = policy or executor_policy(max_retries)
    book = current_degradations()
    started_s = book.monotonic_s()
    try:
        result = await call(policy, action, op=operation_name, pace=pace)
        if not says_failure(result):
            book.recovered(operation_name, started_s)
            return Execution(ExecutionStatus.SUCCESS, result)
        reason = _reason_in(result)
    except Exception as error:
        reason = reason_of(error)
        _log.warning("the action failed", op=operation_name, reason=reason)
    if fallback is None:
        return Execution(ExecutionStatus.FAILED, reason=reason)
    try:
        result = await fallback()
    except Exception as error:
        return Execution(ExecutionStatus.FAILED, reason=_both(reason, reason_of(error)))
    if says_failure(result):
        return Execution(ExecutionStatus.FAILED, reason=_both(reason, _reason_in(result)))
    book.fell_back(operation_name, reason)
    return Execution(ExecutionStatus.SUCCESS_FALLBACK, result, reason)


def _reason_in(report: Mapping[str, Any]) -> str:
    return shortened(str(report.get("reason") or report.get("error") or f"status {report.get('status')}"))


def _both(first: str, second: str) -> str:
    return f"{first}; the fallback failed too: {second}"
