"""Reading the logs of a machine: real files, rotated while they are read, and Ray's forms beside ours."""

import os
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zejzl_ray.contracts.logs import LogPage, ReadLogs
from zejzl_ray.errors import DeadlineExceeded, InvalidInput
from zejzl_ray.log.files import RotatingLogFile
from zejzl_ray.machine import log_files
from zejzl_ray.machine.log_cursor import Cursor, Position, decode_cursor, encode_cursor
from zejzl_ray.machine.log_directory import LogPlace
from zejzl_ray.machine.log_files import LogLimits, MachineLogFiles
from zejzl_ray.testing.clock import ManualClock

NOW_S = 1_700_000_000.0


def stamp(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat().replace("+00:00", "Z")


def own(event: str, at_s: float = NOW_S, level: str = "info", **more: Any) -> bytes:
    return orjson.dumps({"timestamp": stamp(at_s), "level": level, "event": event, **more}) + b"\n"


def local(at_s: float, form: str) -> str:
    return datetime.fromtimestamp(at_s).strftime(form)


@pytest.fixture
def own_dir(tmp_path: Path) -> Path:
    (tmp_path / "own").mkdir()
    return tmp_path / "own"


@pytest.fixture
def ray_dir(tmp_path: Path) -> Path:
    (tmp_path / "ray").mkdir()
    return tmp_path / "ray"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW_S)


def reader_of(*places: LogPlace, clock: ManualClock, **limits: int) -> MachineLogFiles:
    return MachineLogFiles("pc2", places, clock, LogLimits(**limits))


@pytest.fixture
def reader(own_dir: Path, ray_dir: Path, clock: ManualClock) -> MachineLogFiles:
    return reader_of(LogPlace(own_dir), LogPlace(ray_dir, is_ray=True), clock=clock)


def write(path: Path, *lines: bytes, at_s: float = NOW_S) -> None:
    with path.open("ab") as stream:
        stream.writelines(lines)
    os.utime(path, (at_s, at_s))


def events(page: LogPage) -> list[Any]:
    return [line.record["event"] for line in page.lines]


def test_the_last_lines_of_all_files_come_in_the_order_of_their_time(
    own_dir: Path, reader: MachineLogFiles
) -> None:
    write(own_dir / "hub.log", *(own(f"hub {n}", NOW_S + n, service="hub") for n in range(0, 10, 2)))
    write(own_dir / "node_agent.log", *(own(f"agent {n}", NOW_S + n) for n in range(1, 10, 2)))
    write(own_dir / "hub.error.log", own("an extract"))
    write(own_dir / "hub.debug.log.1", own("an extract"))
    page = reader.read(ReadLogs(limit=4))
    assert events(page) == ["hub 6", "agent 7", "hub 8", "agent 9"]
    assert (page.lines[0].machine, page.lines[0].source, page.lines[0].at_s) == ("pc2", "hub.log", NOW_S + 6)
    assert (page.has_more, page.is_cut) == (False, False)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"agent": "Watchdog"}, ["three"]),
        ({"service": "hub"}, ["one", "two"]),
        ({"level": "error"}, ["two", "three"]),
        ({"level": "critical"}, ["three"]),
        ({"contains": "DETAIL"}, ["one"]),
        ({"since_s": 5.0}, ["three"]),
        ({"since_s": 5.0, "level": "error", "agent": "nobody"}, []),
    ],
)
def test_filters_hold_together(
    own_dir: Path, reader: MachineLogFiles, asked: dict[str, Any], expected: list[str]
) -> None:
    write(
        own_dir / "a.log",
        own("one", NOW_S - 30, service="hub", more="detail"),
        own("two", NOW_S - 20, "error", service="hub"),
        own("three", NOW_S - 2, "critical", agent="Watchdog", service="host"),
    )
    assert events(reader.read(ReadLogs(**asked))) == expected


def test_following_sees_each_line_once(own_dir: Path, reader: MachineLogFiles) -> None:
    file = own_dir / "a.log"
    write(file, own("old"))
    page = reader.read(ReadLogs())
    assert events(page) == ["old"]
    page = reader.read(ReadLogs(cursor=page.cursor))
    assert events(page) == []
    write(file, own("new 1"), own("new 2"), b'{"half')
    page = reader.read(ReadLogs(cursor=page.cursor))
    assert events(page) == ["new 1", "new 2"]
    write(file, b' a line"}\n')
    page = reader.read(ReadLogs(cursor=page.cursor))
    assert events(page) == ['{"half a line"}']


