"""Failures as replies: what a handler raised, for the agent that asked."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from zejzl_ray import errors
from zejzl_ray.bus.message import Message
from zejzl_ray.errors import BusError, RateLimited, ZejzlError

FAILURE: Final = "zejzl.failure"
"""Message type of a reply that says that the request failed."""

WITHDRAWN: Final = "zejzl.withdrawn"
"""Message type that tells another process that nobody waits for the answer to a request any more."""

_MOST_CHARACTERS: Final = 2000


def failure_content(error: ZejzlError) -> dict[str, Any]:
    """Return the content of a reply that tells an error: code, message, remedy, and details where there are any."""
    content: dict[str, Any] = {
        "error": error.code,
        "message": error.message[:_MOST_CHARACTERS],
        "remedy": error.remedy[:_MOST_CHARACTERS],
    }
    if isinstance(error, BusError) and (details := _plain(error.details)):
        content["details"] = details
    if isinstance(error, RateLimited):
        content["details"] = {"retry_after_s": error.retry_after_s}
    return content


def is_failure(reply: Message) -> bool:
    """Tell whether a reply says that the request failed."""
    return reply.is_reply and reply.message_type == FAILURE


def error_from(content: Mapping[str, Any]) -> ZejzlError:
    """Return the error that ``failure_content`` wrote; whatever else stands there, an error is returned, never raised.

    A code of a newer version is a ``BusError`` with ``details["code"]``.
    """
    code = _text(content.get("error"))
    message = _text(content.get("message")) or "The request failed."
    remedy = _text(content.get("remedy"))
    found = content.get("details")
    details = {str(key): value for key, value in found.items()} if isinstance(found, Mapping) else {}
    error_class = _BY_CODE.get(code)
    if error_class is None:
        return BusError(message, remedy, {**details, "code": code})
    if issubclass(error_class, BusError):
        return error_class(message, remedy, details)
    if issubclass(error_class, RateLimited):
        after_s = details.get("retry_after_s")
        return error_class(
            message, remedy, float(after_s) if isinstance(after_s, int | float) and after_s > 0 else 1.0
        )
    return error_class(message, remedy)


def _plain(details: Mapping[str, Any]) -> dict[str, Any]:
    """Return what every codec can carry; the rest of the details is for this process only."""
    return {
        str(key): list(value) if isinstance(value, tuple) else value
        for key, value in details.items()
        if value is None
        or isinstance(value, str | int | float | bool)
        or (
            isinstance(value, list | tuple)
            and all(isinstance(part, str | int | float | bool) for part in value)
        )
    }


def _text(value: object) -> str:
    return value[:_MOST_CHARACTERS] if isinstance(value, str) else ""


def _classes(parent: type[ZejzlError]) -> Iterator[type[ZejzlError]]:
    yield parent
    for child in parent.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from _classes(child)


_BY_CODE: Final = {found.code: found for found in _classes(ZejzlError)}
