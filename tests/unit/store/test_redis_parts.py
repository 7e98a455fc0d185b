"""Parts of the Redis store that need no server."""

import struct

import pytest
from redis.asyncio.sentinel import MasterNotFoundError
from redis.crc import key_slot
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ConnectionError,
    DataError,
    ReadOnlyError,
    ResponseError,
    TimeoutError,
)

from zejzl_ray.store import Append, Delete, Put, Trim, Versioned
from zejzl_ray.store.operations import prepare
from zejzl_ray.store.redis_connection import connect_redis, is_passing, say, split_options
from zejzl_ray.store.redis_durability import judge
from zejzl_ray.store.redis_layout import Layout, attempt_position, unpack


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectionError("gone"), True),
        (TimeoutError("slow"), True),
        (BusyLoadingError("loading"), True),
        (ReadOnlyError("replica"), True),
        (OSError("no route"), True),
        (ResponseError("ERR Error running script: -READONLY You can't write"), True),
        (AuthenticationError("wrong"), False),
        (ResponseError("OOM command not allowed"), False),
        (DataError("odd"), False),
    ],
)
def test_only_errors_that_pass_by_themselves_are_retried(error: Exception, expected: bool) -> None:
    assert is_passing(error) is expected


def test_an_errors_text_leaves_out_what_the_library_says_about_its_clients() -> None:
    assert (
        say(MasterNotFoundError("No master found for 'z' : Redis<password=x>")) == "No master found for 'z'"
    )
    assert say(ConnectionError("refused : here")) == "refused : here"
    assert say(TimeoutError()) == "TimeoutError"


async def test_the_address_shown_has_no_credentials() -> None:
    target = connect_redis("redis://user:pa55@host:6380/2", 5)
    assert target.address == "host:6380"
    assert target.client.connection_pool.connection_kwargs["password"] == "pa55"
    await target.close()


async def test_a_sentinel_address_carries_credentials_database_and_tls() -> None:
    url = (
        "redis+sentinel://me:pa%2F55@one:1,[::1]:2,three/primary/4"
        "?sentinel_password=guard&ssl=true&ssl_ca_certs=/ca.pem"
    )
    target = connect_redis(url, 5)
    assert target.address == "primary through Sentinel at one:1,[::1]:2,three"
    pool = target.client.connection_pool
    expected = {"username": "me", "password": "pa/55", "db": 4, "ssl_ca_certs": "/ca.pem"}
    assert expected.items() <= pool.connection_kwargs.items()
    sentinels = [s.connection_pool.connection_kwargs for s in pool.sentinel_manager.sentinels]  # type: ignore[attr-defined]  # SentinelConnectionPool
    assert [(s["host"], s["port"], s["password"]) for s in sentinels] == [
        ("one", 1, "guard"),
        ("::1", 2, "guard"),
        ("three", 26379, "guard"),
    ]
    await target.close()


def test_own_options_are_taken_out_of_the_address() -> None:
    url, options = split_options("rediss://h:1/0?ssl_ca_certs=%2Fa+b&replicas=2&timeout_s=9")
    assert url == "rediss://h:1/0?ssl_ca_certs=%2Fa+b"
    assert options == {"replicas": "2", "timeout_s": "9"}


def test_every_key_of_a_namespace_has_the_same_slot_and_another_namespace_other_keys() -> None:
    layout, other = Layout("core"), Layout("core2")
    names = [layout.meta, layout.values, layout.index, layout.expiry, layout.commit_ids, layout.logs]
    keys = [name.encode() for name in names] + [layout.stream(b"any"), layout.stream("{x}é".encode())]
    assert len({key_slot(key) for key in keys}) == 1
    assert len(set(keys)) == len(keys)
    assert not {other.meta.encode(), other.stream(b"any")} & set(keys)


def test_a_commit_travels_as_keys_and_arguments() -> None:
    layout = Layout("n")
    prepared = prepare(
        [
            Put("a", b"1"),
            Put("b", b"2", 9.5),
            Delete("c"),
            Append("l", b"x"),
            Append("l", b"y"),
            Trim("m", 3),
        ],
        epoch=7,
        expect={"e": 2},
        commit_id="id",
        now_s=1.5,
    )
    arguments = layout.commit_arguments(prepared, "me")
    assert arguments[0] == 8
    assert arguments[7:9] == [b"{zejzl:n}:log:l", b"{zejzl:n}:log:m"]
    assert arguments[9:21] == [7, "id", "1.5", 1024, 128, 1, 1, 1, 1, 2, "me", 0]
    assert attempt_position(arguments) == 20
    assert arguments[21:] == [
        *(b"e", 2),
        *(b"a", b"1"),
        *(b"b", b"2", 1, 0, "9.5"),
        b"c",
        *(b"l", 1, 2, b"x", b"y"),
        *(b"m", 2, -1, 3),
    ]


def test_a_stored_record_is_absent_from_its_expiry_on() -> None:
    record = struct.pack("<Qd", 3, 50.0) + b"value"
    assert unpack(record, 49.9) == Versioned(b"value", 3)
    assert unpack(record, 50.0) is None
    assert unpack(struct.pack("<Qd", 1, 0.0), 1e12) == Versioned(b"", 1)


@pytest.mark.parametrize(
    ("settings", "policy", "warned"),
    [
        ({"appendonly": "yes", "appendfsync": "always"}, "synced before each", []),
        ({"appendonly": "yes", "appendfsync": "everysec"}, "once a second", ["appendfsync"]),
        ({"appendonly": "yes", "appendfsync": "no"}, "operating system", ["appendfsync"]),
        ({"appendonly": "yes", "appendfsync": "new"}, "'new'", ["appendfsync"]),
        ({"appendonly": "no", "appendfsync": "always"}, "in memory", ["appendonly"]),
        (
            {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "allkeys-lru"},
            "synced before each",
            ["maxmemory-policy"],
        ),
    ],
)
def test_weak_settings_are_named(settings: dict[str, str], policy: str, warned: list[str]) -> None:
    described = judge("host:1", settings)
    assert policy in described.policy
    assert [warning.split()[0] for warning in described.warnings] == warned
