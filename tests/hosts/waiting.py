"""Wait for something to become true, with a limit and a message."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(ask: Callable[[], T], *, limit_s: float, what: str, every_s: float = 0.5) -> T:
    """Ask until the answer is true-like, and return it.

    Raises:
        AssertionError: it was not within the limit; tells the last answer.
    """
    deadline_s = time.monotonic() + limit_s
    while True:
        answer = ask()
        if answer:
            return answer
        if time.monotonic() >= deadline_s:
            raise AssertionError(f"not within {limit_s:g} s: {what}; last answer: {answer!r}")
        time.sleep(every_s)
