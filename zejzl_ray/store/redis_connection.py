"""How a Redis client is made from a URL, and which of its errors pass by themselves.

``redis://`` and ``rediss://`` (TLS) name one server, ``redis+sentinel://`` names Sentinels and the primary
they watch. Passwords stay inside the client: what is shown is ``RedisTarget.address``.
"""

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from zejzl_ray.errors import SettingsInvalid

MAX_CONNECTIONS = 16
CONNECT_TIMEOUT_S = 3.0
SCHEMES = ("redis", "rediss", "redis+sentinel")
_URL_REMEDY = "Write it as redis://host:6380/0 or redis+sentinel://host:26379,host:26379/primary_name/0."
_HANDED_OVER = ("READONLY", "UNBLOCKED", "WAIT cannot be used")
OWN_OPTIONS = ("replicas", "when_away", "sentinels", "timeout_s")


@dataclass(frozen=True, slots=True)
class RedisTarget:
    """A client and what may be said about where it goes.

    Attributes:
        client: not connected yet; it answers in bytes and does not retry by itself.
        address: host and port, without user and password.
        close: closes the client and whatever else was opened to find the server.
    """

    client: Redis
    address: str
    close: Callable[[], Awaitable[None]]


ConnectRedis = Callable[[str, float], RedisTarget]


def connect_redis(url: str, timeout_s: float) -> RedisTarget:
    """Return a client for the URL; no connection is made yet.

    Args:
        url: one of the three kinds.
        timeout_s: the longest wait for an answer on an open connection.

    Raises:
        SettingsInvalid: the URL cannot be understood; its text is not repeated, it may hold a password.
    """
    # The store repeats what may be repeated, within its own time limit; a second retry below it would
    # multiply.
    options: dict[str, Any] = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": min(CONNECT_TIMEOUT_S, timeout_s),
        "socket_keepalive": True,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "decode_responses": False,
    }
    try:
        parts = urlsplit(url)
        if parts.scheme == "redis+sentinel":
            return _connect_sentinel(url, options)
        # The library would go to localhost and database 0 for these, which may be somebody else's.
        if not parts.hostname or not (parts.path.strip("/") or "0").isdecimal():
            raise ValueError
        pool = BlockingConnectionPool.from_url(
            url, max_connections=MAX_CONNECTIONS, timeout=timeout_s, **options
        )
        address = (
            f"{pool.connection_kwargs.get('host', 'localhost')}:{pool.connection_kwargs.get('port', 6379)}"
        )
        client = Redis.from_pool(pool)
        return RedisTarget(client, address, client.aclose)
    except ValueError:
        raise SettingsInvalid("the Redis address is not a valid URL.", _URL_REMEDY) from None


def name_connections(target: RedisTarget, name: str) -> None:
    """Let each connection of a client tell Redis a name, which it lists; where that is forbidden it has none."""

    async def introduce(connection: AbstractConnection) -> None:
        await connection.on_connect()
        await connection.send_command("CLIENT", "SETNAME", name)
        with contextlib.suppress(ResponseError):
            await connection.read_response()

    target.client.connection_pool.connection_kwargs["redis_connect_func"] = introduce


def split_options(url: str) -> tuple[str, dict[str, str]]:
    """Take this project's own query options, those of ``OWN_OPTIONS``, out of a URL."""
    parts = urlsplit(url)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    own = {name: value for name, value in pairs if name in OWN_OPTIONS}
    rest = urlencode([(name, value) for name, value in pairs if name not in own])
    return urlunsplit(parts._replace(query=rest)), own


def is_passing(error: Exception) -> bool:
    """Tell whether the same command may succeed a moment later: lost connections, restarts, a failover."""
    if isinstance(error, AuthenticationError | AuthorizationError):
        return False
    if isinstance(
        error,
        RedisConnectionError
        | RedisTimeoutError
        | BusyLoadingError
        | ReadOnlyError
        | MasterDownError
        | ClusterDownError
        | OSError,
    ):
        return True
    # Redis 6 reports what a command inside a script met as a plain error with the original text in it; a primary that
    # hands over says the others to whoever waits for its replicas.
    return isinstance(error, ResponseError) and any(text in str(error) for text in _HANDED_OVER)


def say(error: Exception) -> str:
    """Return an error's text without what redis-py adds about its clients, and with the code that it drops."""
    text = str(error).rstrip(".") or type(error).__name__
    if isinstance(error, OutOfMemoryError):
        return f"OOM {text}"
    return text.partition(" : ")[0] if isinstance(error, MasterNotFoundError) else text


# What the retry must look at; ``is_passing`` then decides.
RETRIED: tuple[type[RedisError], ...] = (RedisError, cast(type[RedisError], OSError))


def _connect_sentinel(url: str, options: dict[str, Any]) -> RedisTarget:
    parts = urlsplit(url)
    credentials, _, hosts = parts.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    primary, _, database = parts.path.strip("/").partition("/")
    if not hosts or not primary:
        raise ValueError
    options |= {"db": int(database or 0), "max_connections": MAX_CONNECTIONS}
    if user:
        options["username"] = unquote(user)
    if password:
        options["password"] = unquote(password)
    query = dict(parse_qsl(parts.query))
    sentinel_options = {name: options[name] for name in options if name.startswith("socket_")}
    sentinel_options |= {"retry": options["retry"], "protocol": 2}
    if "sentinel_password" in query:
        sentinel_options["password"] = query["sentinel_password"]
    if query.get("ssl") == "true":
        tls = {"ssl": True} | {name: value for name, value in query.items() if name.startswith("ssl_")}
        options |= tls
        sentinel_options |= tls
    sentinel = Sentinel(  # type: ignore[no-untyped-call]  # redis-py has no types here
        [_host_port(host) for host in hosts.split(",")], sentinel_kwargs=sentinel_options, **options
    )
    client: Redis = sentinel.master_for(primary)

    async def close() -> None:
        await client.aclose()
        await sentinel.aclose()

    return RedisTarget(client, f"{primary} through Sentinel at {hosts}", close)


def _host_port(text: str) -> tuple[str, int]:
    parts = SplitResult("", text, "", "", "")
    if not parts.hostname:
        raise ValueError
    return parts.hostname, parts.port or 26379
