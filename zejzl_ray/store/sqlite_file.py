"""One SQLite file that belongs to one process: locking, opening, schema."""

import fcntl
import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from zejzl_ray.errors import NotFound, SettingsInvalid, StoreError, StoreLocked, StoreUnavailable

SCHEMA_VERSION = 1
# "zjzl": marks the file as ours in the SQLite header, so that another program's database is not taken for a
# store.
APPLICATION_ID = 0x7A6A7A6C
# In the directory while its files are being replaced: some are new, some are old.
RESTORE_MARK = "restore_unfinished"
BUSY_TIMEOUT_S = 5.0
# Pages that one connection keeps in memory, once read or written: a host has a connection for each of its agents, and
# SQLite's own 2 MB fill over hours. A commit of 10,000 keys takes as long as with those.
CACHE_KIB = 512

_SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE entries (key BLOB PRIMARY KEY, version INTEGER NOT NULL, expires_at_s REAL, value BLOB NOT NULL);
CREATE INDEX entries_by_expiry ON entries (expires_at_s) WHERE expires_at_s IS NOT NULL;
CREATE TABLE logs (id INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE, last_index INTEGER NOT NULL);
CREATE TABLE log_entries (
    log_id INTEGER NOT NULL, entry_index INTEGER NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (log_id, entry_index)
) WITHOUT ROWID;
CREATE TABLE commit_ids (commit_number INTEGER PRIMARY KEY, commit_id TEXT NOT NULL UNIQUE);
INSERT INTO meta VALUES ('epoch', 0), ('commits', 0);
"""


class FileLock:
    """The right to open a store's file, held by one open file description until ``release``.

    The kernel lets go of it when the process dies, so a crash never leaves a lock behind. The lock file
    itself stays: removing it would let two processes lock two different files of the same name.
    """

    def __init__(self, path: Path, owner: str) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = _read_holder(descriptor)
            os.close(descriptor)
            raise StoreLocked(
                f"{path.with_suffix('.sqlite3')} is in use by {holder}.",
                "One process owns a store: stop the other one, or give this one another data directory.",
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "owner": owner}).encode(), 0)
        self._descriptor: int | None = descriptor

    def release(self) -> None:
        """Let the next process in; safe to repeat."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def lock_store(directory: Path, namespace: str, owner: str) -> tuple[FileLock, Path]:
    """Lock the store; return the lock and the database's path. A missing directory is made with mode 0700.

    Raises:
        StoreLocked: another process holds it; names the path, the process and its owner text.
        SettingsInvalid: the directory cannot be used.
        StoreError: a restore was interrupted in it.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FileLock(directory / f"{namespace}.lock", owner)
        # Looked for under the lock, which a restore holds from before it makes the mark.
        try:
            refuse_half_restored(directory)
        except BaseException:
            lock.release()
            raise
    except OSError as error:
        raise SettingsInvalid(
            f"the data directory {directory} cannot be used: {error.strerror}.",
            "Name one that this user may write to.",
        ) from error
    return lock, directory / f"{namespace}.sqlite3"


def refuse_half_restored(directory: Path) -> None:
    """Raise StoreError where a restore was interrupted and not done again since."""
    try:
        source = (directory / RESTORE_MARK).read_text(errors="replace").strip()
    except FileNotFoundError:
        return
    raise StoreError(
        f"a restore from {source or 'a back-up'} into {directory} was interrupted.",
        "Repeat it: `zejzl backup restore FILE --force`.",
    )


def open_database(
    path: Path, namespace: str, on_statement: Callable[[str], None] | None = None
) -> sqlite3.Connection:
    """Open or create the database for writing, in the thread that will use it.

    Raises:
        StoreError: not a database, not ours, of another namespace, or of a newer version. The file stays as
            it is.
        StoreUnavailable: the file cannot be read or written at the moment.
    """
    try:
        is_new = not path.exists()
        # Created here and not by SQLite: state may hold password hashes, and SQLite's side files copy the
        # mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        if is_new:
            sync_directory(path.parent)
        connection = _connect(path)
    except OSError as error:
        raise StoreUnavailable(
            f"{path} cannot be opened: {error.strerror}.", "Check its owner and mode."
        ) from error
    connection.set_trace_callback(on_statement)
    try:
        # Nothing is written before the file is known to be ours: journal_mode would change another program's
        # file.
        _check_or_create_schema(connection, path, namespace)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA journal_size_limit = 67108864")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    except sqlite3.Error as error:
        connection.close()
        raise explain(path, error) from error
    except BaseException:
        connection.close()
        raise
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """Open a second connection that sees committed state and cannot write."""
    connection = _connect(path)
    connection.execute("PRAGMA query_only = ON")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    return connection


def open_for_export(path: Path, namespace: str) -> sqlite3.Connection:
    """Open a connection that reads beside the process that owns the file; any thread may use it, one at a time.

    Raises:
        NotFound: there is no such file, or it holds nothing yet.
        StoreError: not a database, not ours, of another namespace or version.
        StoreUnavailable: it cannot be read.
    """
    if not path.exists():
        raise NotFound(f"{path} does not exist.")
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode=rw",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        connection.execute("PRAGMA query_only = ON")
        if _is_empty(connection):
            raise NotFound(f"{path} holds nothing yet.")
        _check_schema(connection, path, namespace)
    except sqlite3.Error as error:
        connection.close()
        raise explain(path, error) from error
    except BaseException:
        connection.close()
        raise
    return connection


def explain(path: Path, error: sqlite3.Error) -> StoreError | StoreUnavailable:
    """Return the project's error for one of SQLite's."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_NOTADB:
        return StoreError(f"{path} is not a SQLite database.", "Move it away or restore it from a backup.")
    if code == sqlite3.SQLITE_CORRUPT:
        return StoreError(f"{path} is damaged: {error}.", "Restore it from a backup.")
    return StoreUnavailable(f"{path}: {error}.", "Check free space and permissions of the data directory.")


def _connect(path: Path) -> sqlite3.Connection:
    # check_same_thread stays on: each connection belongs to the thread that opened it.
    return sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)


def _check_or_create_schema(connection: sqlite3.Connection, path: Path, namespace: str) -> None:
    if _is_empty(connection):
        connection.executescript(_SCHEMA)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("INSERT INTO meta VALUES ('namespace', ?)", (namespace,))
        connection.execute("COMMIT")
        return
    _check_schema(connection, path, namespace)


def _is_empty(connection: sqlite3.Connection) -> bool:
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    return not tables


def _check_schema(connection: sqlite3.Connection, path: Path, namespace: str) -> None:
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application_id != APPLICATION_ID:
        raise StoreError(f"{path} is the SQLite database of another program.", "Name another data directory.")
    if version != SCHEMA_VERSION:
        raise StoreError(
            f"{path} has schema version {version}, this program knows {SCHEMA_VERSION}.",
            "Start the program version that wrote it.",
        )
    (found,) = connection.execute("SELECT value FROM meta WHERE name = 'namespace'").fetchone()
    if found != namespace:
        raise StoreError(f"{path} holds the state of {found!r}, not of {namespace!r}.", "Undo the renaming.")


def _read_holder(descriptor: int) -> str:
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {int(holder['pid'])} ({holder['owner'] or 'no name given'})"
    except (ValueError, KeyError, TypeError):
        return "another process"  # it holds the lock and has not written its name yet


def sync_directory(directory: Path) -> None:
    """Return when the names in the directory are on the disk."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
