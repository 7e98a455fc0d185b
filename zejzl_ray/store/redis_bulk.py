"""A commit of very many keys, as an optimistic transaction instead of a script.

Every argument of a script becomes a Lua string, and Lua looks for an equal one by a hash over some 32 bytes of
it. Records of one fleet differ in few of their bytes, so thousands of them in one script fall under few hashes
and each is compared with many others: 10,000 records of 500 bytes kept Redis busy for 200 to 400 ms. Here the
values pass by Lua, and it takes 15 to 40 ms. What the script checks is read and checked by the client, and
``WATCH`` on ``:meta``, which every commit and every ``take_epoch`` writes, makes Redis refuse the writes when
anything came in between.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from zejzl_ray.store.operations import CLEANUP_PER_COMMIT, COMMIT_WINDOW, LogAppend, Prepared
from zejzl_ray.store.redis_layout import NEW_HEADER, Argument, Layout, look, pack_header

# From about this many keys on the second round trip costs less than the script.
BULK_KEYS: Final = 1000

Command = tuple[Argument, ...]
Reply = list[Any]
_DONE: Final[Reply] = [b"OK"]


@dataclass(frozen=True, slots=True)
class Found:
    """What the store held when the transaction began.

    Attributes:
        number: of the last commit.
        epoch: the current one.
        owner: who took it.
        is_repeated: the commit id was applied before.
        last: log -> its last index, for the logs of the commit.
        records: key -> stored record, for all keys that the commit writes or expects; None: there is none.
        expired: some keys whose expiry has passed.
    """

    number: int
    epoch: int
    owner: bytes
    is_repeated: bool
    last: dict[bytes, int]
    records: dict[bytes, bytes | None]
    expired: Sequence[bytes]


def is_bulk(prepared: Prepared, bulk_keys: int) -> bool:
    """Tell whether a commit writes so many keys that it goes as a transaction."""
    return len(prepared.plain) + len(prepared.special) + len(prepared.deletes) >= bulk_keys


async def transact(
    pool: ConnectionPool, layout: Layout, prepared: Prepared, stamp: tuple[str, int], wait: tuple[int, int]
) -> tuple[Reply, int]:
    """Apply one commit, all or nothing.

    Args:
        pool: where the connection comes from.
        layout: the names of the keys.
        prepared: the commit; its id is not empty.
        stamp: sender and number of the attempt.
        wait: replicas that must have it, and for how long to wait for them, ms; no replicas: no waiting.

    Returns:
        What the commit script would have answered, and how many replicas have it.

    Raises:
        RedisConnectionError: the connection was lost, or another commit came in between; it may be applied.
        RedisError: the server refused; nothing was applied.
    """
    async with _connection(pool) as connection:
        replies = await _exchange(connection, [("WATCH", layout.meta), *_reads(layout, prepared)])
        found = _found(prepared, replies[1:])
        refusal = _check(prepared, found)
        if refusal is not None:
            await _exchange(connection, [("UNWATCH",)])
        else:
            writes = writes_of(layout, prepared, found, stamp)
            applied = (await _exchange(connection, [("MULTI",), *writes, ("EXEC",)]))[-1]
            if applied is None:
                raise RedisConnectionError("another commit came in between")
            _raise_first(applied)
        if not wait[0]:
            return refusal or _DONE, 0
        (has_it,) = await _exchange(connection, [("WAIT", *wait)])
        return refusal or _DONE, int(has_it)


def _reads(layout: Layout, prepared: Prepared) -> list[Command]:
    """Return the commands whose replies ``_found`` takes."""
    # HMGET wants one field at least; nothing is stored under an empty one.
    logs = dict.fromkeys(op.log for op in prepared.log_ops) or (b"",)
    keys = _keys(prepared) or (b"",)
    return [
        ("HMGET", layout.meta, "epoch", "owner", "commits"),
        ("ZSCORE", layout.commit_ids, prepared.commit_id),
        ("HMGET", layout.logs, *logs),
        ("HMGET", layout.values, *keys),
        ("ZRANGEBYSCORE", layout.expiry, "-inf", repr(prepared.now_s), "LIMIT", 0, CLEANUP_PER_COMMIT),
    ]


def _keys(prepared: Prepared) -> list[bytes]:
    return [*prepared.plain, *prepared.special, *prepared.deletes, *prepared.expect]


def _found(prepared: Prepared, replies: Sequence[Any]) -> Found:
    (epoch, owner, number), score, indexes, stored, expired = replies
    logs = dict.fromkeys(op.log for op in prepared.log_ops)
    return Found(
        number=int(number or 0),
        epoch=int(epoch or 0),
        owner=owner or b"",
        is_repeated=score is not None,
        last={log: int(index or 0) for log, index in zip(logs, indexes, strict=False)},
        records=dict(zip(_keys(prepared), stored, strict=False)),
        expired=expired,
    )


def _check(prepared: Prepared, found: Found) -> Reply | None:
    """Return the answer of a commit that writes nothing; None: it may go on."""
    if found.is_repeated:
        return _DONE
    if found.epoch != prepared.epoch:
        return [b"EPOCH", found.epoch, found.owner]
    for key, expected in prepared.expect.items():
        version, _ = look(found.records[key], prepared.now_s)
        if version != expected:
            return [b"VERSION", key, version, expected]
    return None


def writes_of(layout: Layout, prepared: Prepared, found: Found, stamp: tuple[str, int]) -> list[Command]:
    """Return the commands of the transaction; none of them can fail on what the store writes itself."""
    number = found.number + 1
    meta = ("commits", number, "sender", stamp[0], "attempt", stamp[1])
    commands: list[Command] = [
        ("HSET", layout.meta, *meta),
        ("ZADD", layout.commit_ids, number, prepared.commit_id),
        ("ZREMRANGEBYSCORE", layout.commit_ids, "-inf", number - COMMIT_WINDOW),
    ]
    fields: list[Argument] = []
    added: list[Argument] = []
    expiring: list[Argument] = []
    unexpiring: list[Argument] = []
    records, now_s = found.records, prepared.now_s
    for key, value in prepared.plain.items():
        stored = records[key]
        if stored is None:
            fields += (key, NEW_HEADER + value)
            added += (b"0", key)
            continue
        version, has_expiry = look(stored, now_s)
        fields += (key, pack_header(version + 1, 0.0) + value)
        if has_expiry:
            unexpiring.append(key)
    for key, write in prepared.special.items():
        stored = records[key]
        version, has_expiry = look(stored, now_s)
        expires_at_s = write.expires_at_s or 0.0
        version = write.puts if write.is_reset else version + write.puts
        fields += (key, pack_header(version, expires_at_s) + write.value)
        if stored is None:
            added += (b"0", key)
        if expires_at_s:
            expiring += (repr(expires_at_s), key)
        elif has_expiry:
            unexpiring.append(key)
    written = prepared.plain.keys() | prepared.special.keys() | prepared.deletes.keys()
    gone = [*prepared.deletes, *(key for key in found.expired if key not in written)]
    several = (
        ("HSET", layout.values, fields),
        ("ZADD", layout.index, added),
        ("ZADD", layout.expiry, expiring),
        ("HDEL", layout.values, gone),
        ("ZREM", layout.index, gone),
        ("ZREM", layout.expiry, unexpiring + gone),
    )
    commands += [(name, target, *members) for name, target, members in several if members]
    return commands + _log_writes(layout, prepared, found)


def _log_writes(layout: Layout, prepared: Prepared, found: Found) -> list[Command]:
    commands: list[Command] = []
    last = dict(found.last)
    for op in prepared.log_ops:
        stream = layout.stream(op.log)
        if isinstance(op, LogAppend):
            for index, value in enumerate(op.values, last[op.log] + 1):
                commands.append(("XADD", stream, f"{index}-0", "v", value))
            last[op.log] += len(op.values)
            commands.append(("HSET", layout.logs, op.log, last[op.log]))
        else:
            commands.append(("XTRIM", stream, "MINID", f"{op.through + 1}-0"))
    return commands


@asynccontextmanager
async def _connection(pool: ConnectionPool) -> AsyncIterator[AbstractConnection]:
    """Lend a connection; one on which anything went wrong is closed, and with it its ``WATCH``.

    The client's own pipeline would do, but it puts the start of a refused command, and so of a value, into the
    text of the error, and it hands the connection back before ``WAIT`` can be asked on it.
    """
    connection = await pool.get_connection()  # type: ignore[no-untyped-call]  # redis-py's decorator has none
    try:
        yield connection
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    finally:
        await pool.release(connection)


async def _exchange(connection: AbstractConnection, commands: Sequence[Command]) -> list[Any]:
    """Send commands in one go and return their replies; raises the first refusal when all were read."""
    await connection.send_packed_command(connection.pack_commands(commands))
    replies: list[Any] = []
    for _ in commands:
        try:
            replies.append(await connection.read_response())
        except ResponseError as error:
            replies.append(error)
    _raise_first(replies)
    return replies


def _raise_first(replies: Sequence[Any]) -> None:
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
