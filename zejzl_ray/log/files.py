"""Log files of one process: all lines, errors, debug lines and performance apart, each rotated and bounded."""

import fcntl
import io
import logging
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final, Protocol

from zejzl_ray.log.background import BackgroundWriter, WriterFigures
from zejzl_ray.log.lines import Line

# What the name of an extract ends with; every line of an extract is in ``<service>.log`` too.
EXTRACTS: Final = (".error.log", ".debug.log", ".performance.log")
_UNFIT: Final = re.compile(r"[^A-Za-z0-9_.-]")
_MAX_SLOTS: Final = 64


class FileSettings(Protocol):
    """What ``files_of`` reads; the project's settings are one."""

    @property
    def log_path(self) -> Path:
        """Directory with one folder for each machine."""
        ...

    @property
    def log_file_mib(self) -> float:
        """Size at which a file is rotated."""
        ...

    @property
    def log_files_kept(self) -> int:
        """How many rotated files are kept beside each file."""
        ...


@dataclass(frozen=True, slots=True)
class LogFiles:
    """Where a process writes its lines, and how much.

    Attributes:
        directory: of this machine; made with mode 0700.
        file_bytes: size at which a file is rotated.
        kept: rotated files that are kept beside the one that grows.
        queued: lines that may wait for the writing thread.
    """

    directory: Path
    file_bytes: int = 10 * 2**20
    kept: int = 5
    queued: int = 10_000


def files_of(settings: FileSettings, machine: str) -> LogFiles:
    """Return where the processes of a machine write: ``<log_path>/<machine>``."""
    return LogFiles(
        directory=settings.log_path / fit_name(machine),
        file_bytes=int(settings.log_file_mib * 2**20),
        kept=settings.log_files_kept,
    )


def fit_name(name: str) -> str:
    """Return the name as it stands in a path: no separators, no leading dot, never empty, at most 100 characters."""
    return _UNFIT.sub("_", name).lstrip(".")[:100] or "unnamed"


class LogWriter:
    """Writes lines into the files of one process.

    No two processes write one file: the first gets ``<service>.log``, the next ``<service>-2.log``, and so on; a name
    is free again when its process has ended.

    Args:
        files: where and how much.
        service: gives the files their name.
        notice: makes the line that tells how many lines were dropped.
        is_debugging: write ``<service>.debug.log`` too.

    Raises:
        OSError: the directory cannot be made or written, or 64 processes of this service write already.
    """

    def __init__(
        self, files: LogFiles, service: str, notice: Callable[[int], Line], *, is_debugging: bool = False
    ) -> None:
        self._config = (files, service, is_debugging)
        self._pid = os.getpid()
        files.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock_file, self.name = _take_name(files.directory, fit_name(service))
        handlers = [self._handler(".log")]
        handlers.append(self._handler(".error.log", lambda record: record.levelno >= logging.ERROR))
        handlers.append(self._handler(".performance.log", _is_performance))
        if is_debugging:
            handlers.append(self._handler(".debug.log", lambda record: record.levelno <= logging.DEBUG))
        self._writer = BackgroundWriter(handlers, files.queued, lambda count: _record(notice(count)))

    def fits(self, files: LogFiles, service: str, *, is_debugging: bool) -> bool:
        """Tell whether this writer, in this process, is what is asked for."""
        return self._config == (files, service, is_debugging) and self._pid == os.getpid()

    def offer(self, line: Line) -> bool:
        """Queue a line; return false when it will be in no file. Never blocks."""
        return self._writer.offer(_record(line))

    def figures(self) -> WriterFigures:
        """Return what was written and what was not."""
        return self._writer.figures()

    def flush(self, timeout_s: float = 2.0) -> bool:
        """Wait until every line queued so far is in its files; blocks. Return false when time is over."""
        return self._writer.flush(timeout_s)

    def stop(self, timeout_s: float = 2.0) -> None:
        """Write what is queued, close the files and free their name; blocks; safe to repeat."""
        self._writer.stop(timeout_s)
        if self._lock_file >= 0:
            os.close(self._lock_file)
            self._lock_file = -1

    def _handler(
        self, ending: str, keeps: Callable[[logging.LogRecord], bool] | None = None
    ) -> "RotatingLogFile":
        files = self._config[0]
        handler = RotatingLogFile(files.directory / f"{self.name}{ending}", files.file_bytes, files.kept)
        if keeps is not None:
            handler.addFilter(keeps)
        return handler


class RotatingLogFile(RotatingFileHandler):
    """A rotated file of mode 0600 that counts what it could not write, in ``failed``, and prints nothing."""

    def __init__(self, path: Path, file_bytes: int, kept: int) -> None:
        super().__init__(path, maxBytes=file_bytes, backupCount=kept, encoding="utf-8", delay=True)
        self.failed = 0

    def handleError(self, record: logging.LogRecord) -> None:
        """Count a line that could not be written."""
        self.failed += 1

    def _open(self) -> io.TextIOWrapper:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        return io.TextIOWrapper(
            io.FileIO(os.open(self.baseFilename, flags, 0o600), "a"),
            encoding="utf-8",
            errors="backslashreplace",
            write_through=True,
        )


def _record(line: Line) -> logging.LogRecord:
    record = logging.LogRecord("zejzl", line.level, "", 0, line.text, None, None)
    record.is_performance = line.is_performance
    return record


def _is_performance(record: logging.LogRecord) -> bool:
    return bool(getattr(record, "is_performance", False))


def _take_name(directory: Path, service: str) -> tuple[int, str]:
    """Return the open lock, which ends with the process, and the name that it stands for."""
    for slot in range(1, _MAX_SLOTS + 1):
        name = service if slot == 1 else f"{service}-{slot}"
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        lock_file = os.open(directory / f".{name}.lock", flags, 0o600)
        try:
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock_file)
            if not isinstance(error, BlockingIOError):
                raise
        else:
            return lock_file, name
    raise OSError(f"{_MAX_SLOTS} processes of {service} write into {directory} already")