def test_a_first_page_leaves_half_a_line_to_the_next(own_dir: Path, reader: MachineLogFiles) -> None:
    whole = own("whole")
    write(own_dir / "a.log", whole[:20])
    page = reader.read(ReadLogs())
    assert events(page) == []
    write(own_dir / "a.log", whole[20:])
    assert events(reader.read(ReadLogs(cursor=page.cursor))) == ["whole"]


def test_small_pages_show_everything_once_and_say_that_there_is_more(
    own_dir: Path, reader: MachineLogFiles
) -> None:
    page = reader.read(ReadLogs())
    for number in range(10):
        write(own_dir / f"{number % 2}.log", own(str(number), NOW_S + number))
    seen: list[Any] = []
    rounds = 0
    while True:
        page = reader.read(ReadLogs(cursor=page.cursor, limit=3))
        seen += events(page)
        rounds += 1
        if not page.has_more:
            break
    assert seen == [str(n) for n in range(10)]
    assert rounds == 4


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 7)), min_size=1, max_size=12))
def test_rotation_between_pages_loses_and_repeats_nothing(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int]]
) -> None:
    folder = tmp_path_factory.mktemp("logs")
    reader = MachineLogFiles("pc2", [LogPlace(folder)], ManualClock(NOW_S))
    handler = RotatingLogFile(folder / "a.log", 300, 60)  # some three lines a file
    page = reader.read(ReadLogs())
    written, seen = 0, []
    for lines, limit in [*steps, (0, 1000)]:
        for _ in range(lines):
            with (folder / "a.log").open("ab"):
                pass
            handler.handle(_record(own(str(written), NOW_S + 10 + written)))
            written += 1
        page = reader.read(ReadLogs(cursor=page.cursor, limit=limit))
        seen += events(page)
    while page.has_more:
        page = reader.read(ReadLogs(cursor=page.cursor))
        seen += events(page)
    handler.close()
    reader.close()
    assert seen == [str(n) for n in range(written)]


def _record(line: bytes) -> Any:
    import logging

    return logging.LogRecord("x", logging.INFO, "", 0, line.decode().rstrip("\n"), None, None)


def test_rotation_while_reading_loses_and_repeats_nothing(own_dir: Path, clock: ManualClock) -> None:
    reader = reader_of(LogPlace(own_dir), clock=clock)
    handler = RotatingLogFile(own_dir / "a.log", 2000, 90)
    page = reader.read(ReadLogs())
    done = threading.Event()

    def produce() -> None:
        for number in range(1500):
            handler.handle(_record(own(str(number), NOW_S + 10 + number)))
        done.set()

    thread = threading.Thread(target=produce)
    thread.start()
    seen: list[Any] = []
    while True:
        was_done = done.is_set()
        page = reader.read(ReadLogs(cursor=page.cursor, limit=100))
        seen += events(page)
        if was_done and not page.has_more:
            break
    thread.join()
    handler.close()
    assert seen == [str(n) for n in range(1500)]


def test_what_rotation_removed_is_gone_and_the_rest_is_shown(own_dir: Path, reader: MachineLogFiles) -> None:
    handler = RotatingLogFile(own_dir / "a.log", 300, 1)
    handler.handle(_record(own("first", NOW_S)))
    page = reader.read(ReadLogs())
    for number in range(20):
        handler.handle(_record(own(str(number), NOW_S + 1 + number)))
    handler.close()
    seen = events(reader.read(ReadLogs(cursor=page.cursor)))
    assert seen == [str(n) for n in range(20 - len(seen), 20)]
    assert seen


def test_a_new_file_with_the_inode_of_an_old_one_is_read_from_its_beginning(
    own_dir: Path, reader: MachineLogFiles
) -> None:
    write(own_dir / "a.log", own("old 1"), own("old 2"))
    page = reader.read(ReadLogs())
    with (own_dir / "a.log").open("r+b") as stream:  # the same inode, other lines
        stream.truncate()
        stream.write(own("new 1", NOW_S + 1) + own("new 2", NOW_S + 1) + own("new 3", NOW_S + 1))
    assert events(reader.read(ReadLogs(cursor=page.cursor))) == ["new 1", "new 2", "new 3"]


