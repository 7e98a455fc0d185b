"""Makes another machine the head: its Redis becomes the primary, and the record of a new term names it.

The supervisors of all machines read the record and do the rest: the old head ends what it runs and becomes a worker,
the new one starts Ray's control store, the services and the ingress.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from zejzl_ray.cluster.head_record import HeadRecord, newest
from zejzl_ray.cluster.redis_address import RedisAddress
from zejzl_ray.cluster.redis_peer import RedisPeer, Standing
from zejzl_ray.cluster.redis_role import ROLE_FILE
from zejzl_ray.cluster.roles import succession
from zejzl_ray.errors import ClusterError
from zejzl_ray.settings import Settings

LOST_MEANS: Final = (
    "This machine cannot tell a machine that is off from a cable that is cut. If {machine} still runs, it goes on as "
    "the head of its own side: whatever it acknowledges from now on is dropped when the two see each other again."
)
_NO_REPLICA: Final = 'docs/operations.md, "MainPC off", says how to set one up.'


@dataclass(frozen=True, slots=True)
class Survey:
    """Who is the head now, and what the Redis of the next one and that of the present one say.

    Attributes:
        record: the one that counts.
        target: the Redis of the machine that is to be the head.
        own: what it says.
        primary: what the Redis of the present head says; None: it does not answer.
    """

    record: HeadRecord
    target: RedisAddress
    own: Standing
    primary: Standing | None

    @property
    def is_planned(self) -> bool:
        """Whether nothing can be lost: the primary answers and hands over, or has done so already."""
        return self.primary is not None and self.primary.primary in (None, self.target)


class HeadSwitch:
    """One change of the head, with a moment between looking and doing in which a person may say no.

    Args:
        settings: of this machine.
        machine: name of the machine that is to be the head.
        node_ip: its address.
        target: its Redis.
        connect: makes a peer.
    """

    def __init__(
        self,
        settings: Settings,
        machine: str,
        node_ip: str,
        target: RedisAddress,
        connect: Callable[[Settings, RedisAddress], RedisPeer] = RedisPeer,
    ) -> None:
        self._machine = machine
        self._node_ip = node_ip
        self._target = target
        self._make: Callable[[RedisAddress], RedisPeer] = lambda address: connect(settings, address)
        self._peers: dict[RedisAddress, RedisPeer] = {}

    def survey(self) -> Survey:
        """Look at everybody; change nothing.

        Raises:
            ClusterError: the target has no Redis that could take over; says why.
        """
        own = self._peer(self._target).look()
        if own is None:
            raise ClusterError(f"Redis of {self._machine} at {self._target} does not answer.", _NO_REPLICA)
        known = [own.record]
        for address in own.record.stores if own.record is not None else ():
            standing = self._peer(address).look() if address != self._target else None
            known.append(standing.record if standing is not None else None)
        record = newest(known)
        if record is None:
            raise ClusterError(
                f"Redis of {self._machine} knows of no head.",
                "It has never been a replica of the head's Redis, or the head was not started since. "
                + _NO_REPLICA,
            )
        primary = self._peer(record.store).look() if record.store != self._target else own
        if own.primary is not None and own.primary != record.store:
            raise ClusterError(
                f"Redis of {self._machine} follows {own.primary}, but the head's is {record.store}.",
                "Wait until it follows that one, or start the node of this machine, which sees to it.",
            )
        survey = Survey(record, self._target, own, primary)
        if own.primary is None and record.store != self._target:
            if own.record != record:
                raise ClusterError(
                    f"Redis of {self._machine} is of an old term and has not what {record.machine} has.",
                    "Start the node of this machine, which makes it a replica, and wait until it has caught up.",
                )
            if primary is not None and primary.primary is None:
                raise ClusterError(
                    f"Redis of {self._machine} and that of {record.machine} are both primaries.",
                    f"Write `replicaof {record.store.host} {record.store.port}` into {ROLE_FILE} of the data directory "
                    "and restart Redis.",
                )
        if own.primary is not None and survey.is_planned and not own.is_linked:
            raise ClusterError(
                f"Redis of {self._machine} has not caught up with {record.store} yet.",
                "Wait a little, try again.",
            )
        return survey

    def do(self, survey: Survey) -> HeadRecord:
        """Make the target the primary and write the record; safe to repeat after a failure.

        Raises:
            ClusterError: it did not happen; says how far it came.
        """
        target = self._peer(self._target)
        if survey.own.primary is not None:
            if survey.is_planned:
                assert survey.primary is not None
                host = self._target.host
                seen = next((found for found in survey.primary.replicas if found.host == host), self._target)
                self._peer(survey.record.store).hand_over(seen)
            else:
                target.promote()
        record = succession(survey.record, self._machine, self._node_ip, self._target)
        mine = target.look()
        if not target.claim(record, mine.record if mine is not None else survey.record):
            raise ClusterError(
                "Somebody else has become the head meanwhile.", "Look at `zejzl status` there."
            )
        return record

    def close(self) -> None:
        """Close all connections."""
        for peer in self._peers.values():
            peer.close()

    def _peer(self, address: RedisAddress) -> RedisPeer:
        if address not in self._peers:
            self._peers[address] = self._make(address)
        return self._peers[address]
