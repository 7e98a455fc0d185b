"""One event becomes one line: the core fields first, everything else as JSON or as text, never nothing."""

import os
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import orjson
import structlog

from zejzl_ray.log.redaction import hide_secrets, redact

LEVELS: Final[Mapping[str, int]] = {
    "debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50,
}  # fmt: skip
# Bound by ``get_logger``, beside ``component``, so that a field of that name cannot take its place.
COMPONENT_KEY: Final = "_component"
PERFORMANCE_KEY: Final = "_performance"

_FROM_CONTEXT: Final = ("agent", "request_id", "caused_by")
_SAME_LEVEL: Final = {"exception": "error", "warn": "warning", "fatal": "critical", "err": "error"}
_MAX_LINE_BYTES: Final = 64 * 1024
_MAX_EVENT: Final = 8 * 1024
_OPTIONS: Final = orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_SUBCLASS
# Frames without their local variables: those hold tokens and requests.
_show_exception: Final = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)


class Line(NamedTuple):
    """A line that is ready to be written: one JSON object without a line feed, at most 64 KiB."""

    text: str
    level: int
    is_performance: bool = False


class LineMaker:
    """Makes lines of one process; its call is the only structlog processor.

    Args:
        service: written as ``service``; empty for none.
        machine: written as ``machine``; empty for none.
    """

    def __init__(self, service: str = "", machine: str = "") -> None:
        self._own = {key: value for key, value in (("service", service), ("machine", machine)) if value}

    def __call__(
        self, logger: object, method: str, event: MutableMapping[str, Any]
    ) -> tuple[tuple[Line], dict[str, Any]]:
        """Return the arguments for the method of ``LineOut``."""
        return (self.line(method, event),), {}

    def line(self, method: str, event: MutableMapping[str, Any]) -> Line:
        """Return the line of an event; never raises, whatever the event holds."""
        level = _SAME_LEVEL.get(method, method)
        is_performance = bool(event.pop(PERFORMANCE_KEY, False))
        try:
            text = encode_json(self._fields(level, event))
        except Exception as error:  # a line that cannot be made is told, not lost
            text = self._poor(level, event, f"could not be made: {type(error).__name__}")
        if len(text) > _MAX_LINE_BYTES:
            text = self._poor(level, event, f"was cut: it had {len(text)} bytes")
        return Line(text.decode("utf-8", "replace"), LEVELS.get(level, 20), is_performance)

    # Nobody but this class and the context of a call sets core fields; another one of such a name goes under ``extra``.
    def _fields(self, level: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
        core = self._core(level, event)
        given = dict(event)
        context = structlog.contextvars.get_contextvars()
        for key in _FROM_CONTEXT:
            if value := context.get(key):
                core[key] = str(value)
        if COMPONENT_KEY in given:
            core["component"] = given.pop(COMPONENT_KEY)
        for key, value in context.items():
            given.setdefault(key, value)
        given.pop("event", None)
        _show_exception(None, level, given)
        extra = {
            key: given.pop(key) for key in [key for key in given if key in core] if given[key] != core[key]
        }
        if extra:
            other = given.pop("extra", None)
            given["extra"] = extra if other is None else {"extra": other, **extra}
        # ``caused_by`` is bound for every call, and mostly nobody caused it
        fields = {
            key: value for key, value in (core | given | core).items() if key not in _FROM_CONTEXT or value
        }
        return dict(hide_secrets(None, level, fields))

    def _core(self, level: str, event: Mapping[str, Any]) -> dict[str, Any]:
        now = datetime.now(UTC).isoformat(timespec="microseconds").removesuffix("+00:00")
        said = _text(event.get("event", ""))
        return {"timestamp": f"{now}Z", "level": level, "event": said, **self._own, "pid": os.getpid()}

    def _poor(self, level: str, event: Mapping[str, Any], fault: str) -> bytes:
        """Return a line with what cannot fail."""
        core = self._core(level, event)
        core["event"] = redact(core["event"])[:_MAX_EVENT]
        context = structlog.contextvars.get_contextvars()
        core |= {key: _text(context[key])[:256] for key in _FROM_CONTEXT if context.get(key)}
        if COMPONENT_KEY in event:
            core["component"] = _text(event[COMPONENT_KEY])[:256]
        core["fault"] = f"this line {fault}"
        return encode_json(core)


def encode_json(fields: Mapping[str, Any]) -> bytes:
    """Return the fields as JSON; what JSON has no form for becomes text. Secrets have to be hidden before."""
    try:
        return orjson.dumps(fields, default=_text, option=_OPTIONS)
    except TypeError:  # an integer beyond 64 bits, half a surrogate pair, a key that is no word
        return orjson.dumps(_plain(fields), default=_text)


def _plain(value: Any) -> Any:
    """Return the value with everything as text that JSON has no form for; ends, since secrets were hidden before."""
    if isinstance(value, Mapping):
        return {_whole(_text(key)): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(part) for part in value]
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return value
    return _whole(_text(value))


def _text(value: object) -> str:
    try:
        return value if isinstance(value, str) else redact(str(value))
    except Exception as error:
        return f"[{type(value).__name__} without a text: {type(error).__name__}]"


def _whole(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
