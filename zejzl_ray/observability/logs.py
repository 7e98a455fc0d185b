"""The logs of all machines as one, in the order of time."""

import asyncio
import heapq
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from zejzl_ray.clock import Clock
from zejzl_ray.contracts.logs import MAX_FLEET_CURSOR, FleetLogPage, LogLine, LogPage, ReadFleetLogs, ReadLogs
from zejzl_ray.errors import InvalidInput, MachineNotFound, ZejzlError
from zejzl_ray.observability.log_ports import MachineLogs

_TIMEOUT_S: Final = 8.0
_AT_ONCE: Final = 16
_NEWS_S: Final = 5.0  # of a machine that the cursor does not know, lines this much older than the page before
_CURSOR: Final = re.compile(
    r"v1(?:~(?P<at_s>\d{1,12}\.\d{3}))(?P<machines>(?:~[A-Za-z][A-Za-z0-9_.-]{0,127}=[A-Za-z0-9_-]*)*)"
)
_TOO_MANY_FILES: Final = (
    "too many log files to be followed together with other machines; name this machine alone"
)


class LogBook:
    """Reads the logs of several machines side by side and merges them.

    Keeps nothing between pages: all that the next one needs is in the cursor.

    Args:
        machines: reaches the node agents.
        clock: time.
        timeout_s: how long one machine may take.
    """

    def __init__(self, machines: MachineLogs, clock: Clock, *, timeout_s: float = _TIMEOUT_S) -> None:
        self._machines = machines
        self._clock = clock
        self._timeout_s = timeout_s

    async def read_logs(self, request: ReadFleetLogs) -> FleetLogPage:
        """Return lines of all machines, oldest first; a machine that does not answer is named in ``unread``.

        With a cursor nothing is lost by a machine that was away for some pages: its part of the cursor stays as it
        was.

        Raises:
            InvalidInput: the cursor is none.
            MachineNotFound: names the machines that are known.
            ZejzlError: nobody knows which machines there are.
        """
        cursor = _decode(request.cursor) if request.cursor else None
        now_s = self._clock.now_s()
        names = sorted(await self._machines.machines())
        if request.machine:
            if request.machine not in names:
                known = ", ".join(names) or "none yet"
                raise MachineNotFound(f"No machine is called {request.machine}.", f"Known machines: {known}.")
            names = [request.machine]
        answers = await self._ask_all(names, request, cursor, now_s)
        pages = {name: answer for name, answer in answers.items() if isinstance(answer, LogPage)}
        unread = {name: answer for name, answer in answers.items() if isinstance(answer, str)}
        merged = list(_merged(list(pages.values())))
        if cursor is None:
            merged = merged[-request.limit :]
        # Of a machine that did not answer the old place stays, and of one that is not asked for this time too.
        places = dict(cursor.places) if cursor is not None else {}
        places |= {name: page.cursor for name, page in pages.items()}
        text, too_long = _encode(now_s if cursor is None or not unread else cursor.at_s, places)
        return FleetLogPage(
            lines=tuple(merged),
            cursor=text,
            has_more=any(page.has_more for page in pages.values()),
            is_cut=any(page.is_cut for page in pages.values()),
            unread=unread | dict.fromkeys(too_long, _TOO_MANY_FILES),
        )

    async def _ask_all(
        self, names: Sequence[str], request: ReadFleetLogs, cursor: "_Places | None", now_s: float
    ) -> Mapping[str, LogPage | str]:
        turns = asyncio.Semaphore(_AT_ONCE)

        async def ask(name: str) -> LogPage | str:
            try:
                async with asyncio.timeout(self._timeout_s), turns:
                    return await self._machines.read_logs(
                        name, _part(request, name, len(names), cursor, now_s)
                    )
            except TimeoutError:
                return f"did not answer within {self._timeout_s:g} s"
            except ZejzlError as error:
                return error.message or error.code

        async with asyncio.TaskGroup() as group:
            tasks = {name: group.create_task(ask(name)) for name in names}
        return {name: task.result() for name, task in tasks.items()}


@dataclass(frozen=True, slots=True)
class _Places:
    at_s: float
    places: Mapping[str, str]


def _part(
    request: ReadFleetLogs, machine: str, machines: int, cursor: _Places | None, now_s: float
) -> ReadLogs:
    """Return what one machine is asked for."""
    given = request.model_dump(exclude={"machine", "cursor", "limit", "since_s"})
    place = cursor.places.get(machine, "") if cursor is not None else ""
    if cursor is None:
        return ReadLogs(**given, limit=request.limit, since_s=request.since_s)
    # All of what comes back is shown, so that no line has to be asked for again.
    limit = max(1, request.limit // max(1, machines))
    since_s = request.since_s
    if not place:
        age_s = max(0.0, now_s - cursor.at_s) + _NEWS_S
        since_s = age_s if since_s is None else min(age_s, since_s)
    return ReadLogs(**given, limit=limit, since_s=since_s, cursor=place)


def _merged(pages: Sequence[LogPage]) -> Iterator[LogLine]:
    """Yield the lines by their time; those of one machine stay in their order."""

    def keyed(number: int, page: LogPage) -> Iterator[tuple[float, int, LogLine]]:
        latest_s = 0.0
        for line in page.lines:
            latest_s = max(latest_s, line.at_s)
            yield latest_s, number, line

    streams = [keyed(number, page) for number, page in enumerate(pages)]
    for _, _, line in heapq.merge(*streams, key=lambda item: item[:2]):
        yield line


def _encode(at_s: float, places: Mapping[str, str]) -> tuple[str, list[str]]:
    """Return the cursor, and the machines that found no room in it: those with most files."""
    text, left_out = f"v1~{at_s:.3f}", []
    for machine in sorted(places, key=lambda name: (len(places[name]), name)):
        part = f"~{machine}={places[machine]}"
        if len(text) + len(part) > MAX_FLEET_CURSOR:
            left_out.append(machine)
        else:
            text += part
    return text, left_out


def _decode(text: str) -> _Places:
    found = _CURSOR.fullmatch(text)
    if found is None:
        raise InvalidInput("cursor: not one that a page of logs gave.", "Ask again without a cursor.")
    parts = [part.partition("=") for part in found["machines"].split("~") if part]
    return _Places(float(found["at_s"]), {machine: place for machine, _, place in parts})