def test_a_file_that_was_left_out_before_is_not_shown_from_its_beginning(
    own_dir: Path, clock: ManualClock
) -> None:
    write(own_dir / "busy.log", own("busy"), at_s=NOW_S)
    write(own_dir / "idle.log", own("long ago", NOW_S - 500), at_s=NOW_S - 500)
    narrow = reader_of(LogPlace(own_dir), clock=clock, chains=1)
    page = narrow.read(ReadLogs())
    assert (events(page), page.is_cut) == (["busy"], True)
    wide = reader_of(LogPlace(own_dir), clock=clock)
    page = wide.read(ReadLogs(cursor=page.cursor))
    assert events(page) == []
    write(own_dir / "idle.log", own("awake", NOW_S + 1), at_s=NOW_S + 1)
    assert events(wide.read(ReadLogs(cursor=page.cursor))) == ["awake"]
    page = narrow.read(ReadLogs(cursor=encode_cursor(Cursor(NOW_S))))
    assert events(page) == ["awake"]


def test_rays_lines_are_wrapped_with_their_time_and_level(ray_dir: Path, reader: MachineLogFiles) -> None:
    day = local(NOW_S, "%Y-%m-%d %H:%M:%S")
    write(
        ray_dir / "raylet.out",
        f"[{day},250 I 12 13] (raylet) main.cc:1: started\n".encode(),
        f"[{day},500 E 12 13] (raylet) main.cc:2: Bearer hunter2\n".encode(),
        b"  with a second line\n",
        b"\n",
    )
    write(ray_dir / "monitor.log", f"{day},300\tWARNING monitor.py:1 -- slow\n".encode())
    write(
        ray_dir / "worker-1.err", b"Traceback (most recent call last):\n", b"ValueError: x\n", at_s=NOW_S + 9
    )
    write(ray_dir / "serve.log", f"INFO {day},400 serve 12 -- ready\n".encode())
    page = reader.read(ReadLogs())
    assert [(line.source, line.level) for line in page.lines] == [
        ("raylet.out", "info"), ("monitor.log", "warning"), ("serve.log", "info"), ("raylet.out", "error"),
        ("raylet.out", "error"), ("worker-1.err", "error"), ("worker-1.err", "error"),
    ]  # fmt: skip
    assert page.lines[0].record == {
        "source": "raylet.out",
        "event": f"[{day},250 I 12 13] (raylet) main.cc:1: started",
    }
    assert page.lines[0].at_s == NOW_S + 0.25
    assert "hunter2" not in page.model_dump_json()
    assert events(reader.read(ReadLogs(service="raylet", level="error")))[1] == "  with a second line"
    assert [line.source for line in reader.read(ReadLogs(agent="Watchdog")).lines] == []


def test_lines_without_a_time_at_the_beginning_take_that_of_the_first_that_has_one(
    ray_dir: Path, reader: MachineLogFiles
) -> None:
    day = local(NOW_S - 50, "%Y-%m-%d %H:%M:%S")
    write(ray_dir / "a.out", b"no time\n", f"[{day},000 I 1 1] time\n".encode())
    write(ray_dir / "b.out", b"none at all\n", at_s=NOW_S - 7)
    assert [line.at_s for line in reader.read(ReadLogs()).lines] == [NOW_S - 50, NOW_S - 50, NOW_S - 7]


def test_a_line_that_both_have_is_shown_once(own_dir: Path, ray_dir: Path, reader: MachineLogFiles) -> None:
    write(own_dir / "hub.log", own("both", service="hub"))
    filed = orjson.dumps(orjson.loads(own("both", service="hub")) | {"filed": True}) + b"\n"
    write(ray_dir / "worker-1.err", filed, own("only on standard error", service="hub", password="hunter2"))
    page = reader.read(ReadLogs())
    assert [(line.source, line.record["event"]) for line in page.lines] == [
        ("hub.log", "both"), ("worker-1.err", "only on standard error"),
    ]  # fmt: skip
    assert "hunter2" not in page.model_dump_json()
    page = reader.read(ReadLogs(source="ray", service="hub"))
    assert [(line.source, line.record["event"]) for line in page.lines] == [
        ("worker-1.err", "both"), ("worker-1.err", "only on standard error"),
    ]  # fmt: skip
    assert "filed" not in page.lines[0].record
    assert [line.source for line in reader.read(ReadLogs(source="own")).lines] == ["hub.log"]


