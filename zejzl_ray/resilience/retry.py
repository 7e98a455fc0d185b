"""Calls that are tried again as a policy says; the loop is tenacity's."""

import asyncio
import functools
import inspect
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, ParamSpec, TypeVar, TypeVarTuple, cast

from tenacity import AsyncRetrying, RetryCallState, Retrying, wait_exponential

from zejzl_ray.clock import Clock, SystemClock
from zejzl_ray.errors import InvalidInput, RateLimited, TimedOut
from zejzl_ray.resilience.retry_events import FailedAttempt, tell_failed
from zejzl_ray.resilience.retry_policy import ErrorTest, RetryPolicy, is_transient

P = ParamSpec("P")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Pace:
    """Where retries take time and chance from; tests hand in their own.

    Attributes:
        clock: for the total deadline.
        sleep: waits so many seconds between tries of a coroutine function.
        sleep_blocking: the same between tries of a plain function.
        uniform: a random number between two others.
    """

    clock: Clock = field(default_factory=SystemClock)
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    sleep_blocking: Callable[[float], None] = time.sleep
    uniform: Callable[[float, float], float] = random.uniform


REAL_TIME: Final = Pace()


async def call(
    policy: RetryPolicy,
    func: Callable[[*Ts], Awaitable[T]],
    *args: *Ts,
    op: str = "",
    pace: Pace = REAL_TIME,
) -> T:
    """Return what ``func(*args)`` returns, tried again as the policy says.

    Cancelling the caller ends the running try or pause at once, and nothing is tried after that.

    Args:
        policy: how often, when and after what.
        func: a coroutine function, safe to repeat.
        args: its arguments, the same at every try.
        op: name in logs and counters; the function's name if empty.
        pace: where time and chance come from.

    Raises:
        TimedOut: the last try took longer than its time.
        Exception: otherwise what the last try raised, the object itself.
    """
    run = _Run(policy, op or _name_of(func), pace)

    async def attempt() -> T:
        limit_s = run.attempt_limit_s()
        if limit_s is None:
            return await func(*args)
        try:
            async with asyncio.timeout(limit_s) as scope:
                return await func(*args)
        except TimeoutError as error:
            if not scope.expired():  # the callee's own
                raise
            raise TimedOut(f"{run.op} did not finish within {limit_s:.3g} s.") from error

    retrying_call = AsyncRetrying(
        sleep=pace.sleep,
        stop=run.is_over,
        wait=run.pause_s,
        retry=run.is_retried,
        before_sleep=run.tell_retry,
        retry_error_callback=run.give_up,
    )
    return await retrying_call(attempt)


def call_blocking(
    policy: RetryPolicy, func: Callable[[*Ts], T], *args: *Ts, op: str = "", pace: Pace = REAL_TIME
) -> T:
    """Do what ``call`` does, for a plain function; its pauses block the thread, so never in an event loop.

    A thread cannot be ended from outside: the total deadline is looked at between tries, and a policy with a time
    for one try is refused.

    Raises:
        InvalidInput: the policy has an ``attempt_timeout_s``.
        Exception: what the last try raised, the object itself.
    """
    _check_blocking(policy, op or _name_of(func))
    run = _Run(policy, op or _name_of(func), pace)
    retrying_call = Retrying(
        sleep=pace.sleep_blocking,
        stop=run.is_over,
        wait=run.pause_s,
        retry=run.is_retried,
        before_sleep=run.tell_retry,
        retry_error_callback=run.give_up,
    )
    return retrying_call(func, *args)


def retrying(policy: RetryPolicy, *, op: str = "", pace: Pace = REAL_TIME) -> Callable[[F], F]:
    """Return a decorator that has each call of a function tried again as the policy says.

    The function, a coroutine function or a plain one, keeps its name, signature and documentation. See ``call`` and
    ``call_blocking``.
    """

    def decorate(func: F) -> F:
        name = op or _name_of(func)
        if inspect.isasyncgenfunction(func) or inspect.isgeneratorfunction(func):
            raise TypeError(f"{name} is a generator: what it has yielded cannot be tried again")
        if inspect.iscoroutinefunction(func):

            @functools.wraps(func)
            async def wrapped(*args: Any, **kwargs: Any) -> Any:
                return await call(policy, functools.partial(func, *args, **kwargs), op=name, pace=pace)

            return cast("F", wrapped)

        _check_blocking(policy, name)

        @functools.wraps(func)
        def wrapped_blocking(*args: Any, **kwargs: Any) -> Any:
            return call_blocking(policy, functools.partial(func, *args, **kwargs), op=name, pace=pace)

        return cast("F", wrapped_blocking)

    return decorate


