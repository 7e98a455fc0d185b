"""Structured logs: one JSON object a line, with the request that caused it, and no secret in it."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO, cast

import structlog
from pydantic import SecretStr

_SECRET_KEY = re.compile(r"(?i)(^|_)(token|password|passwd|secret|authorization|api_?key|credential)s?($|_)")
_BEARER = re.compile(r"(?i)\bbearer\s+[A-Za-z0-9._~+/=-]+")
_URL_PASSWORD = re.compile(r"(?P<scheme>[a-z][a-z0-9+]*://)(?P<user>[^/\s:@]*):[^/\s@]+@")
_HIDDEN = "[hidden]"


def redact(text: str) -> str:
    """Return the text without bearer tokens and without passwords in addresses."""
    return _URL_PASSWORD.sub(rf"\g<scheme>\g<user>:{_HIDDEN}@", _BEARER.sub(f"Bearer {_HIDDEN}", text))


def hide_secrets(
    logger: object, method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Replace values whose key names a secret, and secrets inside texts; a structlog processor."""
    for key, value in event.items():
        if isinstance(value, SecretStr) or (_SECRET_KEY.search(key) and value):
            event[key] = _HIDDEN
        elif isinstance(value, str):
            event[key] = redact(value)
    return event


def configure_logging(level: str = "INFO", *, service: str = "", stream: TextIO | None = None) -> None:
    """Send every log line of this process as JSON to ``stream`` (standard error); safe to repeat.

    Args:
        level: least level that is written: DEBUG, INFO, WARNING, ERROR.
        service: written into every line as ``service``.
        stream: where to write.
    """
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.dict_tracebacks,
            hide_secrets,
            structlog.processors.JSONRenderer(sort_keys=True),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.PrintLoggerFactory(stream or sys.stderr),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.clear_contextvars()
    if service:
        structlog.contextvars.bind_contextvars(service=service)


def get_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """Return a logger whose lines carry ``component=name``."""
    return cast("structlog.typing.FilteringBoundLogger", structlog.get_logger(component=name))