@pytest.mark.parametrize(
    "line",
    [b"{}\n", b'{"event": "x"}\n', b'{"event":"x","level":"loud","timestamp":"2024-01-01T00:00:00Z"}\n',
     b'{"event":"x","level":"info","timestamp":"yesterday"}\n', b'{"event":"x","level":"info","timestamp":5}\n',
     b'{not json}\n', b'{"event":"x","level":["info"],"timestamp":"2024-01-01T00:00:00Z"}\n', b"\xff\xfe\n"],
)  # fmt: skip
def test_what_is_not_our_form_is_shown_as_text(own_dir: Path, reader: MachineLogFiles, line: bytes) -> None:
    write(own_dir / "a.log", line)
    assert events(reader.read(ReadLogs())) == [line.decode("utf-8", "replace").rstrip("\n")]


def test_a_stamp_that_is_no_time_is_part_of_the_text(ray_dir: Path, reader: MachineLogFiles) -> None:
    write(ray_dir / "a.out", b"[2024-99-99 12:00:00,1 W 1 1] odd\n")
    (line,) = reader.read(ReadLogs()).lines
    assert (line.at_s, line.level) == (NOW_S, "warning")


def test_nothing_but_plain_files_of_the_directory_is_opened(
    own_dir: Path, tmp_path: Path, reader: MachineLogFiles
) -> None:
    (tmp_path / "secret.log").write_bytes(own("secret"))
    (own_dir / "link.log").symlink_to(tmp_path / "secret.log")
    (own_dir / "a.log.1").symlink_to(tmp_path / "secret.log")
    os.mkfifo(own_dir / "pipe.log")
    os.mkfifo(own_dir / "a.log.2")
    (own_dir / "folder.log").mkdir()
    (own_dir / ".hidden.log").write_bytes(own("hidden"))
    (own_dir / "notes.txt").write_bytes(own("notes"))
    write(own_dir / "a.log", own("plain"))
    assert events(reader.read(ReadLogs())) == ["plain"]
    for service in ("../secret", "/etc/passwd", str(tmp_path / "secret")):
        assert events(reader.read(ReadLogs(service=service))) == []


def test_what_is_no_file_in_a_chain_is_passed_over(own_dir: Path, reader: MachineLogFiles) -> None:
    write(own_dir / "a.log", own("newest"))
    os.mkfifo(own_dir / "a.log.1")
    write(own_dir / "a.log.2", own("behind it"))
    assert events(reader.read(ReadLogs())) == ["behind it", "newest"]


def test_a_directory_that_is_not_there_has_no_lines(tmp_path: Path, clock: ManualClock) -> None:
    reader = reader_of(LogPlace(tmp_path / "gone"), LogPlace(tmp_path / "away", is_ray=True), clock=clock)
    page = reader.read(ReadLogs())
    assert (page.lines, events(reader.read(ReadLogs(cursor=page.cursor)))) == ((), [])


def test_a_file_that_exists_rotated_only_is_read(own_dir: Path, reader: MachineLogFiles) -> None:
    write(own_dir / "a.log.1", own("rotated"))
    page = reader.read(ReadLogs())
    assert events(page) == ["rotated"]
    write(own_dir / "a.log", own("fresh", NOW_S + 1))
    assert events(reader.read(ReadLogs(cursor=page.cursor))) == ["fresh"]


def test_a_search_has_a_bound_and_says_so(
    own_dir: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_files, "_LEAST_BYTES", 1)
    rare = [own("rare"), *(own("filler " + "x" * 200) for _ in range(3000))]
    write(own_dir / "a.log", *rare)
    reader = reader_of(LogPlace(own_dir), clock=clock, searched_bytes=1000, followed_bytes=10_000)
    page = reader.read(ReadLogs(contains="rare"))
    assert (events(page), page.is_cut) == ([], True)
    cursor, rounds = encode_cursor(Cursor(NOW_S)), 0
    seen: list[Any] = []
    while True:
        page = reader.read(ReadLogs(contains="rare", cursor=cursor))
        seen, cursor, rounds = seen + events(page), page.cursor, rounds + 1
        if not page.has_more:
            break
    assert seen == ["rare"]
    assert rounds > 50


