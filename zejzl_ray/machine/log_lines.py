"""What a line of a log file says: our own JSON, or one of the forms in which Ray writes."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from pydantic import JsonValue

from zejzl_ray.contracts.logs import ReadLogs
from zejzl_ray.log import hide_secrets, redact

_RANKS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_LETTERS: Final = {
    "T": "debug", "D": "debug", "I": "info", "W": "warning", "E": "error", "C": "critical", "F": "critical",
}  # fmt: skip
_MAX_TEXT: Final = 16_384

_STAMP: Final = r"(?P<time>\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)[.,](?P<fraction>\d{1,6})"
# [2025-05-01 12:00:00,123 I 4711 4712] (raylet) ..., 2025-05-01 12:00:00,123\tINFO x.py:1 -- ..., INFO 2025-05-01 ...
_FORMS: Final = (
    re.compile(rf"\[{_STAMP} (?P<letter>[A-Z]) "),
    re.compile(rf"\[?{_STAMP}\]?[\s:-]+\[?(?P<word>DEBUG|INFO|WARNING|ERROR|CRITICAL)\b"),
    re.compile(rf"(?P<word>DEBUG|INFO|WARNING|ERROR|CRITICAL)[\s:]+{_STAMP}"),
)
_BLAMING: Final = ("Traceback (most recent call last)", "Fatal Python error")


@dataclass(frozen=True, slots=True)
class ReadLine:
    """A line that was understood.

    Attributes:
        at_s: wall time; of a line without one, that of the line before.
        is_filed: a file of zejzl-ray has it too.
    """

    at_s: float
    level: str
    record: dict[str, JsonValue]
    is_filed: bool = False


class LineReader:
    """Understands the lines of one file in their order.

    Args:
        source: the file's name.
        is_ray: it is one of Ray's.
        at_s: time of a first line that has none.

    Attributes:
        has_time: a line with a time of its own was read.
    """

    def __init__(self, source: str, *, is_ray: bool, at_s: float) -> None:
        self._source = source
        self._is_ray = is_ray
        self._at_s = at_s
        self._level = "info"
        self.has_time = False

    def read(self, raw: bytes) -> ReadLine | None:
        """Return what the line says; null for an empty one."""
        raw = raw.rstrip(b"\r\n")
        if raw.startswith(b"{") and raw.endswith(b"}") and (line := self._own(raw)) is not None:
            return line
        text = redact(raw.decode("utf-8", "replace"))
        if not text.strip():
            return None
        self._look(text)
        record: dict[str, JsonValue] = {"source": self._source, "event": text[:_MAX_TEXT]}
        return ReadLine(self._at_s, self._level, record)

    def _own(self, raw: bytes) -> ReadLine | None:
        try:
            record: Any = orjson.loads(raw)
        except orjson.JSONDecodeError:
            return None
        level = record.get("level")
        at_s = _time_of(record.get("timestamp"))
        if at_s is None or not isinstance(level, str) or level not in _RANKS or "event" not in record:
            return None
        self._at_s, self.has_time = at_s, True
        is_filed = record.pop("filed", False) is True
        if self._is_ray:  # anybody who prints may write there
            record = dict(hide_secrets(None, "", record))
        return ReadLine(at_s, level, record, is_filed)

    def _look(self, text: str) -> None:
        """Take time and level from a raw line; one without keeps those of the line before."""
        for form in _FORMS:
            if found := form.match(text):
                at_s = _local_time(found["time"], found["fraction"])
                if at_s is not None:
                    self._at_s, self.has_time = at_s, True
                parts = found.groupdict()
                self._level = _LETTERS.get(parts.get("letter") or "", (parts.get("word") or "info").lower())
                return
        if text.startswith(_BLAMING):
            self._level = "error"


class Wanted:
    """Which lines are asked for.

    Args:
        request: the question.
        since_s: wall time before which nothing is wanted.
    """

    def __init__(self, request: ReadLogs, since_s: float) -> None:
        self._rank = _RANKS[request.level]
        self._agent = request.agent
        self._service = request.service
        self._contains = request.contains.casefold()
        self._with_filed = request.source == "ray"
        self.since_s = since_s

    def fits(self, line: ReadLine) -> bool:
        """Tell whether the line is asked for."""
        record = line.record
        return (
            line.at_s >= self.since_s
            and _RANKS[line.level] >= self._rank
            and (self._with_filed or not line.is_filed)
            and self._agent in {"", record.get("agent")}
            and (not self._service or self._is_of_service(record))
            and (not self._contains or self._contains in orjson.dumps(record).decode().casefold())
        )

    def _is_of_service(self, record: dict[str, JsonValue]) -> bool:
        if "service" in record or "timestamp" in record:
            return record.get("service") == self._service
        return str(record.get("source", "")).startswith(self._service)


def _time_of(stamp: object) -> float | None:
    if not isinstance(stamp, str):
        return None
    try:
        return datetime.fromisoformat(stamp).astimezone(UTC).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def _local_time(stamp: str, fraction: str) -> float | None:
    """Return the wall time of a stamp without a zone; Ray writes the time of its machine, which is this one."""
    try:
        return datetime.fromisoformat(stamp).timestamp() + float(f"0.{fraction}")
    except (ValueError, OverflowError, OSError):
        return None
