"""Who hears of retries: every pause and every surrender is logged and told to the hooks of this process."""

from collections.abc import Callable
from dataclasses import dataclass

import structlog

# not zejzl_ray.log: this package stands beside it
_log = structlog.get_logger(component="resilience")


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """One try that failed in a way that is retried.

    Attributes:
        op: name of what is tried.
        attempt: number of the try, from 1.
        reason: class of the error, or ``result`` for a value that is a failure.
        delay_s: pause before the next try; 0 after the last one.
        is_last: nothing is tried any more.
    """

    op: str
    attempt: int
    reason: str
    delay_s: float
    is_last: bool


RetryHook = Callable[[FailedAttempt], None]
_hooks: dict[object, RetryHook] = {}


def add_retry_hook(hook: RetryHook) -> Callable[[], None]:
    """Have every failed try of this process told to ``hook``, and return a function that ends it.

    For counters such as ``retries_total{op}``. It is called in the task or thread that retries, so it must be quick;
    what it raises is logged and changes nothing.
    """
    key = object()  # so that a hook that was added twice ends singly
    _hooks[key] = hook

    def remove() -> None:
        _hooks.pop(key, None)

    return remove


def count_retries(increment: Callable[[str], None]) -> RetryHook:
    """Return a hook that calls ``increment(op)`` for every further try, so not for the first and not for giving up."""

    def hook(failed: FailedAttempt) -> None:
        if not failed.is_last:
            increment(failed.op)

    return hook


def tell_failed(failed: FailedAttempt) -> None:
    """Log a failed try, a warning while there are more and an error after the last, and tell the hooks."""
    say = _log.error if failed.is_last else _log.warning
    say(
        "gave up" if failed.is_last else "trying again",
        op=failed.op,
        attempt=failed.attempt,
        reason=failed.reason,
        delay_s=round(failed.delay_s, 3),
    )
    for hook in tuple(_hooks.values()):
        try:
            hook(failed)
        except Exception:  # counting must not change what is counted
            _log.exception("a retry hook failed", op=failed.op)
