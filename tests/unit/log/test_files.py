"""Log files: split, rotated, bounded, never shared by two processes, never in the way of who logs."""

import io
import json
import logging
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zejzl_ray.log import (
    LogFiles,
    WriterFigures,
    configure_logging,
    files_of,
    flush_logging,
    get_logger,
    log_performance,
    logging_figures,
    stop_logging,
)
from zejzl_ray.log.background import BackgroundWriter
from zejzl_ray.log.files import LogWriter, RotatingLogFile, fit_name
from zejzl_ray.log.lines import Line
from zejzl_ray.settings import LogSettings, Settings


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def events(path: Path) -> list[str]:
    return [line["event"] for line in read(path)]


def notice(count: int) -> Line:
    return Line(json.dumps({"event": "dropped", "count": count}), logging.WARNING)


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., io.StringIO]:
    def start(level: str = "INFO", **changes: Any) -> io.StringIO:
        stream = io.StringIO()
        files = LogFiles(**({"directory": tmp_path / "logs" / "pc2"} | changes))
        configure_logging(level, service="hub", stream=stream, machine="pc2", files=files)
        return stream

    return start


def test_errors_debug_lines_and_performance_have_files_of_their_own(
    start: Callable[..., io.StringIO], tmp_path: Path
) -> None:
    stream = start("DEBUG")
    log = get_logger("x")
    log.debug("d")
    log.info("i")
    log.error("e")
    log.critical("c")
    log_performance("merge", 0.25, rows=3)
    assert flush_logging()
    folder = tmp_path / "logs" / "pc2"
    assert events(folder / "hub.log") == ["d", "i", "e", "c", "Performance: merge"]
    assert events(folder / "hub.error.log") == ["e", "c"]
    assert events(folder / "hub.debug.log") == ["d"]
    (line,) = read(folder / "hub.performance.log")
    assert (line["operation"], line["duration_ms"], line["metrics"]) == ("merge", 250.0, {"rows": 3})
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "hub.log").stat().st_mode) == 0o600
    assert [json.loads(text)["filed"] for text in stream.getvalue().splitlines()] == [True] * 5
    assert not any("filed" in line for line in read(folder / "hub.log"))


def test_without_debug_there_is_no_debug_file(start: Callable[..., io.StringIO], tmp_path: Path) -> None:
    start("INFO")
    get_logger("x").debug("d")
    get_logger("x").info("i")
    flush_logging()
    folder = tmp_path / "logs" / "pc2"
    assert events(folder / "hub.log") == ["i"]
    assert not (folder / "hub.debug.log").exists()
    assert not (folder / "hub.error.log").exists()


def test_files_are_rotated_and_bounded_in_size_and_number(
    start: Callable[..., io.StringIO], tmp_path: Path
) -> None:
    start(file_bytes=2000, kept=2)
    for number in range(100):
        get_logger("x").info("line", number=number)
    stop_logging()
    folder = tmp_path / "logs" / "pc2"
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    assert names == ["hub.log", "hub.log.1", "hub.log.2"]
    assert all((folder / name).stat().st_size <= 2000 for name in names)
    kept = [line["number"] for name in reversed(names) for line in read(folder / name)]
    assert kept == list(range(kept[0], 100))


def test_repeating_the_setup_goes_on_with_the_same_files(
    start: Callable[..., io.StringIO], tmp_path: Path
) -> None:
    start()
    get_logger("x").info("one")
    start()
    get_logger("x").info("two")
    start(kept=7)
    get_logger("x").info("three")
    flush_logging()
    assert events(tmp_path / "logs" / "pc2" / "hub.log") == ["one", "two", "three"]
    assert not (tmp_path / "logs" / "pc2" / "hub-2.log").exists()


def test_a_setup_without_files_ends_them(start: Callable[..., io.StringIO], tmp_path: Path) -> None:
    start()
    stream = io.StringIO()
    configure_logging(stream=stream)
    get_logger("x").info("stream only")
    assert "filed" not in stream.getvalue()
    assert events(tmp_path / "logs" / "pc2" / "hub.log") == []
    assert logging_figures() == WriterFigures()
    assert flush_logging()


def test_after_the_end_lines_go_to_the_stream_only(start: Callable[..., io.StringIO], tmp_path: Path) -> None:
    stream = start()
    stop_logging()
    stop_logging()
    get_logger("x").info("late")
    assert '"filed"' not in stream.getvalue()
    assert "late" in stream.getvalue()


def test_files_that_cannot_be_made_are_told_and_the_process_works_on(
    start: Callable[..., io.StringIO], tmp_path: Path
) -> None:
    (tmp_path / "logs").write_text("a file where the folder should be")
    stream = start()
    get_logger("x").info("here")
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert first["event"] == "log files cannot be written"
    assert "logs/pc2" in first["reason"]
    assert second["event"] == "here"


