"""Structured logs: one JSON object a line, with the request that caused it, and no secret in it."""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, TextIO, cast

import structlog
from pydantic import SecretStr

_SECRET_KEY = re.compile(
    r"(?i)((^|_)(token|secret|authorization|(api|access|private)_?key|credential)|passw(or)?d|passphrase)s?($|_)"
)
_BEARER = re.compile(r"(?i)\bbearer\s+[A-Za-z0-9._~+/=-]+")
_URL_PASSWORD = re.compile(r"(?P<scheme>[a-z][a-z0-9+]*://)(?P<user>[^/\s:@]*):[^/\s@]+@")
_HIDDEN = "[hidden]"
# Frames without their local variables: those hold tokens and requests.
_show_exception = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)


def is_secret_name(name: str) -> bool:
    """Tell whether a key, field or variable of this name is taken to hold a secret, such as ``DB_PASSWORD``."""
    return _SECRET_KEY.search(name) is not None


def redact(text: str) -> str:
    """Return the text without bearer tokens and without passwords in addresses."""
    return _URL_PASSWORD.sub(rf"\g<scheme>\g<user>:{_HIDDEN}@", _BEARER.sub(f"Bearer {_HIDDEN}", text))


def hide_secrets(logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace values whose key names a secret, and secrets inside texts, however deep; a structlog processor."""
    for key, value in event.items():
        event[key] = _clean(key, value)
    return event


def _clean(key: object, value: Any) -> Any:
    if isinstance(value, SecretStr | bytes) or (value and isinstance(key, str) and is_secret_name(key)):
        return _HIDDEN
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {inner: _clean(inner, part) for inner, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean("", part) for part in value]
    return value


def configure_logging(level: str = "INFO", *, service: str = "", stream: TextIO | None = None) -> None:
    """Send every log line of this process as JSON to ``stream`` (standard error); safe to repeat.

    Args:
        level: least level that is written: DEBUG, INFO, WARNING, ERROR.
        service: written into every line as ``service``.
        stream: where to write.
    """

    def name_service(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        # Not a context variable: those of the starter do not reach the tasks in which an actor's methods run.
        if service:
            event.setdefault("service", service)
        return event

    structlog.configure(
        processors=[
            name_service,
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _show_exception,
            hide_secrets,
            structlog.processors.JSONRenderer(sort_keys=True),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.PrintLoggerFactory(stream or sys.stderr),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.clear_contextvars()


def get_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """Return a logger whose lines carry ``component=name``."""
    return cast("structlog.typing.FilteringBoundLogger", structlog.get_logger(component=name))
