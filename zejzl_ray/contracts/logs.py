"""Logs on the wire: lines of one machine from its node agent, of all machines from observability_hub."""

from typing import Final, Literal

from pydantic import Field, JsonValue

from zejzl_ray.contracts.base import Contract
from zejzl_ray.ids import NAME_PATTERN

MAX_LINES: Final = 1000
MAX_CURSOR: Final = 4096
MAX_FLEET_CURSOR: Final = 12_000  # it travels in a URL

Level = Literal["debug", "info", "warning", "error", "critical"]
Source = Literal["", "own", "ray"]


class ReadLogs(Contract):
    """Ask for lines. Without a cursor the last ``limit`` that fit, with one those that came since; oldest first."""

    agent: str = Field(default="", max_length=128, description="of this agent")
    service: str = Field(
        default="", max_length=128, description="of this service; of Ray's lines, whose file name begins so"
    )
    level: Level = Field(default="debug", description="this level and above")
    contains: str = Field(
        default="", max_length=256, description="hold this text; upper and lower case are the same"
    )
    source: Source = Field(
        default="",
        description="own: files of zejzl-ray; ray: Ray's files, with the lines that both have; empty: all",
    )
    since_s: float | None = Field(default=None, ge=0, description="not older than this many seconds")
    cursor: str = Field(default="", max_length=MAX_CURSOR, description="as an earlier page gave it")
    limit: int = Field(default=100, ge=1, le=MAX_LINES)


class ReadFleetLogs(ReadLogs):
    """Ask for lines of all machines, or of one, in the order of their time."""

    cursor: str = Field(default="", max_length=MAX_FLEET_CURSOR, description="as an earlier page gave it")
    machine: str = Field(default="", pattern=f"^$|{NAME_PATTERN}", description="of this machine; empty: all")


class LogLine(Contract):
    """One line. A raw line of Ray's is wrapped: ``{"source": its file, "event": its text}``."""

    at_s: float = Field(description="wall time of its machine")
    machine: str = Field(max_length=128)
    source: str = Field(max_length=256, description="name of the file it was read from")
    level: str = Field(max_length=16)
    record: dict[str, JsonValue]


class LogPage(Contract):
    """Lines, oldest first, and where the next page begins."""

    lines: tuple[LogLine, ...]
    cursor: str = Field(description="give it back for what comes after these lines")
    has_more: bool = Field(default=False, description="with a cursor: there are more now, ask at once")
    is_cut: bool = Field(
        default=False,
        description="older files were not searched to their end, or some files were left out: too much",
    )


class FleetLogPage(LogPage):
    """Lines of several machines, and why some could not be read."""

    unread: dict[str, str] = Field(default_factory=dict, description="machine -> reason")
