"""Remove what a machine keeps of its cluster: state, logs and records; secrets and back-ups only when asked to."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import redis

from zejzl_ray.cluster.local_plan import cluster_id, ray_temp_dir
from zejzl_ray.cluster.node_processes import find_node_processes
from zejzl_ray.cluster.shared_store import service_store_url
from zejzl_ray.cluster.supervisor_record import read_supervisor_record
from zejzl_ray.contracts.base import Contract
from zejzl_ray.errors import ClusterError
from zejzl_ray.settings import Settings
from zejzl_ray.store.redis_connection import split_options

# By name, so that a data directory that is somebody's home loses nothing else. In this order: the record of what was
# intended tells a repeated purge where Redis is, so it goes after the rest of the state and before what Redis asks for.
_STATE: Final = (
    "store", "logs", "cluster.json", "node.json", "ray_start.log", "ray_start_*.log", "node.log", "services.log",
    "ingress_credential", "session", "cluster.lock", "homecoming.lock", "node.lock", "node_intent.json",
)  # fmt: skip
_SECRETS: Final = (
    "token", "ray_token", "redis_auth.conf", "redis_gcs_user.conf", "redis_role.conf",
    "security_key", "machine_credential", "backups", "tls", "redis_password",
)  # fmt: skip
_KEYS: Final = ("{zejzl:*", "zejzl:*", "RAYzejzl-*")
_LIMIT_S: Final = 10.0
_BATCH: Final = 500


class Purged(Contract):
    """What was removed from one machine."""

    paths: tuple[str, ...] = ()
    redis_keys: int | None = None


def require_stopped(data_dir: Path) -> None:
    """Check that nothing of the cluster runs here.

    Raises:
        ClusterError: something does.
    """
    record = read_supervisor_record(data_dir)
    if (record is not None and record.is_alive) or find_node_processes(cluster_id(data_dir)):
        raise ClusterError(
            "The cluster is up on this machine, so nothing was removed.",
            "Stop it first: `zejzl cluster down`; on one machine `zejzl down`.",
        )


def purge_redis(settings: Settings) -> int | None:
    """Remove all keys of the cluster from its Redis; None where it has none. Safe to repeat.

    Returns:
        How many there were.

    Raises:
        ClusterError: Redis does not answer, or refuses.
    """
    if urlsplit(settings.store_url).scheme not in ("redis", "rediss"):
        return None
    url, _ = split_options(service_store_url(settings).get_secret_value())
    found = 0
    try:
        with redis.Redis.from_url(url, socket_timeout=_LIMIT_S, socket_connect_timeout=_LIMIT_S) as client:
            if client.info("replication").get("role") == "slave":
                client.replicaof(
                    "NO", "ONE"
                )  # of another machine's, which was the head last and is purged too
            for pattern in _KEYS:
                for batch in _batches(client.scan_iter(match=pattern, count=_BATCH)):
                    found += int(client.unlink(*batch))
            if found and client.info("persistence").get("aof_enabled"):
                client.bgrewriteaof()  # otherwise the file on the disk still has it all
    except (redis.RedisError, OSError) as error:
        raise ClusterError(
            f"Redis did not let go of the cluster's state ({type(error).__name__}).",
            "Start Redis, and repeat; what is gone is gone, and nothing on this machine was removed yet.",
        ) from None
    return found


def purge_files(data_dir: Path, *, is_everything: bool) -> tuple[str, ...]:
    """Remove state, logs and records of the cluster from this machine; safe to repeat.

    Args:
        data_dir: where they lie.
        is_everything: secrets, certificates and back-ups too.

    Returns:
        What was removed.

    Raises:
        ClusterError: something could not be removed; the rest is as it was.
    """
    removed = []
    temporary = ray_temp_dir(cluster_id(data_dir)).parent
    for path in (temporary, *_found(data_dir, _STATE + (_SECRETS if is_everything else ()))):
        if path.is_symlink() or not path.exists():
            continue
        try:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        except OSError as error:
            raise ClusterError(f"Cannot remove {path}: {error.strerror}.") from None
        removed.append(str(path))
    return tuple(removed)


def _found(data_dir: Path, names: tuple[str, ...]) -> Iterator[Path]:
    for name in names:
        yield from sorted(data_dir.glob(name))


def _batches(keys: Any) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    for key in keys:
        batch.append(key)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
