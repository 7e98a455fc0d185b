"""A copy of what an old head's Redis holds, made before it becomes a replica and drops it."""

import asyncio
from pathlib import Path
from typing import Final

from zejzl_ray.clock import SystemClock
from zejzl_ray.cluster.redis_address import RedisAddress
from zejzl_ray.cluster.shared_store import service_store_url
from zejzl_ray.errors import NotFound, ZejzlError
from zejzl_ray.log import get_logger
from zejzl_ray.settings import Settings

_LIMIT_S: Final = 60.0
_KEPT: Final = 5

log = get_logger("zejzl.roles")


def keep_dropped_state(settings: Settings, own: RedisAddress) -> None:
    """Back up everything in this machine's Redis and say where; the newest five such copies stay.

    Where that fails it is said too, and no more: the cluster has another head, and needs this replica. Ends within
    about a minute.

    Args:
        settings: of this machine.
        own: its Redis.
    """
    try:
        path, counts = asyncio.run(asyncio.wait_for(_back_up(settings, own), _LIMIT_S))
    except NotFound:
        return  # nothing is there to be dropped
    except (ZejzlError, OSError, TimeoutError) as error:
        log.error("what this machine's Redis has is dropped without a copy", reason=str(error) or "too slow")
        return
    log.warning("what this machine's Redis has is dropped; a copy is kept", copy=str(path), **counts)


async def _back_up(settings: Settings, own: RedisAddress) -> tuple[Path, dict[str, int]]:
    # Few supervisors ever need them, and they are large.
    from zejzl_ray.backup.create import create_backup  # noqa: PLC0415
    from zejzl_ray.backup.shelf import drop_old, make_shelf, new_path  # noqa: PLC0415
    from zejzl_ray.store.site_open import open_site  # noqa: PLC0415

    clock = SystemClock()
    shelf = settings.data_path / "backups"
    make_shelf(shelf)
    path = new_path(shelf, clock.now_s(), before="replica")
    url = service_store_url(settings.model_copy(update={"store_url": f"rediss://{own}"}))
    site = await open_site(url.get_secret_value())
    try:
        manifest = await create_backup(site, path, clock=clock)
    finally:
        await site.close()
    drop_old(shelf, _KEPT, before="replica")
    return path, {
        "namespaces": len(manifest.namespaces),
        "keys": sum(each.entries for each in manifest.namespaces),
        "log_entries": sum(each.log_entries for each in manifest.namespaces),
    }