def test_a_page_has_a_bound_in_bytes(own_dir: Path, clock: ManualClock) -> None:
    write(own_dir / "a.log", *(own("x" * 1000 + str(n), NOW_S + n) for n in range(20)))
    reader = reader_of(LogPlace(own_dir), clock=clock, page_bytes=5000)
    assert len(reader.read(ReadLogs()).lines) == 4
    page = reader.read(ReadLogs(cursor=encode_cursor(Cursor(NOW_S))))
    assert (len(page.lines), page.has_more) == (4, True)


def test_old_files_are_not_searched_for_new_lines(own_dir: Path, reader: MachineLogFiles) -> None:
    write(own_dir / "old.log", own("old", NOW_S - 500), at_s=NOW_S - 500)
    write(own_dir / "new.log", own("older", NOW_S - 50), own("new", NOW_S - 1))
    page = reader.read(ReadLogs(since_s=10))
    assert (events(page), page.is_cut) == (["new"], False)
    write(own_dir / "old.log", own("again", NOW_S), at_s=NOW_S)
    assert events(reader.read(ReadLogs(cursor=page.cursor))) == ["again"]


def test_very_long_lines_are_shown_in_pieces_that_end(ray_dir: Path, reader: MachineLogFiles) -> None:
    first = reader.read(ReadLogs())
    write(ray_dir / "a.out", b"x" * 3_000_000 + b"\n", b"after\n")
    page = reader.read(ReadLogs(cursor=first.cursor))
    assert [len(str(event)) for event in events(page)] == [16_384, 16_384, 16_384, 5]
    assert events(reader.read(ReadLogs()))[-1] == "after"


def test_a_flood_without_a_line_end_does_not_hold_up_the_first_page(
    ray_dir: Path, reader: MachineLogFiles
) -> None:
    write(ray_dir / "a.out", b"x" * 2_000_000)
    write(ray_dir / "b.out", b"first\n" + b"y" * 300_000 + b"\n")
    assert "first" in events(reader.read(ReadLogs()))


def test_of_two_readers_of_rays_files_only_one_reads(
    own_dir: Path, ray_dir: Path, clock: ManualClock
) -> None:
    write(ray_dir / "raylet.out", b"shared\n")
    first = reader_of(LogPlace(ray_dir, is_ray=True), clock=clock)
    second = reader_of(LogPlace(ray_dir, is_ray=True), clock=clock)
    assert events(first.read(ReadLogs())) == ["shared"]
    assert events(second.read(ReadLogs())) == []
    first.close()
    first.close()
    assert events(second.read(ReadLogs())) == ["shared"]


async def test_reading_runs_in_a_thread(own_dir: Path, reader: MachineLogFiles) -> None:
    write(own_dir / "a.log", own("x"))
    assert events(await reader.read_logs(ReadLogs())) == ["x"]
    with pytest.raises(InvalidInput, match="cursor"):
        await reader.read_logs(ReadLogs(cursor="not a cursor!"))
    reader.close()


async def test_files_that_hang_cost_the_time_limit_only(
    reader: MachineLogFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    monkeypatch.setattr(log_files, "_WAIT_S", 0.01)
    monkeypatch.setattr(reader, "read", lambda request: released.wait(10))
    with pytest.raises(DeadlineExceeded, match="pc2"):
        await reader.read_logs(ReadLogs())
    released.set()
    reader.close()


@given(
    st.dictionaries(
        st.integers(0, 2**65), st.tuples(st.integers(0, 2**50), st.integers(0, 65535)), max_size=40
    )
)
def test_a_cursor_survives_its_way_as_text(places: dict[int, tuple[int, int]]) -> None:
    positions = {key: Position(key, *place) for key, place in places.items()}
    text = encode_cursor(Cursor(NOW_S, positions))
    assert decode_cursor(text) == Cursor(NOW_S, positions)
    assert text.replace("-", "").replace("_", "").isalnum()


def test_a_cursor_of_many_files_fits_into_its_field() -> None:
    positions = {(10_000_000 + n * 300): Position(10_000_000 + n * 300, 2**27, 65535) for n in range(256)}
    assert len(encode_cursor(Cursor(NOW_S, positions))) <= 4096


@pytest.mark.parametrize(
    "text", ["", "A", "AA", "gICA", "*", "é", "AQ", "A" * 5000, "_" * 40, encode_cursor(Cursor(1.0))[1:]]
)
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="Ask again without a cursor"):
        decode_cursor(text)
