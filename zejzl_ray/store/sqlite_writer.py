"""Commits applied to the SQLite file: one transaction for a batch, one savepoint for each commit in it."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from zejzl_ray.errors import StaleEpoch, VersionConflict, ZejzlError
from zejzl_ray.store.operations import (
    CLEANUP_PER_COMMIT,
    COMMIT_WINDOW,
    LogAppend,
    Prepared,
    version_conflict,
)
from zejzl_ray.store.sqlite_file import explain

# A key whose expiry has passed counts as absent: its next version is that of a new key.
_PUT_PLAIN = """
INSERT INTO entries (key, version, expires_at_s, value) VALUES (?1, 1, NULL, ?2)
ON CONFLICT (key) DO UPDATE SET
    version = CASE WHEN expires_at_s <= ?3 THEN 1 ELSE version + 1 END,
    expires_at_s = NULL, value = excluded.value
"""
_PUT_SPECIAL = """
INSERT INTO entries (key, version, expires_at_s, value) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (key) DO UPDATE SET
    version = CASE WHEN ?5 OR expires_at_s <= ?6 THEN ?2 ELSE version + ?2 END,
    expires_at_s = excluded.expires_at_s, value = excluded.value
"""
_FORGET_EXPIRED = """
DELETE FROM entries WHERE key IN
    (SELECT key FROM entries WHERE expires_at_s <= ? ORDER BY expires_at_s LIMIT ?)
"""
_ADD_TO_LOG = """
INSERT INTO logs (name, last_index) VALUES (?1, ?2)
ON CONFLICT (name) DO UPDATE SET last_index = last_index + ?2 RETURNING id, last_index
"""


class SqliteWriter:
    """Applies batches on one connection; every method runs in the thread that opened it."""

    def __init__(self, connection: sqlite3.Connection, path: Path, namespace: str) -> None:
        self._connection = connection
        self._path = path
        self._namespace = namespace

    def take_epoch(self) -> int:
        """Write and return the next epoch."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute("UPDATE meta SET value = value + 1 WHERE name = 'epoch'")
            epoch = self._read_meta("epoch")
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            raise explain(self._path, error) from error
        return epoch

    def apply(self, batch: Sequence[Prepared]) -> list[ZejzlError | None]:
        """Apply each commit or refuse it, then make all of them durable together.

        Raises:
            StoreUnavailable: the disk refused; the whole batch is rolled back.
            StoreError: the file is damaged.
        """
        outcomes: list[ZejzlError | None] = []
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            epoch, commits = self._read_meta("epoch"), self._read_meta("commits")
            for prepared in batch:
                self._connection.execute("SAVEPOINT one_commit")
                try:
                    commits += self._apply_one(prepared, epoch, commits)
                    outcomes.append(None)
                except (StaleEpoch, VersionConflict) as refusal:
                    self._connection.execute("ROLLBACK TO one_commit")
                    outcomes.append(refusal)
                self._connection.execute("RELEASE one_commit")
            self._connection.execute("UPDATE meta SET value = ? WHERE name = 'commits'", (commits,))
            self._connection.execute(
                "DELETE FROM commit_ids WHERE commit_number <= ?", (commits - COMMIT_WINDOW,)
            )
            self._connection.execute(_FORGET_EXPIRED, (batch[-1].now_s, CLEANUP_PER_COMMIT * len(batch)))
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            raise explain(self._path, error) from error
        return outcomes

    def close(self) -> None:
        """Fold the write-ahead log into the file and close it."""
        self._connection.close()

    def _apply_one(self, prepared: Prepared, epoch: int, commits: int) -> int:
        """Apply one commit; return by how much the count of commits grows: 0 when it was applied before."""
        execute = self._connection.execute
        if prepared.commit_id:
            repeated = execute(
                "SELECT 1 FROM commit_ids WHERE commit_id = ? AND commit_number > ?",
                (prepared.commit_id, commits - COMMIT_WINDOW),
            ).fetchone()
            if repeated:
                return 0
        if prepared.epoch != epoch:
            raise StaleEpoch(
                f"{self._namespace}: epoch {prepared.epoch} is over, {epoch} is current.", "Stop this writer."
            )
        self._check_expectations(prepared)
        if prepared.commit_id:
            execute("INSERT OR REPLACE INTO commit_ids VALUES (?, ?)", (commits + 1, prepared.commit_id))
        now_s = prepared.now_s
        if prepared.plain:
            self._connection.executemany(
                _PUT_PLAIN, [(key, value, now_s) for key, value in prepared.plain.items()]
            )
        for key, write in prepared.special.items():
            execute(_PUT_SPECIAL, (key, write.puts, write.expires_at_s, write.value, write.is_reset, now_s))
        if prepared.deletes:
            self._connection.executemany(
                "DELETE FROM entries WHERE key = ?", [(key,) for key in prepared.deletes]
            )
        self._apply_to_logs(prepared)
        return 1

    def _check_expectations(self, prepared: Prepared) -> None:
        for key, expected in prepared.expect.items():
            row = self._connection.execute(
                "SELECT version FROM entries WHERE key = ? AND (expires_at_s IS NULL OR expires_at_s > ?)",
                (key, prepared.now_s),
            ).fetchone()
            found = row[0] if row else 0
            if found != expected:
                raise version_conflict(self._namespace, key, found, expected)

    def _apply_to_logs(self, prepared: Prepared) -> None:
        for op in prepared.log_ops:
            if isinstance(op, LogAppend):
                log_id, last = self._connection.execute(_ADD_TO_LOG, (op.log, len(op.values))).fetchone()
                first = last - len(op.values) + 1
                self._connection.executemany(
                    "INSERT INTO log_entries VALUES (?, ?, ?)",
                    [(log_id, index, value) for index, value in enumerate(op.values, first)],
                )
            else:
                self._connection.execute(
                    "DELETE FROM log_entries"
                    " WHERE log_id = (SELECT id FROM logs WHERE name = ?) AND entry_index <= ?",
                    (op.log, op.through),
                )

    def _read_meta(self, name: str) -> int:
        (value,) = self._connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return int(value)

    def _roll_back(self) -> None:
        # After a full disk or an I/O error SQLite has rolled back by itself and would refuse another
        # ROLLBACK.
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
