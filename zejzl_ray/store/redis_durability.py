"""What a Redis server's configuration means for acknowledged commits."""

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from zejzl_ray.store.durability import Durability
from zejzl_ray.store.redis_copies import Copies

_FSYNC = {
    "always": "synced before each acknowledgement (appendfsync always)",
    "everysec": "synced once a second (appendfsync everysec)",
    "no": "synced when the operating system likes (appendfsync no)",
}


async def describe_durability(client: Redis, address: str, copies: Copies) -> Durability:
    """Ask the server for its settings and judge them; a server that forbids CONFIG gives one warning."""
    promise, weak = copies.describe()
    try:
        settings = {
            name.decode() if isinstance(name, bytes) else str(name): value.decode()
            if isinstance(value, bytes)
            else str(value)
            for pattern in ("appendonly", "appendfsync", "maxmemory-policy")
            for name, value in (await client.config_get(pattern)).items()
        }
    except ResponseError:
        return Durability(
            f"redis {address}: not known{promise}", ("the server does not let this user read CONFIG", *weak)
        )
    judged = judge(address, settings, promise)
    return Durability(judged.policy, (*judged.warnings, *weak))


def judge(address: str, settings: dict[str, str], copies: str = "") -> Durability:
    """Return the policy and its weak points for what CONFIG GET said."""
    warnings: list[str] = []
    fsync = settings.get("appendfsync", "")
    if settings.get("appendonly") != "yes":
        policy = "in memory, with snapshots at most"
        warnings.append(
            "appendonly is off: a restart of Redis loses acknowledged commits; set 'appendonly yes'"
        )
    else:
        policy = _FSYNC.get(fsync, f"appendfsync {fsync!r}")
        if fsync != "always":
            warnings.append(
                f"appendfsync is {fsync}: a power failure loses the last commits; 'always' loses none"
            )
    eviction = settings.get("maxmemory-policy", "noeviction")
    if eviction != "noeviction":
        warnings.append(f"maxmemory-policy is {eviction}: Redis may throw state away; set 'noeviction'")
    return Durability(f"redis {address}: {policy}{copies}", tuple(warnings))
