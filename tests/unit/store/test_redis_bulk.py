"""What the transaction of a large commit is made of; that it means the same as the script is a contract test."""

import struct

from zejzl_ray.store import Append, Delete, Put, Trim
from zejzl_ray.store.operations import prepare
from zejzl_ray.store.redis_bulk import Found, is_bulk, writes_of
from zejzl_ray.store.redis_layout import Layout, look


def record(version: int, expires_at_s: float = 0.0) -> bytes:
    return struct.pack("<Qd", version, expires_at_s)


def test_a_commit_is_large_by_the_keys_that_it_writes() -> None:
    prepared = prepare(
        [Put("a", b""), Put("b", b"", 9.0), Delete("c"), Append("l", b"")],
        epoch=1,
        expect={"d": 1},
        commit_id="id",
        now_s=1.0,
    )
    assert is_bulk(prepared, 3)
    assert not is_bulk(prepared, 4)


def test_the_transaction_writes_keys_index_expiries_and_logs() -> None:
    prepared = prepare(
        [
            Put("new", b"n"),
            Put("old", b"o"),
            Put("lasting", b"x"),
            Put("leased", b"y", 20.0),
            Delete("gone"),
            Append("l", b"1"),
            Trim("l", 3),
            Append("l", b"2"),
        ],
        epoch=7,
        expect=None,
        commit_id="id",
        now_s=10.0,
    )
    found = Found(
        number=4,
        epoch=7,
        owner=b"",
        is_repeated=False,
        last={b"l": 5},
        records={
            b"new": None,
            b"old": record(2),
            b"lasting": record(6, 9.0),
            b"leased": record(1, 11.0),
            b"gone": record(1),
        },
        expired=[b"lasting", b"stale"],
    )
    layout = Layout("n")
    commands = writes_of(layout, prepared, found, ("me", 12))
    assert commands == [
        ("HSET", layout.meta, "commits", 5, "sender", "me", "attempt", 12),
        ("ZADD", layout.commit_ids, 5, "id"),
        ("ZREMRANGEBYSCORE", layout.commit_ids, "-inf", 5 - 1024),
        (
            "HSET",
            layout.values,
            *(b"new", record(1) + b"n"),
            *(b"old", record(3) + b"o"),
            *(b"lasting", record(1) + b"x"),
            *(b"leased", record(2, 20.0) + b"y"),
        ),
        ("ZADD", layout.index, b"0", b"new"),
        ("ZADD", layout.expiry, "20.0", b"leased"),
        ("HDEL", layout.values, b"gone", b"stale"),
        ("ZREM", layout.index, b"gone", b"stale"),
        ("ZREM", layout.expiry, b"lasting", b"gone", b"stale"),
        ("XADD", layout.stream(b"l"), "6-0", "v", b"1"),
        ("HSET", layout.logs, b"l", 6),
        ("XTRIM", layout.stream(b"l"), "MINID", "4-0"),
        ("XADD", layout.stream(b"l"), "7-0", "v", b"2"),
        ("HSET", layout.logs, b"l", 7),
    ]


def test_an_expired_record_counts_as_absent_but_is_still_there_to_be_cleaned_up() -> None:
    assert look(None, 5.0) == (0, False)
    assert look(record(3), 5.0) == (3, False)
    assert look(record(3, 6.0), 5.0) == (3, True)
    assert look(record(3, 5.0), 5.0) == (0, True)
