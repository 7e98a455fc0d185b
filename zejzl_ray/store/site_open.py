"""From a URL to all namespaces behind it."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from zejzl_ray.errors import SettingsInvalid
from zejzl_ray.store.site import StoreSite
from zejzl_ray.store.site_sqlite import SqliteSite


async def open_site(url: str) -> StoreSite:
    """Open what the URL of a store names; no namespace is locked by it.

    Args:
        url: as ``open_store``, except ``memory://``, of which nothing is there to be read.

    Raises:
        SettingsInvalid: the URL cannot be used; it is not repeated.
        StoreUnavailable: nobody answers at the address.
    """
    try:
        scheme = urlsplit(url).scheme
    except ValueError:
        scheme = ""
    if scheme == "sqlite":
        directory = unquote(url.removeprefix("sqlite://"))
        if not directory.strip("/"):
            raise SettingsInvalid(
                "the store's address names no directory.", "Write it as sqlite:///var/lib/zejzl."
            )
        return SqliteSite(Path(directory))
    if scheme in ("redis", "rediss", "redis+sentinel"):
        # The Redis client takes a quarter of a second to import: only who uses it waits for that.
        from zejzl_ray.store.site_redis import RedisSite  # noqa: PLC0415 - as said above

        return await RedisSite.open(url)
    if scheme == "memory":
        raise SettingsInvalid(
            "the store `memory` ends with its process: there is nothing to back up or to restore into.",
            "Set ZEJZL_STORE_URL to sqlite or to a Redis.",
        )
    raise SettingsInvalid(
        f"the store's address has the scheme {scheme!r}.",
        "Use sqlite, redis://host:port/0, rediss:// or redis+sentinel://.",
    )
