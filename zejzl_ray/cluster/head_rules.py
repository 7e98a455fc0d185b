"""What each machine does about its own Redis, by what every Redis says of itself: the rules of takeover and handback.

The record of the newest term counts, and everything follows from it: the Redis of the machine that it names is the
primary and the others follow that one. A term is begun by a succession only. Each machine acts on its own Redis alone,
so that a command or a machine may die between any two steps: the rules, or the same command again, do the rest.

A takeover or handback swaps the roles of the two Redis (or promotes the one, where the other is silent), writes down
what this machine's Redis is from its next start on, and then writes the record of the next term into the new primary.

``N`` is the newest record; its head's Redis is called the head's. A Redis is *behind* when its own record is of an
older term than ``N``. *Sure*: at once; *doubtful*: when it was so for ``DOUBT_LOOKS`` looks, since it may be the middle
of a switch or a Redis that is only starting.

====================  =================================================  =======================  =========
own Redis             the others                                         what to do               how
====================  =================================================  =======================  =========
no answer, or nobody has a record                                        nothing
behind                a primary is not behind, the head's first          follow that one          sure
N names this machine, and its Redis is not behind
primary                                                                  nothing
replica of X          X is a primary, and not behind: a switch is        nothing
                      under way, X's machine completes it
replica of X          X is a primary that is behind                      become the primary       sure
replica of X          X is silent, or a replica itself                   become the primary       doubtful
N names another machine, and the own Redis is not behind
primary               the head's follows it: a switch is under way       begin the next term      sure
primary               the head's is silent, and this one was a replica   begin the next term      sure
                      until now: Sentinel has promoted it
primary               the head's is silent                               nothing: a person says
                                                                         that it is off
primary               the head's is behind: it has lost what N had       begin the next term      doubtful
primary               the head's is a primary too                        follow that one          doubtful
replica               the head's is behind, no primary has N's state,    become the primary,      doubtful
                      and this is the first that has it                  begin the next term
replica of another    the head's is a primary                            follow that one          sure
otherwise                                                                nothing
====================  =================================================  =======================  =========
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from zejzl_ray.cluster.head_record import HeadRecord, newest
from zejzl_ray.cluster.redis_address import RedisAddress
from zejzl_ray.cluster.redis_peer import Standing

DOUBT_LOOKS: Final = 15


class Step(StrEnum):
    """What a machine does about its own Redis."""

    NOTHING = "nothing"
    FOLLOW = "follow"
    PROMOTE = "promote"
    SUCCEED = "succeed"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one look at all of them has found.

    Attributes:
        record: the one that counts; None: nobody has one.
        step: what to do.
        to_follow: whom, where the step is to follow.
        is_sure: at once; otherwise when it was judged so for ``DOUBT_LOOKS`` looks.
    """

    record: HeadRecord | None
    step: Step = Step.NOTHING
    to_follow: RedisAddress | None = None
    is_sure: bool = True


def judge(
    machine: str,
    own: RedisAddress,
    found: Mapping[RedisAddress, Standing],
    *,
    was_replica: bool = False,
) -> Judgement:
    """Decide by what everybody says of itself; see the table of this module.

    Args:
        machine: this one.
        own: its Redis.
        found: whoever has answered.
        was_replica: the own Redis was seen as a replica, and nobody of this machine has made it a primary.
    """
    record = newest(standing.record for standing in found.values())
    mine = found.get(own)
    if record is None or mine is None:
        return Judgement(record)
    if is_behind(mine, record):
        primary = _primary_with_state(record, found)
        is_there = primary in (None, mine.primary)
        return Judgement(record) if is_there else Judgement(record, Step.FOLLOW, primary)
    if machine == record.machine or own == record.store:
        return _as_head(record, mine, found)
    if mine.primary is None:
        return _as_other_primary(record, own, found, was_replica=was_replica)
    return _as_replica(record, own, mine, found)


def is_behind(standing: Standing, record: HeadRecord) -> bool:
    """Return whether a Redis has not the state of the record's term."""
    return standing.record is None or standing.record.rank < record.rank


def _as_head(record: HeadRecord, mine: Standing, found: Mapping[RedisAddress, Standing]) -> Judgement:
    if mine.primary is None:
        return Judgement(record)
    leader = found.get(mine.primary)
    if leader is None:  # one that is linked answers it, if not us
        return Judgement(record) if mine.is_linked else Judgement(record, Step.PROMOTE, is_sure=False)
    if leader.primary is not None:  # in the middle of a FAILOVER both are replicas for a moment
        return Judgement(record, Step.PROMOTE, is_sure=False)
    return Judgement(record, Step.PROMOTE) if is_behind(leader, record) else Judgement(record)


def _as_other_primary(
    record: HeadRecord, own: RedisAddress, found: Mapping[RedisAddress, Standing], *, was_replica: bool
) -> Judgement:
    its = found.get(record.store)
    if its is None:
        return Judgement(record, Step.SUCCEED) if was_replica else Judgement(record)
    if its.primary == own:
        return Judgement(record, Step.SUCCEED)
    if is_behind(its, record):
        return Judgement(record, Step.SUCCEED, is_sure=False)
    if its.primary is None:
        return Judgement(record, Step.FOLLOW, record.store, is_sure=False)
    return Judgement(record)


def _as_replica(
    record: HeadRecord, own: RedisAddress, mine: Standing, found: Mapping[RedisAddress, Standing]
) -> Judgement:
    its = found.get(record.store)
    if its is None:
        return Judgement(record)
    if is_behind(its, record):
        holders = [address for address, standing in found.items() if not is_behind(standing, record)]
        if _primary_with_state(record, found) is None and own == min(holders, key=str):
            return Judgement(record, Step.SUCCEED, is_sure=False)
        return Judgement(record)
    is_wrong = mine.primary != record.store and (mine.primary in found or not mine.is_linked)
    if its.primary is None and is_wrong:
        return Judgement(record, Step.FOLLOW, record.store)
    return Judgement(record)


def _primary_with_state(record: HeadRecord, found: Mapping[RedisAddress, Standing]) -> RedisAddress | None:
    primaries = [
        address
        for address, standing in found.items()
        if standing.primary is None and not is_behind(standing, record)
    ]
    return record.store if record.store in primaries else min(primaries, key=str, default=None)
