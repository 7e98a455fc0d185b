"""The life of a service that runs commands: whether it answers now, and the work that it does by itself."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog

from zejzl_ray.errors import ServiceUnavailable

_log = structlog.get_logger(__name__)


def require_serving(service: str, *, is_serving: bool, is_fenced: bool) -> None:
    """Let a call pass while the service answers.

    Raises:
        ServiceUnavailable: before the start, after the stop, or when another instance has taken over.
    """
    if is_fenced:
        raise ServiceUnavailable(f"Another instance of {service} has taken over.", "Connect again.")
    if not is_serving:
        raise not_serving(service)


def not_serving(service: str) -> ServiceUnavailable:
    """Return the error for a call before the start or after the stop."""
    return ServiceUnavailable(
        f"{service} is not serving.", "It is starting or stopping; try again a little later."
    )


async def tick_until(
    stop_event: asyncio.Event,
    period_s: float,
    work: Callable[[], Awaitable[None]],
    is_over: Callable[[], bool],
) -> None:
    """Do the work at once and then after every pause of ``period_s``, until the event is set or it is over.

    A turn that raises is logged and the next one comes: health shows when turns stop succeeding.
    """
    while not stop_event.is_set() and not is_over():
        try:
            await work()
        except Exception:
            _log.exception("upkeep failed")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(period_s):
                await stop_event.wait()
