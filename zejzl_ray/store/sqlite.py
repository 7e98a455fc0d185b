"""The store of one machine: one SQLite file for each service, owned by one process."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self, TypeVar

from zejzl_ray.clock import Clock
from zejzl_ray.errors import StoreUnavailable
from zejzl_ray.store.durability import Durability
from zejzl_ray.store.grouping import GroupCommitter, Outcome, Waiting, closed
from zejzl_ray.store.operations import check_namespace, check_page, encode_key, encode_prefix, prepare
from zejzl_ray.store.protocol import LogEntry, Op, Versioned
from zejzl_ray.store.sqlite_file import FileLock, explain, lock_store, open_database, open_reader
from zejzl_ray.store.sqlite_writer import SqliteWriter

T = TypeVar("T")

DEFAULT_TIMEOUT_S = 10.0
MAX_WAITING_READS = 1024
# No byte of UTF-8 is 0xFF: a prefix followed by it sorts after every key with that prefix.
_ABOVE_ALL = b"\xff"


class SqliteStore:
    """A ``Store`` in ``<directory>/<namespace>.sqlite3``; make one with ``open``.

    When ``commit`` returns, its operations are in SQLite's write-ahead log and that file is synced to the
    disk (``journal_mode=WAL``, ``synchronous=FULL``). Concurrent commits share one transaction and one sync.
    Writing has one thread with a connection of its own, reading another one, so that a read never waits for a
    sync; it sees every commit that returned before the read began.
    """

    weakness = ""  # what cannot be synced is refused

    def __init__(
        self,
        path: Path,
        namespace: str,
        lock: FileLock,
        *,
        clock: Clock,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> None:
        self._path = path
        self._namespace = namespace
        self._lock = lock
        self._clock = clock
        self._timeout_s = timeout_s
        self._write_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"store-{namespace}")
        self._read_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"store-read-{namespace}")
        self._read_room = asyncio.Semaphore(MAX_WAITING_READS)
        self._committer = GroupCommitter(str(path), self._send, timeout_s=timeout_s)
        self._writer: SqliteWriter | None = None
        self._reader: sqlite3.Connection | None = None
        self._is_closed = False
        self._is_released = False

    @classmethod
    async def open(
        cls,
        directory: Path,
        namespace: str,
        *,
        clock: Clock,
        owner: str = "",
        timeout_s: float = DEFAULT_TIMEOUT_S,
        on_statement: Callable[[str], None] | None = None,
    ) -> Self:
        """Lock and open the store; create what is missing.

        Args:
            directory: where the file lies, or will lie.
            namespace: names the file.
            clock: what expiry is measured by.
            owner: who this process is; a second opener reads it in its error.
            timeout_s: the longest wait of each later call.
            on_statement: called in the write thread before each SQL statement, for tests and tracing.

        Raises:
            StoreLocked: another process, or another store of this one, has it open.
            StoreError: the file is no database, another program's, of a newer version, or damaged; it is left
                as it is.
            StoreUnavailable: it cannot be read or written.
            SettingsInvalid: the directory or the namespace cannot be used.
        """
        check_namespace(namespace)
        lock, path = await asyncio.to_thread(lock_store, directory, namespace, owner)
        store = cls(path, namespace, lock, clock=clock, timeout_s=timeout_s)

        def open_writer() -> None:
            store._writer = SqliteWriter(open_database(path, namespace, on_statement), path, namespace)

        def open_read_connection() -> None:
            store._reader = open_reader(path)

        try:
            await store._in_thread(store._write_thread, open_writer)
            await store._in_thread(store._read_thread, open_read_connection)
        except BaseException:
            await store.close()
            raise
        return store

    async def take_epoch(self) -> int:
        """Become the writer, as ``Store.take_epoch``; durable when it returns."""
        writer = self._open_writer()
        return await self._in_thread(self._write_thread, writer.take_epoch)

    async def get(self, key: str) -> Versioned | None:
        """Return the value, as ``Store.get``."""
        rows = await self._read(
            "SELECT value, version FROM entries WHERE key = ? AND (expires_at_s IS NULL OR expires_at_s > ?)",
            (encode_key(key), self._clock.now_s()),
        )
        return Versioned(*rows[0]) if rows else None

    async def scan(
        self, prefix: str, *, after: str = "", limit: int = 1000
    ) -> Sequence[tuple[str, Versioned]]:
        """Return a page of keys, as ``Store.scan``."""
        check_page(0, limit)
        start = encode_prefix(prefix)
        rows = await self._read(
            "SELECT key, value, version FROM entries WHERE key >= ? AND key < ? AND key > ?"
            " AND (expires_at_s IS NULL OR expires_at_s > ?) ORDER BY key LIMIT ?",
            (start, start + _ABOVE_ALL, encode_prefix(after), self._clock.now_s(), limit),
        )
        return [(key.decode(), Versioned(value, version)) for key, value, version in rows]

    async def read_log(self, log: str, *, after: int = 0, limit: int = 1000) -> Sequence[LogEntry]:
        """Return a page of a log, as ``Store.read_log``."""
        check_page(after, limit)
        rows = await self._read(
            "SELECT entry_index, value FROM log_entries WHERE log_id = (SELECT id FROM logs WHERE name = ?)"
            " AND entry_index > ? ORDER BY entry_index LIMIT ?",
            (encode_key(log, "log"), after, limit),
        )
        return [LogEntry(index, value) for index, value in rows]

    async def commit(
        self, ops: Sequence[Op], *, epoch: int, expect: Mapping[str, int] | None = None, commit_id: str = ""
    ) -> None:
        """Apply all operations or none, as ``Store.commit``; synced to the disk when it returns."""
        self._open_writer()
        now_s = self._clock.now_s()
        await self._committer.submit(
            prepare(ops, epoch=epoch, expect=expect, commit_id=commit_id, now_s=now_s)
        )

    async def close(self) -> None:
        """Finish the batch on its way, close the file and let the next process in; safe to repeat.

        A thread that hangs in the disk keeps the lock until it comes back: it may still write.
        """
        self._is_closed = True
        await self._committer.close()
        reader, self._reader = self._reader, None
        with contextlib.suppress(StoreUnavailable):
            if reader is not None:
                await self._in_thread(self._read_thread, reader.close)
        if not self._is_released:
            self._is_released = True
            # One job closes and unlocks, so that the lock cannot go before the file does. The wait does not
            # cancel it: a job cancelled while it queues behind a slow disk would never unlock.
            job = asyncio.wrap_future(self._write_thread.submit(self._finish))
            await asyncio.wait({job}, timeout=self._timeout_s)
        self._read_thread.shutdown(wait=False)
        self._write_thread.shutdown(wait=False)

    def describe_durability(self) -> Durability:
        """Return the policy: every commit is synced before it is acknowledged."""
        return Durability(f"sqlite {self._path}: WAL, synced before each acknowledgement (synchronous=FULL)")

    def _finish(self) -> None:
        # Taken here, in the write thread: an open that was given up may have set it only now.
        writer, self._writer = self._writer, None
        try:
            if writer is not None:
                writer.close()
        finally:
            self._lock.release()

    def _open_writer(self) -> SqliteWriter:
        if self._is_closed or self._writer is None:
            raise closed(str(self._path))
        return self._writer

    async def _send(self, batch: Sequence[Waiting]) -> Sequence[Outcome]:
        writer = self._writer
        if writer is None:
            raise closed(str(self._path))
        prepared = [waiting.prepared for waiting in batch]
        # No limit here: the transaction ends when the disk lets it, and each caller has a limit of its own.
        return await asyncio.get_running_loop().run_in_executor(self._write_thread, writer.apply, prepared)

    async def _read(self, sql: str, parameters: tuple[object, ...]) -> list[tuple[Any, ...]]:
        reader = self._reader
        if self._is_closed or reader is None:
            raise closed(str(self._path))

        def fetch() -> list[tuple[Any, ...]]:
            try:
                return reader.execute(sql, parameters).fetchall()
            except sqlite3.Error as error:
                raise explain(self._path, error) from error

        return await self._in_thread(self._read_thread, fetch, self._read_room)

    async def _in_thread(
        self, thread: ThreadPoolExecutor, do: Callable[[], T], room: asyncio.Semaphore | None = None
    ) -> T:
        try:
            async with asyncio.timeout(self._timeout_s), room or contextlib.nullcontext():
                return await asyncio.get_running_loop().run_in_executor(thread, do)
        except TimeoutError:
            raise StoreUnavailable(
                f"{self._path}: the disk did not answer within {self._timeout_s:g} s.",
                "Look at the disk's health.",
            ) from None
