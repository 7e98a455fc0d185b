"""Follows who is the head, in the background: looks at the Redis of every machine once a second.

It also keeps this machine's Redis in its place: an old primary that comes back becomes a replica of the new one before
anybody writes to it for long, and what Redis is at the moment is written down for its next start.
"""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from zejzl_ray.cluster.head_record import HeadRecord, newest
from zejzl_ray.cluster.head_rules import DOUBT_LOOKS, Judgement, Step, judge
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

    def promote(self) -> None:
        """Make it a primary.

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
        self._last: Judgement | None = None  # what the last look has judged, and how often in a row
        self._same = 0
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
        judged = judge(self._machine, self._own, found, was_replica=self._was_replica)
        mine = found.get(self._own)
        seen = judged.record
        try:
            if mine is not None and self._is_due(judged):
                seen = self._act(judged, mine)
        except ClusterError as error:
            log.error("the role of Redis could not be changed", reason=str(error))
        self._was_replica = self._was_replica or (mine is not None and mine.primary is not None)
        record = newest((seen, self.record))  # of one term the one seen now: its head may have moved
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

    def _is_due(self, judged: Judgement) -> bool:
        """Whether a step may be taken: a doubtful one only when it was found again and again."""
        before, self._last = self._last, judged
        self._same = self._same + 1 if judged == before else 1
        return judged.is_sure or self._same >= DOUBT_LOOKS

    def _act(self, judged: Judgement, mine: Standing) -> HeadRecord | None:
        """Take a step and return the record that counts then.

        Raises:
            ClusterError: Redis does not do it, or the role cannot be written down.
        """
        redis, record = self._peers[self._own], judged.record
        if judged.step is Step.FOLLOW and judged.to_follow is not None:
            if mine.primary is None:
                if self._keep is None:
                    return record
                self._keep()
            log.warning("Redis of this machine becomes a replica", of=str(judged.to_follow))
            redis.follow(judged.to_follow)
            write_role(self._data_dir, judged.to_follow)
        elif judged.step is Step.PROMOTE:
            log.warning("Redis of the head becomes the primary, which it was not", followed=str(mine.primary))
            redis.promote()
            write_role(self._data_dir, None)
        elif judged.step is Step.SUCCEED and record is not None and self._succeed is not None:
            return self._become_head(self._succeed(record), record, mine)
        else:
            write_role(self._data_dir, mine.primary)
            if mine.is_linked and not mine.is_promotable:
                redis.allow_promotion()
        return record

    def _become_head(self, taken: HeadRecord, before: HeadRecord, mine: Standing) -> HeadRecord:
        log.warning("Redis of this machine is the primary: it becomes the head", instead_of=before.machine)
        redis = self._peers[self._own]
        write_role(
            self._data_dir, None
        )  # first: a head whose Redis restarts as a replica would drop what it has
        if mine.primary is not None:
            redis.promote()
        is_taken = redis.claim(taken, mine.record)
        self._was_replica = not is_taken
        return taken if is_taken else before

    def _run(self) -> None:
        while not self._ending.wait(_LOOK_EVERY_S):
            try:
                self.look()
            except Exception as error:  # whatever it is, the node goes on without
                log.error("the look at the heads failed", reason=type(error).__name__)
