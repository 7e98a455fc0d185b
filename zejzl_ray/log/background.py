"""Writing in a thread: whoever logs puts a line into a bounded queue and goes on."""

import logging
import os
import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from logging.handlers import QueueHandler, QueueListener
from typing import Final

_MAX_QUEUED_BYTES: Final = 16 * 2**20
_STOP_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class WriterFigures:
    """What a writer did since its start.

    Attributes:
        written: lines that were handed to the files.
        dropped: lines that found the queue full; they are on standard error only.
        failed: writes that the system refused, such as with a full disk.
        queued: lines that wait now.
    """

    written: int = 0
    dropped: int = 0
    failed: int = 0
    queued: int = 0


class BackgroundWriter:
    """Hands lines to logging handlers in a thread of its own; never blocks and never raises.

    Args:
        handlers: each gets the lines of its level and filters; closed by ``stop``.
        queued: how many lines may wait, beside 16 MiB; more are dropped and counted.
        notice: makes the line that tells how many lines were dropped.
    """

    def __init__(
        self, handlers: Sequence[logging.Handler], queued: int, notice: Callable[[int], logging.LogRecord]
    ) -> None:
        self._handlers = tuple(handlers)
        self._notice = notice
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._queue: queue.Queue[logging.LogRecord] = queue.Queue(maxsize=queued)
        self._queue_handler = QueueHandler(self._queue)
        self._queued_bytes = 0
        self._dropped = 0
        self._told = 0
        self._written = 0
        self._is_open = True
        self._listener = _Listener(self, self._queue, *handlers)
        self._listener.start()

    def offer(self, record: logging.LogRecord) -> bool:
        """Queue a record whose message is the ready text; return false when it is dropped."""
        if os.getpid() != self._pid:  # a forked child has the queue but not the thread
            return False
        size = len(record.msg)
        with self._lock:
            is_taken = self._is_open and self._queued_bytes + size <= _MAX_QUEUED_BYTES
            if is_taken:
                try:
                    self._queue_handler.enqueue(record)
                    self._queued_bytes += size
                except queue.Full:
                    is_taken = False
            if not is_taken:
                self._dropped += 1
        return is_taken

    def figures(self) -> WriterFigures:
        """Return what was written and what was not."""
        failed = sum(getattr(handler, "failed", 0) for handler in self._handlers)
        return WriterFigures(self._written, self._dropped, failed, self._queue.qsize())

    def flush(self, timeout_s: float = _STOP_S) -> bool:
        """Wait until everything that was queued before is written; blocks. Return false when time is over."""
        marker = _Marker()
        with suppress(queue.Full):
            self._queue.put(marker, timeout=timeout_s)
            return marker.is_reached.wait(timeout_s)
        return False

    def stop(self, timeout_s: float = _STOP_S) -> None:
        """Write what is queued, as far as the time allows, and close the handlers; blocks; safe to repeat."""
        with self._lock:
            was_open, self._is_open = self._is_open, False
        if not was_open or os.getpid() != self._pid:
            return
        self._listener.end(timeout_s)
        for handler in self._handlers:
            handler.close()

    def handled(self, record: logging.LogRecord) -> None:
        """Count a record that the thread has handed on; only the thread calls it."""
        with self._lock:
            self._queued_bytes -= len(record.msg)
            self._written += 1

    def untold(self) -> logging.LogRecord | None:
        """Return the line about drops that nobody was told of yet; only the thread calls it."""
        with self._lock:
            count, self._told = self._dropped - self._told, self._dropped
        return self._notice(count) if count else None


class _Marker(logging.LogRecord):
    """Passes through the queue like a line, and tells when it has come to the end."""

    def __init__(self) -> None:
        super().__init__("marker", logging.DEBUG, "", 0, "", None, None)
        self.is_reached = threading.Event()


class _Listener(QueueListener):
    def __init__(
        self, writer: BackgroundWriter, lines: "queue.Queue[logging.LogRecord]", *handlers: logging.Handler
    ) -> None:
        super().__init__(lines, *handlers, respect_handler_level=True)
        self._writer = writer
        self._lines = lines

    def handle(self, record: logging.LogRecord) -> None:
        if isinstance(record, _Marker):
            self._tell()
            record.is_reached.set()
            return
        super().handle(record)
        self._writer.handled(record)
        self._tell()

    def end(self, timeout_s: float) -> None:
        """Stop as ``stop`` does, but wait no longer than this for a disk that hangs."""
        thread = self._thread
        with suppress(queue.Full):
            # not ``enqueue_sentinel``, which raises when the queue is full
            self._lines.put(self._sentinel, timeout=timeout_s)  # type: ignore[attr-defined]  # typeshed leaves it out
        if thread is not None:
            thread.join(timeout_s)
            self._thread = None

    def _tell(self) -> None:
        if (notice := self._writer.untold()) is not None:
            super().handle(notice)
