"""``zejzl logs``: the lines of all processes of all machines, also as they are written.

Lines go to standard output; a machine that does not answer is named on standard error.
"""

import re
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Final

import orjson
import typer
from rich.text import Text

from zejzl_ray.cli.console import errors, output
from zejzl_ray.contracts.logs import MAX_LINES, FleetLogPage, LogLine, ReadFleetLogs
from zejzl_ray.contracts.observability_hub import SERVICE
from zejzl_ray.contracts.services import BY_SERVICE
from zejzl_ray.errors import DeadlineExceeded, RateLimited, StoreError, Unavailable
from zejzl_ray.ids import NAME_REGEX
from zejzl_ray.sdk.client import Client
from zejzl_ray.sdk.connect import connect

_READ: Final = BY_SERVICE[SERVICE]["read_logs"]
_pause: Final = time.sleep
_CALL_TIMEOUT_S: Final = 15.0
_FOLLOW_PERIOD_S: Final = 1.0
_MAX_PAUSE_S: Final = 10.0
_AGE: Final = re.compile(r"(?P<number>\d{1,9}(?:\.\d{1,3})?)(?P<unit>[smhd]?)")
_UNITS_S: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_COLOURS: Final = {"debug": "dim", "warning": "yellow", "error": "red", "critical": "bold red"}
# shown in places of their own, or of use to machines only
_PLACED: Final = frozenset(
    {"timestamp", "level", "event", "service", "machine", "pid", "component", "agent", "source", "exception"}
)


class Level(StrEnum):
    """How bad a line is."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


class Origin(StrEnum):
    """Whose files are read."""

    ALL = "all"
    OWN = "own"
    RAY = "ray"


Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written from now on.")]
LeastLevel = Annotated[Level, typer.Option("--level", help="This level and above.")]
Since = Annotated[str, typer.Option("--since", help="Not older than this, such as 30s, 10m, 2h, 1d.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=MAX_LINES, help="How many lines.")]
LinesAsJson = Annotated[bool, typer.Option("--json", help="Print each line as the JSON that it is.")]


def logs(
    follow: Follow = False,
    agent: Annotated[str, typer.Option("--agent", help="Of this agent.")] = "",
    service: Annotated[
        str, typer.Option("--service", help="Of this service; of Ray's files, whose name begins so.")
    ] = "",
    machine: Annotated[str, typer.Option("--machine", help="Of this machine.")] = "",
    level: LeastLevel = Level.DEBUG,
    contains: Annotated[str, typer.Option("--contains", help="With this text.")] = "",
    since: Since = "",
    limit: Limit = 100,
    source: Annotated[
        Origin,
        typer.Option("--source", help="own: files of zejzl; ray: Ray's files, whole; all: each line once."),
    ] = Origin.ALL,
    as_json: LinesAsJson = False,
) -> None:
    """Show the last log lines of all processes of all machines in the order of their time, Ray's among them."""
    request = ReadFleetLogs(
        agent=_short("--agent", agent, 128),
        service=_short("--service", service, 128),
        contains=_short("--contains", contains, 256),
        machine=_machine(machine),
        level=level.value,
        source="" if source is Origin.ALL else source.value,
        since_s=age_s(since) if since else None,
        limit=limit,
    )
    with connect() as client:
        page = _read(client, request)
        _show(page, as_json)
        _name_unread(page.unread)
        if follow:
            _follow(client, request, page, as_json)


def age_s(text: str) -> float:
    """Return the seconds that a text such as ``10m`` stands for; a number alone is seconds.

    Raises:
        BadParameter: it stands for none.
    """
    found = _AGE.fullmatch(text.strip())
    if found is None:
        raise typer.BadParameter(f"--since: {text!r} is no time; write for example 30s, 10m, 2h or 1d.")
    return float(found["number"]) * _UNITS_S[found["unit"]]


