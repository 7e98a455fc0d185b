"""Degradation that is declared: beside a function stands what answers instead when it cannot."""

import copy
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

import structlog

from zejzl_ray.errors import DeadlineExceeded, InvalidInput, Unavailable
from zejzl_ray.resilience.degradations import Degradations, current_degradations
from zejzl_ray.resilience.reason import reason_of

F = TypeVar("F", bound=Callable[..., Any])
DEFAULT_ON: Final = (Unavailable, DeadlineExceeded, ConnectionError, TimeoutError)
_log = structlog.get_logger(component="resilience")  # not zejzl_ray.log: this package stands beside it


@dataclass(frozen=True, slots=True)
class Fallback:
    """What answers instead.

    Attributes:
        value: the answer, unless there is a route; each caller gets a copy.
        route: a function that is called with the arguments of the call that failed.
    """

    value: Any = None
    route: Callable[..., Any] | None = None


def degrades(
    *,
    to: Any,
    on: tuple[type[Exception], ...] = DEFAULT_ON,
    name: str = "",
    book: Degradations | None = None,
) -> Callable[[F], F]:
    """Return a decorator that has a fallback answer where a function fails.

    Every use is logged and noted in a book of degradations; the next call that succeeds by itself clears it there.
    Where the fallback fails too, its error is raised, from the one before. A cancellation passes through.

    Args:
        to: a value, a function (a route; a coroutine function too, for coroutine functions), or a ``Fallback``,
            which also allows a value that is a function.
        on: errors after which the fallback answers; others are raised.
        name: under which it is shown; the function's name if empty.
        book: where uses are noted; by default the book of the agent whose code runs.

    Raises:
        InvalidInput: ``on`` is empty.
        TypeError: a plain function with a coroutine function as its route, or a generator.
    """
    fallback = to if isinstance(to, Fallback) else Fallback(route=to) if callable(to) else Fallback(value=to)
    if not on:
        raise InvalidInput("A fallback needs errors after which it answers.", "Name them in `on`.")

    def decorate(func: F) -> F:
        shown = name or func.__qualname__
        if inspect.isasyncgenfunction(func) or inspect.isgeneratorfunction(func):
            raise TypeError(f"{shown} is a generator: nothing can answer for what it has not yielded yet")
        if book is not None:
            book.declare(shown)

        if inspect.iscoroutinefunction(func):

            @functools.wraps(func)
            async def wrapped(*args: Any, **kwargs: Any) -> Any:
                noted = book or current_degradations()
                started_s = noted.monotonic_s()
                try:
                    answer = await func(*args, **kwargs)
                except on as error:
                    answer = await _answer(fallback, noted, shown, error, args, kwargs)
                else:
                    noted.recovered(shown, started_s)
                return answer

            return cast("F", wrapped)

        if inspect.iscoroutinefunction(fallback.route):
            raise TypeError(f"{shown} is a plain function and cannot wait for the coroutine function in `to`")

        @functools.wraps(func)
        def wrapped_blocking(*args: Any, **kwargs: Any) -> Any:
            noted = book or current_degradations()
            started_s = noted.monotonic_s()
            try:
                answer = func(*args, **kwargs)
            except on as error:
                _note(noted, shown, error)
                answer = _ask(fallback, args, kwargs)
            else:
                noted.recovered(shown, started_s)
            return answer

        return cast("F", wrapped_blocking)

    return decorate


async def _answer(
    fallback: Fallback,
    noted: Degradations,
    shown: str,
    error: Exception,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    _note(noted, shown, error)
    answer = _ask(fallback, args, kwargs)
    return await answer if fallback.route is not None and inspect.isawaitable(answer) else answer


def _ask(fallback: Fallback, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if fallback.route is not None:
        return fallback.route(*args, **kwargs)
    return copy.deepcopy(fallback.value)  # so that no caller changes it for the next


def _note(noted: Degradations, shown: str, error: Exception) -> None:
    reason = reason_of(error)
    noted.fell_back(shown, reason)
    _log.warning("degraded", name=shown, reason=reason)
