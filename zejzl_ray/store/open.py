"""From a URL to a store."""

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

from zejzl_ray.clock import Clock
from zejzl_ray.errors import SettingsInvalid
from zejzl_ray.store.memory import MemoryStore
from zejzl_ray.store.operations import check_namespace
from zejzl_ray.store.protocol import Store
from zejzl_ray.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from zejzl_ray.store.redis_copies import Lonely
    from zejzl_ray.store.redis_witness import Address

MAX_TIMEOUT_S = 3600.0
MAX_REPLICAS = 16


async def open_store(
    url: str, namespace: str, *, clock: Clock, owner: str, redis_timeout_s: float | None = None
) -> Store:
    """Open the store that the URL names; there is no falling back from one to another.

    Args:
        url: ``sqlite:///absolute/directory`` (``sqlite://relative/directory``), ``redis://``, ``rediss://``
            or ``redis+sentinel://`` with ``?replicas=1``, ``?when_away=acknowledge`` and ``?timeout_s=5`` as options of
            its own (``redis://`` and ``rediss://`` also ``?when_away=witness&sentinels=host,host,host``), or
            ``memory://``, which forgets everything with the process and is for tests and trying things out.
        namespace: the service's name; each has its own file or key prefix.
        clock: what expiry is measured by.
        redis_timeout_s: longest wait of each call to Redis, where the URL says nothing of it; 5 when left out.
        owner: who opens it, such as ``resource_manager on pc2``; shown to whoever is refused because of it.

    Raises:
        SettingsInvalid: the URL or namespace cannot be used. The URL is not repeated: it may hold a password.
        StoreLocked: another process has the SQLite store open.
        StoreUnavailable: nobody answers at the address.
        StoreError: what is there is no store of this version.
    """
    check_namespace(namespace)
    try:
        scheme = urlsplit(url).scheme
    except ValueError:
        scheme = ""
    match scheme:
        case "memory":
            return MemoryStore(clock=clock, name=f"{namespace} in memory")
        case "sqlite":
            return await _open_sqlite(url, namespace, clock, owner)
        case "redis" | "rediss" | "redis+sentinel":
            return await _open_redis(url, namespace, clock, owner, redis_timeout_s)
        case _:
            raise _unknown(scheme)


async def _open_sqlite(url: str, namespace: str, clock: Clock, owner: str) -> Store:
    directory = unquote(url.removeprefix("sqlite://"))
    if not directory.strip("/"):
        raise _no_directory()
    return await SqliteStore.open(Path(directory), namespace, clock=clock, owner=owner)


def check_store_url(url: str) -> int:
    """Refuse a URL that :func:`open_store` would refuse by its text alone; connects to nothing.

    Returns:
        How many replicas a commit waits for.

    Raises:
        SettingsInvalid: it cannot be used. The URL is not repeated: it may hold a password.
    """
    try:
        scheme = urlsplit(url).scheme
    except ValueError:
        scheme = ""
    if scheme in ("redis", "rediss", "redis+sentinel"):
        from zejzl_ray.store.redis_connection import OWN_OPTIONS, connect_redis  # noqa: PLC0415 - as said below

        options = _redis_options(url)
        for name in parse_qs(urlsplit(options.target).query, keep_blank_values=True):
            if near := get_close_matches(name, OWN_OPTIONS, n=1, cutoff=0.8):
                raise SettingsInvalid(
                    f"{name} in the store's address is no option.", f"Did you mean {near[0]}?"
                )
        connect_redis(options.target, 1.0)
        return options.replicas
    if scheme not in ("memory", "sqlite"):
        raise _unknown(scheme)
    if scheme == "sqlite" and not unquote(url.removeprefix("sqlite://")).strip("/"):
        raise _no_directory()
    return 0


async def _open_redis(
    url: str, namespace: str, clock: Clock, owner: str, redis_timeout_s: float | None
) -> Store:
    from zejzl_ray.store.redis import RedisStore  # noqa: PLC0415 - as said below

    options = _redis_options(url, redis_timeout_s)
    return await RedisStore.open(
        options.target,
        namespace,
        clock=clock,
        owner=owner,
        timeout_s=options.timeout_s,
        replicas=options.replicas,
        when_away=options.when_away,
        sentinels=options.sentinels,
    )


@dataclass(frozen=True, slots=True)
class _RedisOptions:
    """A URL without this project's own options, and those."""

    target: str
    timeout_s: float
    replicas: int
    when_away: "Lonely"
    sentinels: "tuple[Address, ...]"


def _redis_options(url: str, otherwise_s: float | None = None) -> _RedisOptions:
    # The Redis client takes a quarter of a second to import: only who uses it waits for that.
    from zejzl_ray.store.redis import DEFAULT_TIMEOUT_S  # noqa: PLC0415 - as said above
    from zejzl_ray.store.redis_connection import split_options  # noqa: PLC0415 - as said above
    from zejzl_ray.store.redis_copies import Lonely  # noqa: PLC0415 - as said above
    from zejzl_ray.store.redis_witness import parse_sentinels  # noqa: PLC0415 - as said above

    target, options = split_options(url)
    try:
        timeout_s = float(options.get("timeout_s", otherwise_s or DEFAULT_TIMEOUT_S))
        replicas = int(options.get("replicas", 0))
        when_away = Lonely(options.get("when_away", Lonely.REFUSE))
        sentinels = parse_sentinels(options["sentinels"]) if "sentinels" in options else ()
    except ValueError:
        timeout_s, replicas, when_away, sentinels = 0.0, 0, Lonely.REFUSE, ()
    if not (0 < timeout_s <= MAX_TIMEOUT_S and 0 <= replicas <= MAX_REPLICAS):
        raise SettingsInvalid(
            "timeout_s, replicas, when_away or sentinels in the store's address has no usable value.",
            f"timeout_s: above 0, up to {MAX_TIMEOUT_S:g}; replicas: 0 to {MAX_REPLICAS}; when_away: "
            f"{' or '.join(Lonely)}; sentinels: host:port of each, with commas.",
        )
    if when_away is Lonely.WITNESS and (target.startswith("redis+") or len(sentinels) < 3):
        raise SettingsInvalid(
            "when_away=witness needs a store's address that names the primary, and all Sentinels, three or more.",
            "Write it as rediss://192.168.1.10:6380?replicas=1&when_away=witness"
            "&sentinels=192.168.1.10,192.168.1.11,192.168.1.12",
        )
    return _RedisOptions(target, timeout_s, replicas, when_away, sentinels)


def _unknown(scheme: str) -> SettingsInvalid:
    return SettingsInvalid(
        f"the store's address has the scheme {scheme!r}.",
        "Use sqlite:///directory, redis://host:port/0, rediss://, redis+sentinel:// or, for tests, memory://.",
    )


def _no_directory() -> SettingsInvalid:
    return SettingsInvalid("the store's address names no directory.", "Write it as sqlite:///var/lib/zejzl.")
