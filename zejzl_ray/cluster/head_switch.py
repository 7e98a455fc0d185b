"""Makes another machine the head: its Redis becomes the primary, and the record of a new term names it.

The supervisors of all machines read the record and do the rest: the old head ends what it runs and becomes a worker,
the new one starts Ray's control store, the services and the ingress.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from zejzl_ray.cluster.head_record import HeadRecord, newest
from zejzl_ray.cluster.head_rules import is_behind
from zejzl_ray.cluster.redis_address import RedisAddress
from zejzl_ray.cluster.redis_peer import RedisPeer, Standing
from zejzl_ray.cluster.redis_role import ROLE_FILE, write_role
from zejzl_ray.cluster.role_watch import Peer
from zejzl_ray.cluster.roles import succession
from zejzl_ray.errors import ClusterError
from zejzl_ray.settings import Settings

LOST_MEANS: Final = (
    "This machine cannot tell a machine that is off from a cable that is cut. If {machine} still runs, it goes on as "
    "the head of its own side: whatever it acknowledges from now on is dropped when the two see each other again."
)
_NO_REPLICA: Final = 'docs/operations.md, "MainPC off", says how to set one up.'


class SwitchedPeer(Peer, Protocol):
    """A Redis that can hand over."""

    def hand_over(self, to: RedisAddress) -> None:
        """Swap roles with one of its replicas.

        Raises:
            ClusterError: it did not happen, and then nothing has changed.
        """


@dataclass(frozen=True, slots=True)
class Survey:
    """Who is the head now, and what the Redis of the next one and the present primary say.

    Attributes:
        record: the one that counts.
        target: the Redis of the machine that is to be the head.
        own: what it says.
        source: who has to hand over: the head's Redis, or the one that the target follows where the target's machine is
            the head by the record.
        primary: what that one says; None: it does not answer.
    """

    record: HeadRecord
    target: RedisAddress
    own: Standing
    source: RedisAddress
    primary: Standing | None

    @property
    def is_named(self) -> bool:
        """Whether the target is the head's Redis already, by the record."""
        return self.record.store == self.target

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return self.is_named and self.own.primary is None

    @property
    def is_planned(self) -> bool:
        """Whether nothing can be lost: the primary answers and hands over, or has done so already."""
        return self.is_named or (self.primary is not None and self.primary.primary in (None, self.target))

    @property
    def copy_age(self) -> str:
        """What the target has of the state, in words, where nobody hands over."""
        since = "since it was started" if self.own.heard_s_ago is None else f"for {self.own.heard_s_ago} s"
        return (
            f"Redis of this machine has not heard from that of {self.record.machine} {since}: it lacks what was "
            "acknowledged without it in the meantime."
        )

    @property
    def is_handed_over(self) -> bool:
        """Whether the two swap their roles, as opposed to the target being promoted with what it has."""
        if self.own.primary is None or self.primary is None or self.primary.primary is not None:
            return False
        return not is_behind(self.primary, self.record)


