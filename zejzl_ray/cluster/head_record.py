"""Which machine is the head, as a record in Redis: every takeover and handback is one term more, and the newest counts.

It travels with the state: a replica has it too, so that each machine can read it in its own Redis and in the others'.
"""

from collections.abc import Iterable
from typing import Final

from pydantic import Field

from zejzl_ray.cluster.launcher_config import LauncherConfig
from zejzl_ray.cluster.redis_address import RedisAddress
from zejzl_ray.contracts.base import Contract

KEY: Final = "zejzl:head"


class Head(Contract):
    """A machine as the head: where it is found, and what its services are told."""

    machine: str = Field(min_length=1)
    head_address: str = Field(description="host:port of its Ray control store")
    store: RedisAddress = Field(description="its Redis, the primary")
    store_url: str = Field(description="ZEJZL_STORE_URL there, without user and password")
    launcher: LauncherConfig | None = Field(default=None, description="how it reaches the workers")


class HeadRecord(Head):
    """The head of one term, and what a machine needs that becomes the next one."""

    term: int = Field(ge=1, description="begun by a takeover or handback, and by nothing else")
    revision: int = Field(default=0, ge=0, description="how often its head was started with other settings")
    home: Head | None = Field(
        default=None, description="who was started as the head, where another one is it now"
    )
    stores: tuple[RedisAddress, ...] = Field(
        default=(), description="where the machines of the cluster have a Redis, if they have one"
    )

    @property
    def rank(self) -> tuple[int, str]:
        """Who counts: the higher one. Two machines that took the same term are told apart by name.

        A revision is not part of it: whatever a head is started with, it does not outbid a takeover.
        """
        return self.term, self.machine


def newest(records: Iterable[HeadRecord | None]) -> HeadRecord | None:
    """Return the record that counts; None when nobody has one."""
    known = (record for record in records if record is not None)
    return max(known, key=lambda record: (record.rank, record.revision), default=None)
