"""Setting up the logs of a process: which lines, under whose name, into which files."""

import atexit
import logging
import sys
import threading
from contextlib import suppress
from typing import Final, TextIO, cast

import structlog

from zejzl_ray.log.background import WriterFigures
from zejzl_ray.log.files import LogFiles, LogWriter
from zejzl_ray.log.lines import COMPONENT_KEY, LEVELS, Line, LineMaker

_OWN_LOGGERS: Final = "zejzl"  # loggers of the standard library under this name follow the level


class LineOut:
    """Takes finished lines: into the files through their queue, and onto a stream.

    Args:
        stream: gets every line; one that is also in a file says so with ``filed``, so that a reader of both shows it
            once.
        writer: null for none.
    """

    def __init__(self, stream: TextIO, writer: LogWriter | None = None) -> None:
        self._stream = stream
        self._writer = writer
        self._lock = threading.Lock()

    def msg(self, line: Line) -> None:
        """Write a line; never raises, since a log that cannot be written must not stop the work."""
        is_filed = self._writer is not None and self._writer.offer(line)
        text = f'{line.text[:-1]},"filed":true}}' if is_filed else line.text
        with self._lock, suppress(OSError, ValueError):  # a closed stream is a ValueError
            self._stream.write(f"{text}\n")
            self._stream.flush()

    log = debug = info = warn = warning = error = err = exception = critical = fatal = msg


class ForeignRecords(logging.Handler):
    """Turns records of the standard library's loggers into lines like all others."""

    def __init__(self, maker: LineMaker, out: LineOut) -> None:
        super().__init__()
        self._maker = maker
        self._out = out

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; its text arguments are filled in."""
        try:
            text = record.getMessage()
        except Exception:  # wrong arguments for the text: the text alone still says something
            text = str(record.msg)
        event = {"event": text, COMPONENT_KEY: record.name}
        if record.exc_info:
            event |= {"exc_info": record.exc_info}  # type: ignore[dict-item]  # structlog wants the tuple itself
        reached = [name for name, least in LEVELS.items() if least <= record.levelno]
        level = reached[-1] if reached else "debug"  # they stand in their order
        self._out.msg(self._maker.line(level, event))


class _Process:
    """What was set up in this process; at most one of each."""

    writer: LogWriter | None = None
    foreign: ForeignRecords | None = None
    is_exit_registered = False


def configure_logging(
    level: str = "INFO",
    *,
    service: str = "",
    stream: TextIO | None = None,
    machine: str = "",
    files: LogFiles | None = None,
) -> None:
    """Send every log line of this process as JSON to ``stream`` (standard error) and into files; safe to repeat.

    A repetition with the same files goes on with them; another one ends them first. When the files cannot be opened,
    that is said on the stream and the process works on without them. With a ``service``, records of the standard
    library's loggers come too: those under ``zejzl`` from ``level`` on, others from WARNING on.

    Args:
        level: least level that is written: DEBUG, INFO, WARNING, ERROR.
        service: written into every line as ``service``, and the name of the files.
        stream: where to write.
        machine: written into every line as ``machine``.
        files: where to write beside the stream; null for nowhere.
    """
    minimum = logging.getLevelNamesMapping()[level]
    maker = LineMaker(service, machine)
    fault = _open_files(maker, service, files, is_debugging=minimum <= logging.DEBUG)
    out = LineOut(stream or sys.stderr, _Process.writer)
    structlog.configure(
        processors=[maker],
        wrapper_class=structlog.make_filtering_bound_logger(minimum),
        logger_factory=lambda *_: out,
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.clear_contextvars()
    _remove_foreign()
    if service:
        _Process.foreign = ForeignRecords(maker, out)
        logging.getLogger().addHandler(_Process.foreign)
        logging.getLogger(_OWN_LOGGERS).setLevel(minimum)
    if fault:
        get_logger("zejzl.log").warning("log files cannot be written", reason=fault)


def get_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """Return a logger whose lines carry ``component=name``."""
    logger = structlog.get_logger(**{"component": name, COMPONENT_KEY: name})
    return cast("structlog.typing.FilteringBoundLogger", logger)


def flush_logging(timeout_s: float = 2.0) -> bool:
    """Wait until what was logged so far is in the files; blocks. Return false when time is over."""
    return _Process.writer is None or _Process.writer.flush(timeout_s)


def stop_logging(timeout_s: float = 2.0) -> None:
    """Write what is queued and close the files; later lines go to the stream only. Blocks; safe to repeat."""
    writer, _Process.writer = _Process.writer, None
    if writer is not None:
        writer.stop(timeout_s)
    _remove_foreign()


def logging_figures() -> WriterFigures:
    """Return how many lines of this process are in files, and how many were dropped."""
    return WriterFigures() if _Process.writer is None else _Process.writer.figures()


def _open_files(maker: LineMaker, service: str, files: LogFiles | None, *, is_debugging: bool) -> str:
    """Set the writer of this process; return why that is not possible, or nothing."""
    current = _Process.writer
    if current is not None and (files is None or not current.fits(files, service, is_debugging=is_debugging)):
        _Process.writer = None
        current.stop()
    if files is None or _Process.writer is not None:
        return ""

    def notice(count: int) -> Line:
        event = {"event": "log lines were dropped", COMPONENT_KEY: "zejzl.log", "dropped": count}
        return maker.line("warning", event)

    try:
        _Process.writer = LogWriter(files, service, notice, is_debugging=is_debugging)
    except OSError as error:
        return f"{files.directory}: {error.strerror or error}"
    if not _Process.is_exit_registered:
        _Process.is_exit_registered = True
        atexit.register(stop_logging)
    return ""


def _remove_foreign() -> None:
    foreign, _Process.foreign = _Process.foreign, None
    if foreign is not None:
        logging.getLogger().removeHandler(foreign)
