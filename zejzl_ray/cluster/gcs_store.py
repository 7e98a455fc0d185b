"""Where Ray's control store keeps its state, so that its death is not the cluster's: the Redis of the services.

Ray hands its Redis password to its processes on their command lines, where everybody on the machine reads it. So it
gets a user of its own without one, which reaches nothing but Ray's own keys. Whoever connects proves with a
certificate of the cluster that it is one of its machines; without TLS this is not offered.
"""

from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import redis

from zejzl_ray.cluster.node_start import GCS_ANY_TEXT, GCS_USER
from zejzl_ray.cluster.private_file import write_private_file
from zejzl_ray.cluster.redis_address import parse_redis_address
from zejzl_ray.cluster.shared_store import service_store_url
from zejzl_ray.errors import ClusterError
from zejzl_ray.settings import Settings
from zejzl_ray.store.redis_connection import split_options

GCS_USER_FILE: Final = "redis_gcs_user.conf"
KEY_PREFIX: Final = "RAY"
_LIMIT_S: Final = 5.0
# What Ray 2.60 sends, tried; `del` is for one key named DUMMY, by which it finds out about Redis Cluster.
_COMMANDS: Final = "+ping +info +del +unlink +hset +hsetnx +hget +hmget +hdel +hexists +hscan +incrby"


def gcs_redis_address(settings: Settings) -> str | None:
    """Return the address of the Redis that can keep the control store's state, ``rediss://host:port``.

    None where the services' store is no single Redis with TLS: the state is then in the process and dies with it.
    """
    parts = urlsplit(settings.resolved_store_url())
    if parts.scheme != "rediss" or parts.hostname is None:
        return None
    return f"rediss://{parse_redis_address(settings.resolved_store_url())}"


def ensure_gcs_user(data_dir: Path) -> Path:
    """Write the lines for Redis' configuration that make Ray's user; safe to repeat.

    They belong into a Redis that asks for certificates, since the user has no password.

    Returns:
        The file, mode 0600.

    Raises:
        ClusterError: it cannot be written.
    """
    target = data_dir / GCS_USER_FILE
    text = f"user {GCS_USER} on nopass resetkeys ~{KEY_PREFIX}* ~DUMMY resetchannels -@all {_COMMANDS}\n"
    write_private_file(target, text)
    return target


def require_gcs_user(settings: Settings) -> None:
    """Check before a start that Redis answers and knows Ray's user; otherwise Ray dies without a word.

    Raises:
        ClusterError: it does not; says what to do.
    """
    url, _ = split_options(service_store_url(settings).get_secret_value())
    try:
        with redis.Redis.from_url(url, socket_timeout=_LIMIT_S, socket_connect_timeout=_LIMIT_S) as client:
            client.ping()
            client.execute_command("AUTH", GCS_USER, GCS_ANY_TEXT)
    except (redis.AuthenticationError, redis.ResponseError) as error:
        what = str(error).partition(" ")[0]
        raise ClusterError(
            f"Redis at {gcs_redis_address(settings)} does not let Ray in ({what}).",
            f"Run `zejzl node token`, let redis.conf include its {GCS_USER_FILE} as deploy/redis.conf does, and "
            "restart Redis.",
        ) from None
    except (redis.RedisError, OSError) as error:
        raise ClusterError(
            f"Redis at {gcs_redis_address(settings)} does not answer ({type(error).__name__}).",
            "Start it first, on the address that stands in ZEJZL_STORE_URL; docs/operations.md says how.",
        ) from None


def remove_old_state(settings: Settings, cluster_id: str, kept_namespace: str) -> int:
    """Remove what earlier starts of this cluster left in Redis; return how many keys; safe to repeat.

    Raises:
        ClusterError: Redis does not answer.
    """
    url, _ = split_options(service_store_url(settings).get_secret_value())
    kept = f"{KEY_PREFIX}{kept_namespace}@".encode()
    try:
        with redis.Redis.from_url(url, socket_timeout=_LIMIT_S, socket_connect_timeout=_LIMIT_S) as client:
            found = client.scan_iter(match=f"{KEY_PREFIX}{cluster_id}-*", count=1000)
            old = [key for key in found if not key.startswith(kept)]
            for key in old:
                client.unlink(key)
    except (redis.RedisError, OSError) as error:
        raise ClusterError(f"Redis did not let go of old state ({type(error).__name__}).") from None
    return len(old)
