"""The head goes to another machine: two real Redis over TLS, set up as ``deploy/redis.conf`` does."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.contract.store.redis_over_tls import has_tls
from tests.contract.store.redis_pair import Pair, first_record, pair
from zejzl_ray.cluster import role_watch
from zejzl_ray.cluster.purge import purge_redis
from zejzl_ray.cluster.redis_peer import Standing
from zejzl_ray.cluster.role_watch import RoleWatch
from zejzl_ray.errors import ClusterError

pytestmark = pytest.mark.skipif(
    not has_tls(), reason="this redis-server has no TLS: install one that has (apt-get install redis-server)"
)
__all__ = ["pair"]


def test_roles_are_swapped_and_swapped_back_and_both_know_the_term(pair: Pair) -> None:
    switch = pair.switch("pc2")
    survey = switch.survey()
    assert survey.is_planned

    record = switch.do(survey)

    assert (record.term, record.machine, record.store) == (2, "pc2", pair.second)
    assert pair.standing(pair.second).primary is None
    pair.wait_linked(pair.first)
    assert pair.standing(pair.first).record == record
    switch.close()
    back = pair.switch("mainpc")
    third = back.do(back.survey())
    back.close()
    assert (third.term, third.home) == (3, None)
    assert pair.standing(pair.first).primary is None


def test_a_replica_takes_over_from_a_primary_that_is_gone_which_is_then_of_an_old_term(pair: Pair) -> None:
    pair.servers[pair.first].kill()
    switch = pair.switch("pc2")
    survey = switch.survey()
    assert not survey.is_planned

    record = switch.do(survey)
    switch.close()

    assert pair.standing(pair.second) == Standing(primary=None, is_linked=False, replicas=(), record=record)
    pair.servers[pair.first].start()
    old = pair.switch("mainpc")
    with pytest.raises(ClusterError, match="is of an old term"):
        old.survey()
    old.close()
    peer = pair.peer(pair.first)
    peer.follow(pair.second)
    peer.close()
    pair.wait_linked(pair.first)
    assert pair.standing(pair.first).record == record


def test_a_switch_that_was_interrupted_is_finished_by_the_next(pair: Pair) -> None:
    pair.servers[pair.first].kill()
    peer = pair.peer(pair.second)
    peer.promote()
    peer.close()

    switch = pair.switch("pc2")
    assert switch.do(switch.survey()).term == 2
    switch.close()


def test_a_switch_whose_command_was_killed_half_way_is_finished_without_a_question(pair: Pair) -> None:
    peer = pair.peer(pair.first)
    peer.hand_over(pair.second)
    peer.close()
    pair.wait_linked(pair.first)

    switch = pair.switch("pc2")
    survey = switch.survey()
    assert survey.is_planned
    assert switch.do(survey).term == 2
    switch.close()


def test_a_record_that_has_changed_meanwhile_is_not_overwritten(pair: Pair) -> None:
    known = first_record(pair)
    peer = pair.peer(pair.first)
    assert peer.claim(known, None)
    assert not peer.claim(known.model_copy(update={"term": 5}), None)
    assert peer.claim(known.model_copy(update={"term": 5}), known)
    peer.close()


def test_two_primaries_are_not_chosen_between(pair: Pair) -> None:
    peer = pair.peer(pair.second)
    peer.promote()
    peer.close()

    switch = pair.switch("pc2")
    with pytest.raises(ClusterError, match="both primaries"):
        switch.survey()
    switch.close()


def test_a_machine_without_a_replica_does_not_take_over(pair: Pair) -> None:
    pair.servers[pair.second].kill()
    switch = pair.switch("pc2")
    with pytest.raises(ClusterError, match="does not answer"):
        switch.survey()
    switch.close()


def test_a_redis_that_refuses_says_so(pair: Pair) -> None:
    peer = pair.peer(pair.second)
    with pytest.raises(ClusterError, match="did not hand over"):
        peer.hand_over(pair.first)
    with pytest.raises(ClusterError, match="did not take the record"):
        peer.claim(first_record(pair).model_copy(update={"term": 2}), first_record(pair))
    peer.close()


def test_a_purge_leaves_a_primary_behind_also_where_another_machine_was_the_head_last(pair: Pair) -> None:
    switch = pair.switch("pc2")
    switch.do(switch.survey())
    switch.close()
    pair.wait_linked(pair.first)

    assert purge_redis(pair.settings) == 1  # the record of the head
    assert pair.standing(pair.first) == Standing(primary=None, is_linked=False, replicas=(), record=None)


@pytest.fixture
def watches(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[RoleWatch]]:
    """The watches of both machines, looking all the time."""
    monkeypatch.setattr(role_watch, "_LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(role_watch, "DOUBT_LOOKS", 1500)  # as long as at one look a second
    both = [pair.watch("mainpc"), pair.watch("pc2")]
    for watch in both:
        watch.start()
    yield both
    for watch in both:
        watch.close()


def test_nobody_disturbs_a_switch_however_closely_it_is_watched(pair: Pair, watches: list[RoleWatch]) -> None:
    for term, machine, own, other in (
        (2, "pc2", pair.second, pair.first),
        (3, "mainpc", pair.first, pair.second),
        (4, "pc2", pair.second, pair.first),
    ):
        with closing(pair.switch(machine)) as switch:
            record = switch.do(switch.survey())

        assert (record.term, record.machine) == (term, machine)
        pair.wait_linked(other)
        assert pair.standing(own).primary is None
        assert pair.standing(other).record == record


def test_a_head_whose_redis_starts_as_a_replica_of_the_old_one_is_the_primary_again(
    pair: Pair, watches: list[RoleWatch], monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(pair.switch("pc2")) as switch:
        record = switch.do(switch.survey())
    pair.wait_linked(pair.first)
    monkeypatch.setattr(role_watch, "DOUBT_LOOKS", 15)

    pair.servers[pair.second].kill()
    pair.servers[pair.second].start()  # its configuration still says whom it followed

    pair.wait_linked(pair.first)
    assert pair.standing(pair.second).primary is None
    assert pair.standing(pair.second).record == pair.standing(pair.first).record == record