class HeadSwitch:
    """One change of the head, with a moment between looking and doing in which a person may say no.

    Args:
        settings: of this machine.
        machine: name of the machine that is to be the head.
        node_ip: its address.
        target: its Redis.
        role_dir: data directory where the target's Redis, if it is this machine's, reads its role when it starts; None:
            it is another's, whose watch writes it down.
        connect: makes a peer.
    """

    def __init__(
        self,
        settings: Settings,
        machine: str,
        node_ip: str,
        target: RedisAddress,
        role_dir: Path | None = None,
        connect: Callable[[Settings, RedisAddress], SwitchedPeer] = RedisPeer,
    ) -> None:
        self._machine = machine
        self._node_ip = node_ip
        self._target = target
        self._role_dir = role_dir
        self._make: Callable[[RedisAddress], SwitchedPeer] = lambda address: connect(settings, address)
        self._peers: dict[RedisAddress, SwitchedPeer] = {}

    def survey(self) -> Survey:
        """Look at everybody; change nothing.

        Raises:
            ClusterError: the target has no Redis that could take over; says why.
        """
        survey = self.look()
        own, record, source = survey.own, survey.record, survey.source
        if not survey.is_named:
            self._require_able(survey)
        elif is_behind(own, record):
            raise _behind(self._machine, record)
        if survey.is_handed_over and not own.is_linked:
            raise ClusterError(
                f"Redis of {self._machine} has not caught up with {source} yet.", "Wait a little, try again."
            )
        return survey

    def look(self) -> Survey:
        """Look at everybody, whether or not the target could take over; change nothing.

        Raises:
            ClusterError: the target's Redis does not answer, or knows of no head.
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
        source = record.store if record.store != self._target else own.primary or self._target
        primary = self._peer(source).look() if source != self._target else own
        return Survey(record, self._target, own, source, primary)

    def _require_able(self, survey: Survey) -> None:
        own, record, primary = survey.own, survey.record, survey.primary
        if own.primary not in (None, record.store):
            raise ClusterError(
                f"Redis of {self._machine} follows {own.primary}, but the head's is {record.store}.",
                "Wait until it follows that one, or start the node of this machine, which sees to it.",
            )
        if is_behind(own, record) and not survey.is_handed_over:
            raise _behind(self._machine, record)
        if own.primary is None and primary is not None and primary.primary is None:
            raise ClusterError(
                f"Redis of {self._machine} and that of {record.machine} are both primaries.",
                "Wait half a minute: the node of this machine makes its Redis a replica again. Where no node runs "
                f"here, write `replicaof {record.store.host} {record.store.port}` into {ROLE_FILE} of the data "
                "directory and restart Redis.",
            )

    def do(self, survey: Survey) -> HeadRecord:
        """Make the target the primary and write the record; safe to repeat after a failure.

        Everybody is looked at once more: time may have gone by while a person was asked.

        Raises:
            ClusterError: it did not happen, or something has changed since the survey; says how far it came.
        """
        now = self.survey()
        if (now.record, now.is_planned, now.own.primary) != (
            survey.record,
            survey.is_planned,
            survey.own.primary,
        ):
            raise ClusterError(
                f"Nothing was done: meanwhile it is otherwise ({now.record.machine} is the head, term "
                f"{now.record.term}; its Redis {'answers' if now.primary is not None else 'does not answer'}).",
                "Run the command again.",
            )
        if now.own.primary is not None:
            self._write_role()  # where it cannot be written, nothing has changed yet
            self._make_primary(now)
        self._write_role()  # again: until now a watch has taken it for a replica
        return now.record if now.is_named else self._claim(now.record)

    def _make_primary(self, now: Survey) -> None:
        if now.is_handed_over:
            assert now.primary is not None
            host = self._target.host
            seen = next((found for found in now.primary.replicas if found.host == host), self._target)
            self._peer(now.source).hand_over(seen)
        else:
            self._peer(self._target).promote()

    def _claim(self, before: HeadRecord) -> HeadRecord:
        record = succession(before, self._machine, self._node_ip, self._target)
        target = self._peer(self._target)
        if target.claim(record, before):
            return record
        mine = target.look()
        if mine is not None and mine.record is not None and mine.record.machine == self._machine:
            return mine.record  # the watch of that machine was faster
        raise ClusterError("Somebody else has become the head meanwhile.", "Look at `zejzl status` there.")

    def _write_role(self) -> None:
        if self._role_dir is not None:
            write_role(self._role_dir, None)

    def close(self) -> None:
        """Close all connections."""
        for peer in self._peers.values():
            peer.close()

    def _peer(self, address: RedisAddress) -> SwitchedPeer:
        if address not in self._peers:
            self._peers[address] = self._make(address)
        return self._peers[address]


def _behind(machine: str, record: HeadRecord) -> ClusterError:
    return ClusterError(
        f"Redis of {machine} is of an old term and has not what {record.machine} has.",
        "Start the node of this machine, which makes it a replica, and wait until it has caught up.",
    )
