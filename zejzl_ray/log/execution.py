"""Decorators that log how a function ran: how long, and with which error; never what it returned."""

import asyncio
import functools
import inspect
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Literal, ParamSpec, TypeVar, cast

from zejzl_ray.log.lines import LEVELS
from zejzl_ray.log.performance import PerformanceHistory, log_performance
from zejzl_ray.log.setup import get_logger
from zejzl_ray.log.tracking import RequestTracker, TokenCounts

P = ParamSpec("P")
R = TypeVar("R")

Level = Literal["debug", "info", "warning", "error", "critical"]

_MAX_DATA: Final = 2000
# of this process; decorators write here unless they are given their own
TRACKER: Final = RequestTracker()
HISTORY: Final = PerformanceHistory()


def log_execution(
    level: Level = "info", *, tracker: RequestTracker = TRACKER, history: PerformanceHistory = HISTORY
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Log each run of a function or coroutine function: its duration, or its error with cause and stack.

    The error is raised again as it was. What the function returned and was given is neither logged nor kept.

    Args:
        level: of the line that says that it ended well.
        tracker: where it is under way meanwhile.
        history: where its duration is kept.
    """
    if level not in LEVELS:
        raise ValueError(f"log_execution: there is no level {level!r}; there are {', '.join(LEVELS)}.")

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        operation = f"{function.__module__}.{function.__qualname__}"

        @contextmanager
        def watched() -> Iterator[None]:
            log = get_logger(function.__module__)
            request_id = tracker.start_request(operation)
            started_s = time.perf_counter()
            try:
                yield
            except BaseException as error:
                _ended(history, operation, started_s, is_error=True)
                tracker.end_request(request_id, error)
                if isinstance(error, asyncio.CancelledError | KeyboardInterrupt | SystemExit | GeneratorExit):
                    log.info("execution was cancelled", operation=operation)
                else:
                    cause = error.__cause__ or error.__context__
                    log.error(
                        "execution failed",
                        operation=operation,
                        error=f"{type(error).__name__}: {error}",
                        cause="" if cause is None else f"{type(cause).__name__}: {cause}",
                        exc_info=True,
                    )
                raise
            duration_s = _ended(history, operation, started_s, is_error=False)
            tracker.end_request(request_id)
            log.log(
                LEVELS[level],
                "execution completed",
                operation=operation,
                duration_ms=round(duration_s * 1000, 3),
            )

        return _around(function, watched)

    return decorate


def log_ai_interaction(
    provider: str,
    operation: str = "ai_call",
    *,
    tokens_of: Callable[[Any], TokenCounts | None] | None = None,
) -> Callable[[Callable[P, Awaitable[R]]], Callable[P, Awaitable[R]]]:
    """Log each call of a model: how long, how many tokens, which error; never what was said.

    Args:
        provider: who answers.
        operation: what is asked of it.
        tokens_of: takes the real counts out of the answer; without it there are none.
    """

    def decorate(function: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
        @functools.wraps(function)
        async def logged(*args: P.args, **kwargs: P.kwargs) -> R:
            log = get_logger(function.__module__)
            fields = {"provider": provider, "operation": operation}
            log.debug("model is called", **fields, arguments=len(args), keywords=sorted(kwargs))
            started_s = time.perf_counter()
            try:
                answer = await function(*args, **kwargs)
            except Exception as error:
                log.error(
                    "model call failed",
                    **fields,
                    error_type=type(error).__name__,
                    duration_ms=_ms_since(started_s),
                )
                raise
            counts = tokens_of(answer) if tokens_of is not None else None
            # not under a name with "token" in it: values of such names are hidden
            usage = (
                {}
                if counts is None
                else {"usage": {"prompt": counts.prompt, "completion": counts.completion}}
            )
            length = len(answer) if isinstance(answer, str | bytes) else None
            log.info(
                "model answered", **fields, **usage, duration_ms=_ms_since(started_s), response_length=length
            )
            return answer

        return logged

    return decorate


def trace_request(request_id: str, operation: str, data: object = None) -> None:
    """Write a debug line about a request; ``data`` as text, at most 2,000 characters, without secrets.

    Args:
        request_id: of the request; written as ``traced``, since ``request_id`` is the one in which this runs.
        operation: what is done.
        data: a mapping loses the values of secret keys; anything else becomes its text.
    """
    shown = data if data is None or isinstance(data, dict) else str(data)[:_MAX_DATA]
    get_logger("zejzl.trace").debug("request", traced=request_id, operation=operation, data=shown)


def _ended(history: PerformanceHistory, operation: str, started_s: float, *, is_error: bool) -> float:
    duration_s = time.perf_counter() - started_s
    history.record(operation, duration_s, is_error=is_error)
    log_performance(operation, duration_s, is_error=is_error)
    return duration_s


def _ms_since(started_s: float) -> float:
    return round((time.perf_counter() - started_s) * 1000, 3)


def _around(function: Callable[P, R], watched: Callable[[], Any]) -> Callable[P, R]:
    """Return the function run inside of a context, a coroutine function as one."""
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def later(*args: P.args, **kwargs: P.kwargs) -> Any:
            with watched():
                return await function(*args, **kwargs)

        return cast("Callable[P, R]", later)

    @functools.wraps(function)
    def now(*args: P.args, **kwargs: P.kwargs) -> R:
        with watched():
            return function(*args, **kwargs)

    return now
