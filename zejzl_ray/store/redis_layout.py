"""Where a store's state lies in Redis, how one value is stored, and how a commit travels to the script.

Every key of a namespace carries the hash tag ``{zejzl:<namespace>}``: in Redis Cluster they all lie in one
slot, so one script may touch them together.
"""

import struct
from typing import Final, TypeAlias

from zejzl_ray.store.operations import CLEANUP_PER_COMMIT, COMMIT_WINDOW, LogAppend, Prepared
from zejzl_ray.store.protocol import Versioned

# version (unsigned, 8 bytes), expiry (double, 0 means none), then the value as it came
_HEADER = struct.Struct("<Qd")

_CLIENT_PREFIX: Final = "zejzl:"

Argument: TypeAlias = bytes | str | int | float


class Layout:
    """The names of a namespace's keys.

    Attributes:
        namespace: whose keys they are.
        meta: hash: epoch, owner, commits (their count), sender and attempt of the last one.
        values: hash: key -> header and value.
        index: sorted set of all keys with score 0, for ordered scans.
        expiry: sorted set: key -> expiry, for keys that have one.
        commit_ids: sorted set: commit id -> number of its commit, the last 1,024 commits only.
        logs: hash: log -> its last index. Each log is a stream of its own.
    """

    def __init__(self, namespace: str, part: str = "") -> None:
        self.namespace = namespace
        tag = f"{{zejzl:{namespace}}}{part and f':{part}'}"
        self.meta = f"{tag}:meta"
        self.values = f"{tag}:values"
        self.index = f"{tag}:index"
        self.expiry = f"{tag}:expiry"
        self.commit_ids = f"{tag}:commits"
        self.logs = f"{tag}:logs"
        self._log_prefix = f"{tag}:log:".encode()

    def beside(self, part: str) -> "Layout":
        """Return the names of a second set of the same keys, in the same slot."""
        return Layout(self.namespace, part)

    def stream(self, log: bytes) -> bytes:
        """Return the key of one log's stream."""
        return self._log_prefix + log

    def commit_arguments(self, prepared: Prepared, sender: str) -> list[Argument]:
        """Return the number of keys, the keys and the arguments that the commit script takes.

        The number of the attempt, which changes when a commit is sent again, belongs at ``attempt_position``.
        """
        streams = {op.log: None for op in prepared.log_ops}
        numbers = {log: number for number, log in enumerate(streams, 1)}
        keys: list[Argument] = [self.meta, self.values, self.index, self.expiry, self.commit_ids, self.logs]
        keys += [self.stream(log) for log in streams]
        arguments: list[Argument] = [
            prepared.epoch,
            prepared.commit_id,
            repr(prepared.now_s),
            COMMIT_WINDOW,
            CLEANUP_PER_COMMIT,
            len(prepared.expect),
            len(prepared.plain),
            len(prepared.special),
            len(prepared.deletes),
            len(prepared.log_ops),
            sender,
            0,
        ]
        for key, version in prepared.expect.items():
            arguments += (key, version)
        for key, value in prepared.plain.items():
            arguments += (key, value)
        for key, write in prepared.special.items():
            expiry = 0 if write.expires_at_s is None else repr(write.expires_at_s)
            arguments += (key, write.value, write.puts, int(write.is_reset), expiry)
        arguments += prepared.deletes
        for op in prepared.log_ops:
            if isinstance(op, LogAppend):
                arguments += (op.log, numbers[op.log], len(op.values), *op.values)
            else:
                arguments += (op.log, numbers[op.log], -1, op.through)
        return [len(keys), *keys, *arguments]


def attempt_position(arguments: list[Argument]) -> int:
    """Return where the number of the attempt stands in what ``commit_arguments`` returned."""
    return int(arguments[0]) + 12


def pack_header(version: int, expires_at_s: float) -> bytes:
    """Return what stands before a stored value; expiry 0 means none."""
    return _HEADER.pack(version, expires_at_s)


NEW_HEADER: Final = pack_header(1, 0.0)


def look(stored: bytes | None, now_s: float) -> tuple[int, bool]:
    """Return the version of a stored record, 0 when it is absent or expired, and whether it has an expiry."""
    if stored is None:
        return 0, False
    version, expires_at_s = _HEADER.unpack_from(stored)
    if expires_at_s and expires_at_s <= now_s:
        return 0, True
    return version, expires_at_s != 0


def open_record(stored: bytes) -> tuple[int, float | None, bytes]:
    """Return version, expiry and value of a stored record, whether its expiry has passed or not."""
    version, expires_at_s = _HEADER.unpack_from(stored)
    return version, expires_at_s or None, stored[_HEADER.size :]


def client_name(namespace: str) -> str:
    """Return what the connections of a store call themselves, so that Redis can list who has a namespace open."""
    return f"{_CLIENT_PREFIX}{namespace}"


def namespace_of_client(name: str) -> str:
    """Return the namespace that a connection of that name belongs to; empty: it is no store's."""
    return name.removeprefix(_CLIENT_PREFIX) if name.startswith(_CLIENT_PREFIX) else ""


def unpack(stored: bytes, now_s: float) -> Versioned | None:
    """Return the value in a stored record, or None when its expiry has passed."""
    version, expires_at_s = _HEADER.unpack_from(stored)
    if expires_at_s and expires_at_s <= now_s:
        return None
    return Versioned(stored[_HEADER.size :], version)
