"""Follows who is the head, in the background: looks at the Redis of every machine once a second.

It also keeps this machine's Redis in its place: an old primary that comes back becomes a replica of the new one before
anybody writes to it for long, and what Redis is at the moment is written down for its next start.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from zejzl_ray.cluster.head_record import HeadRecord, newest
from zejzl_ray.cluster.redis_address import RedisAddress
from zejzl_ray.cluster.redis_peer import Standing
from zejzl_ray.cluster.redis_role import write_role
from zejzl_ray.errors import ClusterError
from zejzl_ray.log import get_logger

_LOOK_EVERY_S: Final = 1.0
_JOIN_LIMIT_S: Final = 5.0

log = get_logger("zejzl.roles")


class Peer(Protocol):
    """A Redis, as it is watched."""

    def look(self) -> Standing | None:
        """Return what it is; None when it does not answer."""

    def follow(self, primary: RedisAddress) -> None:
        """Make it a replica.

        Raises:
            ClusterError: it does not answer or refuses.
        """

    def allow_promotion(self) -> None:
        """Let Sentinel make it the primary.

        Raises:
            ClusterError: it does not answer or refuses.
        """

    def claim(self, record: HeadRecord, instead_of: HeadRecord | None) -> bool:
        """Write the record unless another one has come meanwhile; return whether it stands there.

        Raises:
            ClusterError: it does not answer, or is a replica.
        """

    def close(self) -> None:
        """Close its connections."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look at all of them has found: the record that counts, and whom the own Redis should follow now."""

    record: HeadRecord | None
    to_follow: RedisAddress | None


def judge(machine: str, own: RedisAddress, found: Mapping[RedisAddress, Standing]) -> Seen:
    """Decide by what everybody says of itself.

    The own Redis is told to follow another one only where the other's term is newer than its own, so that nothing
    disturbs a switch that is under way, and only while that one is a primary.

    Args:
        machine: this one.
        own: its Redis.
        found: whoever has answered.
    """
    record = newest(standing.record for standing in found.values())
    mine = found.get(own)
    if record is None or mine is None or record.machine == machine or record.store == own:
        return Seen(record, None)
    its = found.get(record.store)
    is_behind = mine.record is None or mine.record.rank < record.rank
    is_right = mine.primary == record.store
    if is_right or not is_behind or its is None or its.primary is not None:
        return Seen(record, None)
    return Seen(record, record.store)


def is_promoted(machine: str, own: RedisAddress, found: Mapping[RedisAddress, Standing]) -> bool:
    """Return whether the own Redis, a replica until now, was made the primary in the place of the head's.

    That is what Sentinel does when a majority misses the head, and what a handover is whose command was cut short.

    Args:
        machine: this one.
        own: its Redis.
        found: whoever has answered.
    """
    record = newest(standing.record for standing in found.values())
    mine = found.get(own)
    if record is None or mine is None or mine.primary is not None:
        return False
    if machine == record.machine or own == record.store or mine.record != record:
        return False
    its = found.get(record.store)
    return its is None or its.primary is not None


class RoleWatch:
    """The record that counts, as far as this machine can see.

    Args:
        machine: this one.
        stores: where Redis may be, this machine's own first; further ones are learned from the records.
        data_dir: where the role of the own Redis is written down.
        connect: makes a peer.
        succeed: returns the record with which this machine becomes the head; None: it never does by itself.
        keep: called before the own Redis, a primary until now, drops what it has to follow another one; None: it does
            not follow, since services of this machine may still write to it.
    """

    def __init__(
        self,
        machine: str,
        stores: Sequence[RedisAddress],
        data_dir: Path,
        connect: Callable[[RedisAddress], Peer],
        succeed: Callable[[HeadRecord], HeadRecord] | None = None,
        keep: Callable[[], None] | None = lambda: None,
    ) -> None:
        self._succeed = succeed
        self._keep = keep
        self._answered: set[RedisAddress] = set()
        self._was_replica = False
        self._machine = machine
        self._own = stores[0]
        self._data_dir = data_dir
        self._connect = connect
        self._peers: dict[RedisAddress, Peer] = {address: connect(address) for address in stores}
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="role-watch", daemon=True)
        self.record: HeadRecord | None = None

    @property
    def silent(self) -> tuple[RedisAddress, ...]:
        """Where the others may have a Redis, of those that have not answered since the watch began."""
        return tuple(
            address for address in self._peers if address != self._own and address not in self._answered
        )

    @property
    def answered(self) -> int:
        """How many others have answered since the watch began."""
        return len(self._answered - {self._own})

    def look(self) -> HeadRecord | None:
        """Look once, put the own Redis in its place, and return the record that counts."""
        found = {address: standing for address, peer in self._peers.items() if (standing := peer.look())}
        self._answered.update(found)
        seen = judge(self._machine, self._own, found)
        try:
            if seen.to_follow is not None:
                if self._keep is not None:
                    self._follow(self._keep, seen.to_follow, found[self._own])
            elif (mine := found.get(self._own)) is not None:
                write_role(self._data_dir, mine.primary)
                if mine.is_linked and not mine.is_promotable:
                    self._peers[self._own].allow_promotion()
                if (
                    self._was_replica
                    and self._succeed is not None
                    and is_promoted(self._machine, self._own, found)
                ):
                    seen = self._become_head(self._succeed, seen)
                self._was_replica = self._was_replica or mine.primary is not None
        except ClusterError as error:
            log.error("the role of Redis could not be changed", reason=str(error))
        record = newest((seen.record, self.record))  # of one term the one seen now: its head may have moved
        for address in record.stores if record is not None else ():
            if address not in self._peers:
                self._peers[address] = self._connect(address)
        self.record = record
        return record

    def start(self) -> None:
        """Go on looking in the background until ``close``."""
        self._thread.start()

    def close(self) -> None:
        """End the looking and close all connections."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(_JOIN_LIMIT_S)
        for peer in self._peers.values():
            peer.close()

    def _follow(self, keep: Callable[[], None], primary: RedisAddress, mine: Standing) -> None:
        log.warning("Redis of this machine is of an old term and becomes a replica", of=str(primary))
        if mine.primary is None:
            keep()
        self._peers[self._own].follow(primary)
        write_role(self._data_dir, primary)

    def _become_head(self, succeed: Callable[[HeadRecord], HeadRecord], seen: Seen) -> Seen:
        assert seen.record is not None
        record = succeed(seen.record)
        log.warning(
            "Redis of this machine was made the primary: it becomes the head", instead_of=seen.record.machine
        )
        is_taken = self._peers[self._own].claim(record, seen.record)
        self._was_replica = not is_taken
        return Seen(record if is_taken else seen.record, None)

    def _run(self) -> None:
        while not self._ending.wait(_LOOK_EVERY_S):
            try:
                self.look()
            except Exception as error:  # whatever it is, the node goes on without
                log.error("the look at the heads failed", reason=type(error).__name__)
