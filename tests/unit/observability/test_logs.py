"""The logs of several machines as one: merged by time, followed, and whole although a machine is away."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from zejzl_ray.contracts.logs import FleetLogPage, LogLine, LogPage, ReadFleetLogs, ReadLogs
from zejzl_ray.errors import InvalidInput, MachineNotFound, ServiceUnavailable, ZejzlError
from zejzl_ray.machine.log_directory import LogPlace
from zejzl_ray.machine.log_files import MachineLogFiles
from zejzl_ray.observability.logs import LogBook
from zejzl_ray.testing.clock import ManualClock

NOW_S = 1_700_000_000.0


class Machines:
    """Node agents on real files, one folder each."""

    def __init__(self, folder: Path, *names: str) -> None:
        self.clock = ManualClock(NOW_S)
        self.folder = folder
        self.readers = {name: MachineLogFiles(name, [LogPlace(folder / name)], self.clock) for name in names}
        self.away: dict[str, ZejzlError] = {}
        self.hanging: set[str] = set()
        self.asked: list[tuple[str, ReadLogs]] = []
        for name in names:
            (folder / name).mkdir()

    async def machines(self) -> Sequence[str]:
        return list(self.readers)

    async def read_logs(self, machine: str, request: ReadLogs) -> LogPage:
        self.asked.append((machine, request))
        if machine in self.hanging:
            await asyncio.Event().wait()
        if machine in self.away:
            raise self.away[machine]
        return self.readers[machine].read(request)

    def write(self, machine: str, event: str, after_s: float = 0.0) -> None:
        stamp = f"2023-11-14T22:13:20.{int(after_s * 1000):03d}Z"
        line = orjson.dumps({"timestamp": stamp, "level": "info", "event": event}) + b"\n"
        with (self.folder / machine / "a.log").open("ab") as stream:
            stream.write(line)


@pytest.fixture
def machines(tmp_path: Path) -> Machines:
    return Machines(tmp_path, "pc2", "mainpc")


@pytest.fixture
def book(machines: Machines) -> LogBook:
    return LogBook(machines, machines.clock, timeout_s=5.0)


def told(page: FleetLogPage) -> list[tuple[str, Any]]:
    return [(line.machine, line.record["event"]) for line in page.lines]


async def test_lines_of_all_machines_come_in_the_order_of_their_time(
    machines: Machines, book: LogBook
) -> None:
    for number in range(6):
        machines.write("pc2" if number % 2 else "mainpc", str(number), number / 10)
    page = await book.read_logs(ReadFleetLogs(limit=4))
    assert told(page) == [("mainpc", "2"), ("pc2", "3"), ("mainpc", "4"), ("pc2", "5")]
    assert (page.unread, page.has_more, page.is_cut) == ({}, False, False)


async def test_following_shows_each_line_once(machines: Machines, book: LogBook) -> None:
    machines.write("pc2", "old")
    page = await book.read_logs(ReadFleetLogs())
    seen: list[Any] = []
    for number in range(9):
        machines.write("pc2" if number % 3 else "mainpc", str(number), number / 10)
        page = await book.read_logs(ReadFleetLogs(cursor=page.cursor, limit=2))
        seen += [event for _, event in told(page)]
    assert seen == [str(n) for n in range(9)]
    assert told(await book.read_logs(ReadFleetLogs(cursor=page.cursor))) == []


async def test_more_than_a_page_is_told(machines: Machines, book: LogBook) -> None:
    page = await book.read_logs(ReadFleetLogs())
    for number in range(20):
        machines.write("pc2", str(number), number / 100)
    seen: list[Any] = []
    while True:
        page = await book.read_logs(ReadFleetLogs(cursor=page.cursor, limit=4))
        seen += [event for _, event in told(page)]
        if not page.has_more:
            break
    assert seen == [str(n) for n in range(20)]


async def test_one_machine_alone_is_asked(machines: Machines, book: LogBook) -> None:
    machines.write("pc2", "here")
    machines.write("mainpc", "there")
    page = await book.read_logs(ReadFleetLogs(machine="pc2", agent="", level="info", limit=7, since_s=60))
    assert told(page) == [("pc2", "here")]
    assert machines.asked == [("pc2", ReadLogs(level="info", limit=7, since_s=60))]
    with pytest.raises(MachineNotFound, match=r"pc9.*Known machines: mainpc, pc2"):
        await book.read_logs(ReadFleetLogs(machine="pc9"))


async def test_a_machine_that_was_away_loses_nothing(machines: Machines, book: LogBook) -> None:
    page = await book.read_logs(ReadFleetLogs())
    machines.away["pc2"] = ServiceUnavailable("pc2 is away")
    machines.write("pc2", "unseen", 0.1)
    machines.write("mainpc", "seen", 0.2)
    page = await book.read_logs(ReadFleetLogs(cursor=page.cursor))
    assert (told(page), page.unread) == ([("mainpc", "seen")], {"pc2": "pc2 is away"})
    machines.away.clear()
    page = await book.read_logs(ReadFleetLogs(cursor=page.cursor))
    assert (told(page), page.unread) == ([("pc2", "unseen")], {})


async def test_a_machine_that_was_away_from_the_beginning_is_read_from_then_on(
    machines: Machines, book: LogBook
) -> None:
    machines.away["pc2"] = ServiceUnavailable("pc2 is away")
    page = await book.read_logs(ReadFleetLogs())
    machines.clock.advance(100)
    page = await book.read_logs(ReadFleetLogs(cursor=page.cursor))
    machines.away.clear()
    machines.write("pc2", "meanwhile", 0.5)
    page = await book.read_logs(ReadFleetLogs(cursor=page.cursor))
    assert told(page) == [("pc2", "meanwhile")]
    assert machines.asked[-1][1].since_s == 105
    machines.away["mainpc"] = ServiceUnavailable("away")
    page = await book.read_logs(ReadFleetLogs(cursor=page.cursor, since_s=3))


async def test_a_limit_of_age_holds_for_a_machine_that_is_new(machines: Machines, book: LogBook) -> None:
    page = await book.read_logs(ReadFleetLogs(machine="pc2"))
    machines.clock.advance(100)
    await book.read_logs(ReadFleetLogs(cursor=page.cursor, since_s=3))
    assert {name: request.since_s for name, request in machines.asked[1:]} == {"mainpc": 3, "pc2": 3}


async def test_a_machine_that_hangs_costs_the_time_limit_only(machines: Machines) -> None:
    machines.hanging.add("pc2")
    machines.write("mainpc", "here")
    page = await LogBook(machines, machines.clock, timeout_s=0.01).read_logs(ReadFleetLogs())
    assert told(page) == [("mainpc", "here")]
    assert page.unread == {"pc2": "did not answer within 0.01 s"}


@pytest.mark.parametrize(
    "cursor", ["x", "v1", "v1~5", "v1~5.000~pc2", "v1~5.000~../x=A", "v1~5.000~pc2=A b", "v2~5.000"]
)
async def test_what_is_no_cursor_is_refused(book: LogBook, cursor: str) -> None:
    with pytest.raises(InvalidInput, match="Ask again without a cursor"):
        await book.read_logs(ReadFleetLogs(cursor=cursor))


async def test_a_cursor_that_would_be_too_long_leaves_the_largest_machine_out_and_says_so() -> None:
    class Many:
        async def machines(self) -> Sequence[str]:
            return [f"m{number}" for number in range(5)]

        async def read_logs(self, machine: str, request: ReadLogs) -> LogPage:
            line = LogLine(at_s=1.0, machine=machine, source="a.log", level="info", record={"event": "x"})
            return LogPage(lines=(line,), cursor="A" * (2800 + int(machine[1:])))

    page = await LogBook(Many(), ManualClock(NOW_S)).read_logs(ReadFleetLogs())
    assert len(page.lines) == 5
    assert list(page.unread) == ["m4"]
    assert "name this machine alone" in page.unread["m4"]
    assert ReadFleetLogs(cursor=page.cursor).cursor == page.cursor


async def test_lines_of_one_machine_keep_their_order_although_its_clock_went_back() -> None:
    class Backwards:
        async def machines(self) -> Sequence[str]:
            return ["a", "b"]

        async def read_logs(self, machine: str, request: ReadLogs) -> LogPage:
            times = {"a": (5.0, 1.0, 7.0), "b": (6.0,)}[machine]
            lines = tuple(
                LogLine(
                    at_s=at_s,
                    machine=machine,
                    source="s",
                    level="info",
                    record={"event": f"{machine}{at_s:g}"},
                )
                for at_s in times
            )
            return LogPage(lines=lines, cursor="A")

    page = await LogBook(Backwards(), ManualClock(NOW_S)).read_logs(ReadFleetLogs())
    assert [line.record["event"] for line in page.lines] == ["a5", "a1", "b6", "a7"]