def test_two_processes_never_write_one_file(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from zejzl_ray.log import *\n"
        "configure_logging(service='hub', files=LogFiles(Path(sys.argv[1]), file_bytes=4000, kept=50))\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "[get_logger('x').info('line', who=sys.argv[2], number=n) for n in range(200)]\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path), who],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )
        for who in "ab"
    ]  # fmt: skip
    for process in processes:  # both hold their names before the first line
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.communicate("go\n", timeout=30)
        assert process.returncode == 0
    authors = {}
    for name in ("hub", "hub-2"):
        lines = [line for path in tmp_path.glob(f"{name}.log*") for line in read(path)]
        assert sorted(line["number"] for line in lines) == list(range(200))
        (authors[name],) = {line["who"] for line in lines}
    assert sorted(authors.values()) == ["a", "b"]
    # the ended processes have left their names
    writer = LogWriter(LogFiles(tmp_path), "hub", notice)
    assert writer.name == "hub"
    writer.stop()


def test_a_service_has_a_bounded_number_of_processes_with_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zejzl_ray.log.files._MAX_SLOTS", 2)
    writers = [LogWriter(LogFiles(tmp_path), "hub", notice) for _ in range(2)]
    assert [writer.name for writer in writers] == ["hub", "hub-2"]
    with pytest.raises(OSError, match="2 processes of hub write into"):
        LogWriter(LogFiles(tmp_path), "hub", notice)
    for writer in writers:
        writer.stop()


def test_a_lock_that_the_system_refuses_is_an_error_not_the_next_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "not supported")

    monkeypatch.setattr("zejzl_ray.log.files.fcntl.flock", refuse)
    with pytest.raises(OSError, match="not supported"):
        LogWriter(LogFiles(tmp_path), "hub", notice)


class SlowHandler(logging.Handler):
    """A disk that takes nothing until it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Event()
        self.may_go = threading.Event()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.begun.set()
        self.may_go.wait(10)
        self.texts.append(record.getMessage())


def record(text: str) -> logging.LogRecord:
    return logging.LogRecord("t", logging.INFO, "", 0, text, None, None)


def test_a_full_queue_drops_counts_and_tells() -> None:
    slow = SlowHandler()
    writer = BackgroundWriter([slow], 3, lambda count: record(f"{count} dropped"))
    assert writer.offer(record("0"))
    slow.begun.wait(10)  # the thread holds the first one
    assert [writer.offer(record(str(n))) for n in range(1, 6)] == [True, True, True, False, False]
    assert writer.figures() == WriterFigures(written=0, dropped=2, failed=0, queued=3)
    slow.may_go.set()
    assert writer.flush()
    writer.stop()
    assert slow.texts == ["0", "2 dropped", "1", "2", "3"]
    assert not writer.offer(record("late"))
    assert writer.figures().written == 4


def test_the_queue_is_bounded_in_bytes_too() -> None:
    slow = SlowHandler()
    writer = BackgroundWriter([slow], 100, lambda count: record("dropped"))
    big = "x" * (6 * 2**20)
    assert [writer.offer(record(big)) for _ in range(3)] == [True, True, False]
    slow.may_go.set()
    writer.stop()


def test_a_disk_that_hangs_holds_nobody_for_long() -> None:
    slow = SlowHandler()
    writer = BackgroundWriter([slow], 1, lambda count: record("dropped"))
    writer.offer(record("0"))
    slow.begun.wait(10)
    writer.offer(record("1"))
    assert not writer.flush(0.01)
    writer.stop(0.01)
    slow.may_go.set()


def test_a_forked_child_does_not_write_into_its_parents_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = LogWriter(LogFiles(tmp_path), "hub", notice)
    own = os.getpid()
    monkeypatch.setattr("zejzl_ray.log.background.os.getpid", lambda: own + 1)
    assert not writer.offer(Line("{}", 20))
    assert not writer.fits(LogFiles(tmp_path), "hub", is_debugging=False)
    monkeypatch.undo()
    assert writer.fits(LogFiles(tmp_path), "hub", is_debugging=False)
    writer.stop()


def test_a_write_that_fails_is_counted(tmp_path: Path) -> None:
    handler = RotatingLogFile(tmp_path / "gone" / "x.log", 1000, 1)
    writer = BackgroundWriter([handler], 10, record)  # type: ignore[arg-type]  # nothing is dropped
    writer.offer(record("lost"))
    writer.flush()
    assert writer.figures().failed == 1
    writer.stop()


def test_a_file_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("")
    (tmp_path / "hub.log").symlink_to(tmp_path / "target")
    writer = LogWriter(LogFiles(tmp_path), "hub", notice)
    writer.offer(Line('{"event":"x"}', 20))
    writer.flush()
    assert (tmp_path / "target").read_text() == ""
    assert writer.figures().failed == 1
    writer.stop()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a/../b", "a_.._b"), ("..", "unnamed"), ("", "unnamed"), (".hidden", "hidden"), ("pc2", "pc2"),
        ("x" * 300, "x" * 100),
    ],
)  # fmt: skip
def test_a_name_cannot_lead_out_of_the_folder(name: str, expected: str) -> None:
    assert fit_name(name) == expected


def test_settings_say_where_and_how_much(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = Settings(data_dir=Path("~/z"), log_file_mib=0.5, log_files_kept=3, log_level="ERROR")
    # the tilde is resolved where the value arrives, not where it was made
    assert settings.logs == LogSettings(
        level="ERROR", directory=Path("~/z/logs"), log_file_mib=0.5, log_files_kept=3
    )
    assert files_of(settings.logs, "pc2") == LogFiles(tmp_path / "z" / "logs" / "pc2", 2**19, 3)
    assert Settings(log_dir=Path("/var/log/zejzl")).logs.directory == Path("/var/log/zejzl")
