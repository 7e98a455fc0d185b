"""How often something is tried again, with which pauses, and after which failures."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from zejzl_ray.errors import DeadlineExceeded, InvalidInput, RateLimited, Unavailable

ErrorTest = tuple[type[Exception], ...] | Callable[[Exception], bool]

TRANSIENT: tuple[type[Exception], ...] = (Unavailable, DeadlineExceeded, ConnectionError, TimeoutError)


def is_transient(error: Exception) -> bool:
    """Tell whether the same call may succeed later: something is away, busy or late; never a wrong input or a bug."""
    return isinstance(error, TRANSIENT)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How persistently a call is made. What is retried must be safe to repeat: a late call may have taken effect.

    Attributes:
        max_attempts: tries in all, the first one included; at least 1.
        base_delay_s: pause after the first failed try; each further one is twice as long.
        max_delay_s: no pause is longer. A ``RateLimited`` that asks for more is not waited for.
        min_delay_s: no pause is shorter.
        jitter: ratio from 0 to 1; each pause is multiplied by a random number between 1 - jitter and 1 + jitter.
        deadline_s: time for all tries and pauses together; no pause begins that would end later, and a try that
            still runs then is ended. None: no such limit.
        attempt_timeout_s: time for one try. None: no such limit.
        retry_on: which errors are worth another try: classes, or a function that says so.
        give_up_on: which errors are not, whatever ``retry_on`` says.
        is_failure: says of a returned value that it is a failure, worth another try. After the last try such a
            value is returned as it is.

    Raises:
        InvalidInput: a number is out of its range.
    """

    max_attempts: int = 3
    base_delay_s: float = 1.0
    max_delay_s: float = 60.0
    min_delay_s: float = 0.0
    jitter: float = 0.25
    deadline_s: float | None = None
    attempt_timeout_s: float | None = None
    retry_on: ErrorTest = is_transient
    give_up_on: ErrorTest = ()
    is_failure: Callable[[Any], bool] | None = None

    def __post_init__(self) -> None:
        if self.max_attempts < 1:
            raise InvalidInput(
                f"max_attempts is {self.max_attempts}.", "A call is tried at least once: give 1 or more."
            )
        for name in ("base_delay_s", "max_delay_s", "min_delay_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise InvalidInput(f"{name} is {value}.", "Give seconds, 0 or more.")
        if max(self.base_delay_s, self.min_delay_s) > self.max_delay_s:
            raise InvalidInput(
                f"max_delay_s is {self.max_delay_s:g}, less than the first pause.",
                "Raise it, or lower base_delay_s and min_delay_s.",
            )
        if not 0 <= self.jitter <= 1:
            raise InvalidInput(f"jitter is {self.jitter}.", "Give a ratio from 0 to 1.")
        for name in ("deadline_s", "attempt_timeout_s"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise InvalidInput(f"{name} is {value}.", "Give seconds above 0, or None.")

    def is_retried(self, error: BaseException) -> bool:
        """Tell whether another try makes sense after this error; never for a cancellation or an exit."""
        if not isinstance(error, Exception) or _matches(self.give_up_on, error):
            return False
        if isinstance(error, RateLimited) and error.retry_after_s > self.max_delay_s:
            return False
        return _matches(self.retry_on, error)


def _matches(test: ErrorTest, error: Exception) -> bool:
    return isinstance(error, test) if isinstance(test, tuple) else test(error)
