"""The mark that a cluster was stopped on purpose, where machines find it that its head could not tell: in its Redis.

The head's supervisor sets it when somebody has asked Ray to stop, and the next intended start removes it. A worker
whose head is gone looks for it: with the mark it leaves too, without it waits for the head's return.
"""

import time
from collections.abc import Callable
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import redis
from pydantic import Field, ValidationError
from redis.backoff import NoBackoff
from redis.retry import Retry

from zejzl_ray.cluster.node_intent import read_intent
from zejzl_ray.cluster.node_start import NodeRole, NodeStart
from zejzl_ray.cluster.redis_address import REDIS_PORT
from zejzl_ray.cluster.shared_store import service_store_url
from zejzl_ray.cluster.supervisor_record import read_supervisor_record
from zejzl_ray.contracts.base import Contract
from zejzl_ray.errors import ZejzlError
from zejzl_ray.log import get_logger
from zejzl_ray.settings import Settings
from zejzl_ray.store.redis_connection import split_options
from zejzl_ray.tls.credentials import own_machine, tls_directory

KEY: Final = "zejzl:stopped"
_LIMIT_S: Final = 1.0

log = get_logger("zejzl.supervisor")


class StopRecord(Contract):
    """What the mark says."""

    machine: str = Field(description="the head that was asked to stop")
    at_s: float = Field(description="when, by its clock")


class StopMark(Protocol):
    """The mark, as a supervisor uses it; nothing here raises, and every call ends within about a second."""

    def is_set(self) -> bool:
        """Return whether the cluster was stopped on purpose; False when nobody says."""

    def set(self) -> bool:
        """Set it; return whether it stands now."""

    def clear(self) -> bool:
        """Remove it, since the cluster is wanted again; return whether it is gone."""


class NoMark:
    """Where the machines share no Redis: then the head tells its workers over ssh, or nobody does."""

    def is_set(self) -> bool:
        """Return False."""
        return False

    def set(self) -> bool:
        """Do nothing."""
        return False

    def clear(self) -> bool:
        """Do nothing."""
        return False


class RedisMark:
    """The mark in a Redis that all machines reach.

    Args:
        url: of the Redis, with password and certificates.
        machine: who sets it.
        wall_s: wall-clock seconds.
    """

    def __init__(self, url: str, machine: str, wall_s: Callable[[], float] = time.time) -> None:
        self._machine = machine
        self._wall_s = wall_s
        self._client: Any = redis.Redis.from_url(
            url, socket_timeout=_LIMIT_S, socket_connect_timeout=_LIMIT_S, retry=Retry(NoBackoff(), 0)
        )

    def is_set(self) -> bool:
        """See the protocol."""
        try:
            text = self._client.get(KEY)
            if text is None:
                return False
            mark = StopRecord.model_validate_json(text)
        except (redis.RedisError, OSError, ValidationError):
            return False
        log.info("the cluster was stopped on purpose", head=mark.machine, at_s=mark.at_s)
        return True

    def set(self) -> bool:
        """See the protocol."""
        text = StopRecord(machine=self._machine, at_s=self._wall_s()).model_dump_json()
        return self._told("set", lambda: self._client.set(KEY, text))

    def clear(self) -> bool:
        """See the protocol."""
        return self._told("removed", lambda: self._client.delete(KEY))

    def _told(self, what: str, call: Callable[[], object]) -> bool:
        try:
            call()
        except (redis.RedisError, OSError) as error:
            log.warning(f"the mark of a stop could not be {what}", reason=type(error).__name__)
            return False
        return True


def stop_mark(settings: Settings, node: NodeStart) -> StopMark:
    """Return the mark of a node's cluster; connects to nothing yet.

    It lies in the store of the services where that is one Redis. A worker need not be told of that store: then it is
    the Redis with TLS beside its head, on 6380.
    """
    own = settings
    scheme = urlsplit(settings.store_url).scheme
    if scheme not in ("redis", "rediss"):
        if node.role is NodeRole.HEAD or own_machine(tls_directory(settings.data_path)) is None:
            return NoMark()
        head = node.head_address.rpartition(":")[0]
        own = settings.model_copy(update={"store_url": f"rediss://{head}:{REDIS_PORT}"})
    try:
        url, _ = split_options(service_store_url(own).get_secret_value())
        return RedisMark(url, node.machine)
    except (ZejzlError, ValueError) as error:
        log.warning("there is no place for the mark of a stop", reason=type(error).__name__)
        return NoMark()


def mark_stop_of_orphan(settings: Settings) -> None:
    """Set the mark for a head whose supervisor is gone, and so cannot do it; nothing where there is no such head.

    Raises:
        ClusterError: what was started here cannot be read.
    """
    intent, record = read_intent(settings.data_path), read_supervisor_record(settings.data_path)
    if (
        intent is None
        or intent.plan.node.role is not NodeRole.HEAD
        or (record is not None and record.is_alive)
    ):
        return
    said = intent.plan.variables()
    stored = {name.removeprefix("ZEJZL_").lower(): value for name, value in said.items()}
    own = Settings.model_validate({**stored, "data_dir": settings.data_dir})
    stop_mark(own, intent.plan.node).set()