def retry_with_backoff(
    func: Callable[P, Awaitable[T]],
    max_attempts: int = 3,
    base_delay: float = 1.0,
    max_delay: float = 60.0,
    *,
    retry_on: ErrorTest = is_transient,
    give_up_on: ErrorTest = (),
    pace: Pace = REAL_TIME,
) -> Callable[P, Awaitable[T]]:
    """Return ``func`` with retries, under the name and with the arguments that older code knows.

    Unlike there, the pauses have jitter, and errors that do not pass by themselves are raised at once; ``retry_on``
    says which are retried.

    Raises:
        InvalidInput: fewer than 1 try, or a pause below 0.
    """
    policy = RetryPolicy(
        max_attempts=max_attempts,
        base_delay_s=min(base_delay, max_delay),
        max_delay_s=max_delay,
        retry_on=retry_on,
        give_up_on=give_up_on,
    )
    name = _name_of(func)

    @functools.wraps(func)
    async def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        return await call(policy, functools.partial(func, *args, **kwargs), op=name, pace=pace)

    return wrapped


class _Run:
    """One call with its tries: the decisions that tenacity asks for."""

    def __init__(self, policy: RetryPolicy, op: str, pace: Pace) -> None:
        self.op = op
        self._policy = policy
        self._pace = pace
        self._started_s = pace.clock.monotonic_s()
        self._backoff = wait_exponential(policy.base_delay_s, policy.max_delay_s, min=policy.min_delay_s)

    def attempt_limit_s(self) -> float | None:
        """Return the time that the next try has."""
        policy = self._policy
        if policy.deadline_s is None:
            return policy.attempt_timeout_s
        left_s = max(0.0, policy.deadline_s - self._passed_s())
        return left_s if policy.attempt_timeout_s is None else min(left_s, policy.attempt_timeout_s)

    def is_retried(self, state: RetryCallState) -> bool:
        assert state.outcome is not None
        error = state.outcome.exception()
        if error is not None:
            return self._policy.is_retried(error)
        is_failure = self._policy.is_failure
        return is_failure is not None and is_failure(state.outcome.result())

    def pause_s(self, state: RetryCallState) -> float:
        policy = self._policy
        spread = self._pace.uniform(1 - policy.jitter, 1 + policy.jitter) if policy.jitter else 1.0
        pause_s = min(policy.max_delay_s, max(policy.min_delay_s, self._backoff(state) * spread))
        error = state.outcome.exception() if state.outcome is not None else None
        return max(pause_s, error.retry_after_s) if isinstance(error, RateLimited) else pause_s

    def is_over(self, state: RetryCallState) -> bool:
        if state.attempt_number >= self._policy.max_attempts:
            return True
        deadline_s = self._policy.deadline_s
        return deadline_s is not None and self._passed_s() + state.upcoming_sleep >= deadline_s

    def tell_retry(self, state: RetryCallState) -> None:
        tell_failed(
            FailedAttempt(self.op, state.attempt_number, _reason(state), state.upcoming_sleep, is_last=False)
        )

    def give_up(self, state: RetryCallState) -> Any:
        """Return the last value, or raise the last error."""
        tell_failed(FailedAttempt(self.op, state.attempt_number, _reason(state), 0.0, is_last=True))
        assert state.outcome is not None
        return state.outcome.result()

    def _passed_s(self) -> float:
        return self._pace.clock.monotonic_s() - self._started_s


def _reason(state: RetryCallState) -> str:
    error = state.outcome.exception() if state.outcome is not None else None
    return "result" if error is None else type(error).__name__


def _check_blocking(policy: RetryPolicy, op: str) -> None:
    if policy.attempt_timeout_s is not None:
        raise InvalidInput(
            f"{op} is a plain function, and a thread cannot be ended after attempt_timeout_s.",
            "Make it a coroutine function, or give the time limit to what it calls.",
        )


def _name_of(func: Callable[..., Any]) -> str:
    inner = func.func if isinstance(func, functools.partial) else func
    return getattr(inner, "__qualname__", type(inner).__name__)
