"""The SQLite files of a directory: read out beside the processes that own them, and replaced together."""

import asyncio
import contextlib
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from zejzl_ray.errors import StoreLocked, StoreUnavailable, ZejzlError
from zejzl_ray.ids import NAME_REGEX
from zejzl_ray.store.image import (
    ImageCommitId,
    ImageEntry,
    ImageFigures,
    ImageHead,
    ImageLog,
    ImageLogEntry,
    Record,
    checked,
    epoch_after_restore,
)
from zejzl_ray.store.operations import check_namespace
from zejzl_ray.store.site import Images
from zejzl_ray.store.sqlite_file import (
    RESTORE_MARK,
    FileLock,
    explain,
    open_database,
    open_for_export,
    refuse_half_restored,
    sync_directory,
)

BATCH: Final = 500
_STAGE: Final = ".restoring"
_OWNER: Final = "restore"


class SqliteSite:
    """A ``StoreSite`` over ``<directory>/*.sqlite3``.

    A namespace is read in one read transaction: of a file with a write-ahead log that is the state of one moment, and
    its writer goes on. Until the reading ends the log cannot shrink, so it grows by what is written meanwhile.

    Files are replaced in three steps: all new ones are made and synced in a directory beside them, then a mark says
    that the replacing has begun, then each takes its place. With the mark in place no store opens there.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.name = f"sqlite {directory}"

    async def namespaces(self) -> list[str]:
        """Return the namespaces, as ``StoreSite.namespaces``; files that no store made are left out."""
        return await asyncio.to_thread(self._namespaces)

    async def export(self, namespace: str) -> AsyncIterator[Sequence[Record]]:
        """Yield the records, as ``StoreSite.export``."""
        path = self._path(check_namespace(namespace))
        await asyncio.to_thread(refuse_half_restored, self._directory)
        connection = await asyncio.to_thread(open_for_export, path, namespace)
        try:
            batches = _batches(connection, namespace)
            while batch := await asyncio.to_thread(next, batches, None):
                yield batch
        except sqlite3.Error as error:
            raise explain(path, error) from error
        finally:
            await asyncio.to_thread(connection.close)

    async def users(self) -> list[str] | None:
        """Return the processes that have a file open, as their locks say."""
        return await asyncio.to_thread(self._users)

    async def interrupted(self) -> str:
        """Return what the mark of a restore says that was cut off, as ``StoreSite.interrupted``."""
        mark = self._directory / RESTORE_MARK
        if not await asyncio.to_thread(mark.exists):
            return ""
        return (await asyncio.to_thread(mark.read_text, errors="replace")).strip() or "a back-up"

    async def replace(self, images: Images, *, source: str, now_s: float) -> list[str]:
        """Replace all files, as ``StoreSite.replace``."""
        return await asyncio.to_thread(self._replace, images, source, now_s)

    async def close(self) -> None:
        """Do nothing: nothing stays open."""

    def _path(self, namespace: str) -> Path:
        return self._directory / f"{namespace}.sqlite3"

    def _namespaces(self) -> list[str]:
        found = (path for path in self._directory.glob("*.sqlite3") if NAME_REGEX.match(path.stem))
        # An empty one is a store whose opening was cut off.
        return sorted(path.stem for path in found if path.stat().st_size)

    def _users(self) -> list[str]:
        found: list[str] = []
        for namespace in self._namespaces():
            try:
                FileLock(self._directory / f"{namespace}.lock", _OWNER).release()
            except StoreLocked as error:
                found.append(error.message.rstrip("."))
            except OSError as error:
                raise StoreUnavailable(
                    f"{self._directory}: {error.strerror}.", "Check its owner and mode."
                ) from None
        return found

    def _replace(self, images: Images, source: str, now_s: float) -> list[str]:
        stage = self._directory / _STAGE
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.rmtree(stage, ignore_errors=True)
            stage.mkdir(mode=0o700)
            with ExitStack() as locks:
                staged = self._stage(stage, images, locks, now_s)
                sync_directory(stage)
                _write_mark(self._directory / RESTORE_MARK, source)
                for namespace in staged:
                    self._put_in_place(stage, namespace)
                sync_directory(self._directory)
                (self._directory / RESTORE_MARK).unlink()
                sync_directory(self._directory)
                return sorted(staged)
        except OSError as error:
            raise StoreUnavailable(
                f"{self._directory} cannot be replaced: {error.strerror}.",
                "Check free space and permissions, then repeat the restore.",
            ) from error
        finally:
            shutil.rmtree(stage, ignore_errors=True)

    def _stage(self, stage: Path, images: Images, locks: ExitStack, now_s: float) -> list[str]:
        """Make all new files; the locks of all namespaces, old and new, are held from here on."""
        epochs: dict[str, int] = {}

        def lock(namespace: str) -> None:
            held = FileLock(self._directory / f"{namespace}.lock", _OWNER)
            locks.callback(held.release)
            epochs[namespace] = self._epoch(namespace)

        for namespace in self._namespaces():
            lock(namespace)
        staged: list[str] = []
        for namespace, records in images:
            if check_namespace(namespace) not in epochs:
                lock(namespace)
            _write_file(stage / f"{namespace}.sqlite3", namespace, records, epochs[namespace], now_s)
            staged.append(namespace)
        for namespace in sorted(set(epochs) - set(staged)):
            empty = iter([ImageHead(namespace, 0, 0)])
            _write_file(stage / f"{namespace}.sqlite3", namespace, empty, epochs[namespace], now_s)
            staged.append(namespace)
        return staged

    def _epoch(self, namespace: str) -> int:
        """Return the epoch in the file that is there; 0 where there is none that tells it."""
        with contextlib.suppress(ZejzlError, sqlite3.Error):
            connection = open_for_export(self._path(namespace), namespace)
            try:
                return _meta(connection)["epoch"]
            finally:
                connection.close()
        return 0

    def _put_in_place(self, stage: Path, namespace: str) -> None:
        # The old log first: beside a new file it would be taken for that one's.
        for suffix in ("-wal", "-shm"):
            self._path(namespace).with_name(f"{namespace}.sqlite3{suffix}").unlink(missing_ok=True)
        (stage / f"{namespace}.sqlite3").replace(self._path(namespace))


def _meta(connection: sqlite3.Connection) -> dict[str, int]:
    rows = connection.execute("SELECT name, value FROM meta WHERE name IN ('epoch', 'commits')")
    return {name: int(value) for name, value in rows}


def _batches(connection: sqlite3.Connection, namespace: str) -> Iterator[list[Record]]:
    connection.execute("BEGIN")  # the first read after it fixes the moment
    meta = _meta(connection)
    yield [ImageHead(namespace, meta["epoch"], meta["commits"])]
    ids = connection.execute("SELECT commit_id, commit_number FROM commit_ids ORDER BY commit_number")
    while rows := ids.fetchmany(BATCH):
        yield [ImageCommitId(*row) for row in rows]
    entries = connection.execute("SELECT key, version, expires_at_s, value FROM entries ORDER BY key")
    while rows := entries.fetchmany(BATCH):
        yield [ImageEntry(key.decode(), *rest) for key, *rest in rows]
    for log_id, name, last_index in connection.execute(
        "SELECT id, name, last_index FROM logs ORDER BY name"
    ).fetchall():
        yield [ImageLog(name.decode(), last_index)]
        kept = connection.execute(
            "SELECT entry_index, value FROM log_entries WHERE log_id = ? ORDER BY entry_index", (log_id,)
        )
        while rows := kept.fetchmany(BATCH):
            yield [ImageLogEntry(*row) for row in rows]


def _write_file(
    path: Path, namespace: str, records: Iterator[Record], epoch_before: int, now_s: float
) -> None:
    """Write a file that holds the records, synced and without a log beside it."""
    connection = open_database(path, namespace)
    try:
        connection.execute("BEGIN IMMEDIATE")
        log_id = 0
        for record in checked(records, ImageFigures()):
            match record:
                case ImageHead(epoch=epoch, commits=commits):
                    values = [
                        (epoch_after_restore(max(epoch, epoch_before), now_s), "epoch"),
                        (commits, "commits"),
                    ]
                    connection.executemany("UPDATE meta SET value = ? WHERE name = ?", values)
                case ImageCommitId(commit_id=commit_id, number=number):
                    connection.execute("INSERT INTO commit_ids VALUES (?, ?)", (number, commit_id))
                case ImageEntry(key=key, version=version, expires_at_s=expires_at_s, value=value):
                    row = (key.encode(), version, expires_at_s, value)
                    connection.execute("INSERT INTO entries VALUES (?, ?, ?, ?)", row)
                case ImageLog(log=name, last_index=last_index):
                    (log_id,) = connection.execute(
                        "INSERT INTO logs (name, last_index) VALUES (?, ?) RETURNING id",
                        (name.encode(), last_index),
                    ).fetchone()
                case ImageLogEntry(index=index, value=value):
                    connection.execute("INSERT INTO log_entries VALUES (?, ?, ?)", (log_id, index, value))
        connection.execute("COMMIT")
        # Back to one file: it is moved alone. Opening it turns the log on again.
        connection.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as error:
        raise explain(path, error) from error
    finally:
        connection.close()


def _write_mark(path: Path, source: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, source.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_directory(path.parent)