def shown_line(line: LogLine) -> Text:
    """Return a line for people: time, place, level, who, what, and the other fields."""
    record = line.record
    colour = _COLOURS.get(line.level, "")
    place = "/".join(str(part) for part in (line.machine, record.get("service") or line.source) if part)
    text = Text()
    text.append(_time(line.at_s), "dim")
    text.append(f" {_safe(place)}", "cyan")
    text.append(f" {line.level:<8}", colour or "green")
    if agent := record.get("agent"):
        text.append(f" {_safe(str(agent))}:", "bold")
    text.append(f" {_safe(str(record.get('event', '')))}", colour)
    for key, value in record.items():
        if key not in _PLACED:
            text.append(f" {_safe(key)}=", "dim")
            text.append(_safe(value if isinstance(value, str) else orjson.dumps(value).decode()))
    for fault in _faults(record.get("exception")):
        text.append(f"\n    {_safe(fault)}", colour)
    return text


def _read(client: Client, request: ReadFleetLogs) -> FleetLogPage:
    answer = client.call(_READ, request, timeout_s=_CALL_TIMEOUT_S)
    if not isinstance(answer, FleetLogPage):
        raise StoreError("observability_hub answers read_logs with something else.")
    return answer


def _follow(client: Client, request: ReadFleetLogs, page: FleetLogPage, as_json: bool) -> None:
    """Print what is written from now on, until interrupted; waits for a hub that is away."""
    unread: Mapping[str, str] = page.unread
    pause_s = 0.0 if page.has_more else _FOLLOW_PERIOD_S
    trouble = ""
    while True:
        _pause(pause_s)
        try:
            # What is new counts, however long the following goes on.
            page = _read(client, request.model_copy(update={"cursor": page.cursor, "since_s": None}))
        except (Unavailable, DeadlineExceeded) as error:
            if error.message != trouble:
                trouble = error.message
                _say(f"not read: {trouble}")
            wanted_s = error.retry_after_s if isinstance(error, RateLimited) else pause_s * 2
            pause_s = min(max(wanted_s, _FOLLOW_PERIOD_S), _MAX_PAUSE_S)
            continue
        trouble = ""
        _show(page, as_json)
        _name_unread({name: why for name, why in page.unread.items() if unread.get(name) != why})
        unread = page.unread
        pause_s = 0.0 if page.has_more else _FOLLOW_PERIOD_S


def _show(page: FleetLogPage, as_json: bool) -> None:
    for line in page.lines:
        if as_json:
            sys.stdout.write(orjson.dumps({"machine": line.machine} | line.record).decode() + "\n")
        else:
            output.print(shown_line(line), soft_wrap=True)
    sys.stdout.flush()
    if page.is_cut:
        _say("not all files were searched to their end; narrow it with --service, --machine or --since")


def _name_unread(unread: Mapping[str, str]) -> None:
    for machine, why in unread.items():
        _say(f"not read: {machine}: {why}")


def _say(text: str) -> None:
    errors.print(_safe(text), style="yellow", markup=False, highlight=False, soft_wrap=True)


def _faults(exception: Any) -> list[str]:
    """Return one line for each exception of a chain, with the place where it was raised."""
    if not isinstance(exception, list):
        return []
    told = []
    for fault in exception:
        if isinstance(fault, dict):
            frames = fault.get("frames")
            last = frames[-1] if isinstance(frames, list) and frames and isinstance(frames[-1], dict) else {}
            place = f" ({last.get('filename')}:{last.get('lineno')} in {last.get('name')})" if last else ""
            told.append(f"{fault.get('exc_type')}: {fault.get('exc_value')}{place}")
    return told


def _time(at_s: float) -> str:
    try:
        moment = datetime.fromtimestamp(at_s, UTC)
    except (ValueError, OverflowError, OSError):  # a foreign line may say anything
        return str(at_s)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def _safe(text: str) -> str:
    """Return the text without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else " " if letter in "\n\t" else "?" for letter in text)


def _short(option: str, text: str, most: int) -> str:
    if len(text) > most:
        raise typer.BadParameter(f"{option}: longer than {most} characters.")
    return text


def _machine(name: str) -> str:
    if name and not NAME_REGEX.fullmatch(name):
        raise typer.BadParameter(f"--machine: {name!r} cannot be the name of a machine.")
    return name
