"""One Redis of the cluster, asked about its role and told to change it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import redis
from pydantic import ValidationError
from redis.backoff import NoBackoff
from redis.retry import Retry

from zejzl_ray.cluster.head_record import KEY, HeadRecord
from zejzl_ray.cluster.redis_address import RedisAddress
from zejzl_ray.cluster.shared_store import service_store_url
from zejzl_ray.errors import ClusterError
from zejzl_ray.log import get_logger
from zejzl_ray.settings import Settings

log = get_logger("zejzl.roles")

LOOK_LIMIT_S: Final = 1.0
_SWITCH_LIMIT_S: Final = 10.0
_POLL_S: Final = 0.05
_PRIORITY: Final = 100  # Redis' own default
_CLAIM: Final = """
local known = redis.call('GET', KEYS[1])
if (known or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""


@dataclass(frozen=True, slots=True)
class Standing:
    """What one Redis says of itself.

    Attributes:
        primary: whose replica it is; None: it is a primary.
        is_linked: a replica that has its primary's state and hears from it.
        replicas: who follows it, as it sees them.
        record: the head of the newest term that it knows.
        is_promotable: whether Sentinel may make it the primary.
        heard_s_ago: a replica: how long ago its primary was heard last, whole seconds; None: not since it was started.
    """

    primary: RedisAddress | None
    is_linked: bool
    replicas: tuple[RedisAddress, ...]
    record: HeadRecord | None
    is_promotable: bool = True
    heard_s_ago: int | None = None


class RedisPeer:
    """A Redis at an address of the cluster; every call ends within seconds, connections are kept.

    Args:
        settings: of this machine: password and certificates are those of its store.
        address: where it listens, with TLS.
        limit_s: for connecting, and for each answer.
    """

    def __init__(self, settings: Settings, address: RedisAddress, *, limit_s: float = LOOK_LIMIT_S) -> None:
        self.address = address
        own = settings.model_copy(update={"store_url": f"rediss://{address}"})
        self._client: Any = redis.Redis.from_url(
            service_store_url(own).get_secret_value(),
            socket_timeout=limit_s,
            socket_connect_timeout=limit_s,
            retry=Retry(NoBackoff(), 0),
            decode_responses=True,
        )

    def look(self) -> Standing | None:
        """Return what it is; None when it does not answer, or names a head in words that this release cannot read."""
        try:
            told, record = self._client.info("replication"), _parsed(self._client.get(KEY))
        except (redis.RedisError, OSError):
            return None
        except ClusterError as error:
            log.error("the head is unknown", redis=str(self.address), reason=str(error))
            return None
        is_primary = told["role"] == "master"
        return Standing(
            primary=None
            if is_primary
            else RedisAddress(host=told["master_host"], port=int(told["master_port"])),
            is_linked=told.get("master_link_status") == "up",
            replicas=tuple(
                RedisAddress(host=found["ip"], port=int(found["port"]))
                for name, found in told.items()
                if name.startswith("slave") and isinstance(found, dict) and found.get("state") == "online"
            ),
            record=record,
            is_promotable=is_primary or int(told.get("slave_priority", _PRIORITY)) > 0,
            heard_s_ago=_heard_s_ago(told),
        )

    def follow(self, primary: RedisAddress) -> None:
        """Make it a replica: what it has and the other has not is dropped.

        Raises:
            ClusterError: it does not answer or refuses.
        """
        self._set_priority(0)
        self._do("become a replica", lambda: self._client.replicaof(primary.host, primary.port))

    def allow_promotion(self) -> None:
        """Let Sentinel make it the primary, since it has heard from its own.

        Raises:
            ClusterError: it does not answer or refuses.
        """
        self._set_priority(_PRIORITY)

    def promote(self) -> None:
        """Make it a primary with what it has.

        Raises:
            ClusterError: it does not answer or refuses.
        """
        self._do("become the primary", lambda: self._client.replicaof("NO", "ONE"))

    def hand_over(self, to: RedisAddress) -> None:
        """Swap roles with one of its replicas: writers wait until that has everything, and nothing is lost.

        Raises:
            ClusterError: it did not happen within 10 s, and then nothing has changed.
        """
        ms = int(_SWITCH_LIMIT_S * 1000)
        self._do(
            f"hand over to {to}",
            lambda: self._client.execute_command("FAILOVER", "TO", to.host, to.port, "TIMEOUT", ms),
        )
        deadline_s = time.monotonic() + _SWITCH_LIMIT_S + 1
        while time.monotonic() < deadline_s:
            told = self._do("say how far it is", lambda: self._client.info("replication"))
            if told.get("master_failover_state", "no-failover") == "no-failover":
                if told["role"] != "master":
                    return
                break
            time.sleep(_POLL_S)
        raise ClusterError(
            f"Redis at {self.address} did not hand over to {to}; nothing has changed.",
            "Is the replica there, and close behind? Look at both logs, then try again.",
        )

    def claim(self, record: HeadRecord, instead_of: HeadRecord | None) -> bool:
        """Write the record unless another one has come meanwhile; return whether it stands there.

        Raises:
            ClusterError: it does not answer, is a replica, or has a record that this release cannot read.
        """
        known = self._do("say who is the head", lambda: self._client.get(KEY))
        found = _parsed(known)
        if found == record:
            return True
        if found != instead_of:
            return False
        text = record.model_dump_json()
        done = self._do("take the record", lambda: self._client.eval(_CLAIM, 1, KEY, known or "", text))
        return bool(done)

    def close(self) -> None:
        """Close its connections; safe to repeat."""
        self._client.close()

    def _set_priority(self, priority: int) -> None:
        self._do("take a setting", lambda: self._client.config_set("replica-priority", priority))

    def _do(self, what: str, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except (redis.RedisError, OSError) as error:
            raise ClusterError(
                f"Redis at {self.address} did not {what} ({_said(error)}).", "Look at its log."
            ) from None


def _parsed(text: str | None) -> HeadRecord | None:
    """Return the record; what a newer release has added to it is ignored.

    Raises:
        ClusterError: it cannot be understood, so nobody may act as if there were none.
    """
    try:
        return HeadRecord.model_validate_json(text, extra="ignore") if text else None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise ClusterError(
            f"The record of the head in Redis cannot be understood ({first['msg']}).",
            "Another release has written it: use that one on all machines.",
        ) from None


def _said(error: Exception) -> str:
    """Return what an error says in one line; Redis names no secrets in its own."""
    return str(error).partition("\n")[0] if isinstance(error, redis.ResponseError) else type(error).__name__


def _heard_s_ago(told: Mapping[str, Any]) -> int | None:
    # the first stands there only while the link is down; both are -1 where there was none since the start
    found = int(told.get("master_link_down_since_seconds", told.get("master_last_io_seconds_ago", -1)))
    return found if found >= 0 else None
