"""Every state of two or three machines leads to one head, and so does every crash of a takeover or handback."""

import itertools
from collections.abc import Callable, Iterator

import pytest

from tests.unit.cluster.redis_world import (
    MAINPC,
    NOBODY,
    PC2,
    PC3,
    Crash,
    Machine,
    ModelPeer,
    Redis,
    World,
    records,
    settle,
    switch,
    worlds,
)
from zejzl_ray.cluster.head_record import HeadRecord
from zejzl_ray.cluster.head_rules import Judgement, Step, judge
from zejzl_ray.cluster.redis_address import RedisAddress
from zejzl_ray.cluster.redis_peer import Standing
from zejzl_ray.errors import ClusterError

__all__ = ["worlds"]

Spec = tuple[RedisAddress | None, HeadRecord | None]
PAIR, THREE = (MAINPC, PC2), (MAINPC, PC2, PC3)
FIRST, SECOND, THIRD = records(PAIR, 3)


def _all(
    stores: tuple[RedisAddress, ...], terms: int, *others: RedisAddress
) -> Iterator[dict[RedisAddress, Spec]]:
    known = (None, *records(stores, terms))
    followed = [(None, *(other for other in (*stores, *others) if other != own)) for own in stores]
    each = [list(itertools.product(whom, known)) for whom in followed]
    for specs in itertools.product(*each):
        yield dict(zip(stores, specs, strict=True))


def _made(worlds: list[World], specs: dict[RedisAddress, Spec]) -> World:
    redis = {own: Redis(of, record, {f"before-{own.host}"}) for own, (of, record) in specs.items()}
    world = World(redis, roles={own: of for own, (of, _) in specs.items()})
    worlds.append(world)
    return world


def _wrong(world: World, order: tuple[RedisAddress, ...]) -> str:
    """Return what is wrong at the end; empty when all is well, or nobody was ever a head."""
    machines = [Machine(world, own) for own in order]
    world.replicate()  # whoever follows a primary of an older term has lost the newer one now
    world.heads = {each.record.term: {each.record.machine} for each in world.redis.values() if each.record}
    before = world.newest
    if before is None:
        return ""
    states = [set(redis.data) for redis in world.redis.values() if redis.record == before]
    settle(world, machines)
    after = world.newest
    if not world.is_whole() or after is None:
        return "not whole"
    if after.rank < before.rank:
        return "the higher term has lost"
    if any(len(names) > 1 for names in world.heads.values()):
        return "two heads of a term"
    has_state = any(state <= world.redis[after.store].data for state in states)
    return "" if has_state else "the newest state has gone"


def _told(specs: dict[RedisAddress, Spec]) -> str:
    return "; ".join(f"{own.host}: of {of}, {known and known.term}" for own, (of, known) in specs.items())


@pytest.mark.parametrize("order", [PAIR, PAIR[::-1]])
def test_every_state_of_two_machines_leads_to_one_head_that_has_the_state_of_the_newest_term(
    worlds: list[World], order: tuple[RedisAddress, ...]
) -> None:
    wrong = [
        (why, _told(specs)) for specs in _all(PAIR, 3, NOBODY) if (why := _wrong(_made(worlds, specs), order))
    ]

    assert wrong == []


def test_every_state_of_three_machines_does_too(worlds: list[World]) -> None:
    wrong = [(why, _told(specs)) for specs in _all(THREE, 2) if (why := _wrong(_made(worlds, specs), THREE))]

    assert wrong == []


def _running(worlds: list[World], head: RedisAddress) -> tuple[World, list[Machine]]:
    """A whole cluster under load: mainpc is the head, or pc2 after a takeover."""
    record = FIRST if head == MAINPC else SECOND
    other = PC2 if head == MAINPC else MAINPC
    world = _made(worlds, {head: (None, record), other: (head, record)})
    machines = [Machine(world, own) for own in PAIR]
    settle(world, machines)
    assert world.is_whole()
    return world, machines


def _acknowledged(machines: list[Machine]) -> set[str]:
    return set().union(*(machine.acknowledged for machine in machines))


def _run_until_crash(world: World, target: RedisAddress, changes: int, *, is_local: bool) -> bool:
    """Run the command and let it die before that change; return whether it got that far."""
    world.changes, world.crash_after = 0, changes
    command = switch(world, target, is_local=is_local)
    try:
        command.do(command.survey())
    except Crash:
        return True
    finally:
        world.crash_after = 1_000_000
    return False


def _crashes(
    worlds: list[World],
    target: RedisAddress,
    *,
    is_local: bool,
    prepare: Callable[[World], None] = lambda _: None,
) -> Iterator[tuple[World, list[Machine], int]]:
    """Yield a world for each change of the command at which it has died; the last is one in which it did not."""
    for changes in itertools.count():
        world, machines = _running(worlds, PC2 if target == MAINPC else MAINPC)
        prepare(world)
        has_crashed = _run_until_crash(world, target, changes, is_local=is_local)
        yield world, machines, changes
        if not has_crashed:
            assert changes >= 2
            return


@pytest.mark.parametrize(("target", "is_local"), [(PC2, True), (MAINPC, True), (MAINPC, False)])
@pytest.mark.parametrize("restarted", [(), (MAINPC,), (PC2,), PAIR, PAIR[::-1]])
@pytest.mark.parametrize("are_new", [False, True])
def test_a_switch_that_dies_anywhere_is_completed_or_undone_and_loses_nothing(
    worlds: list[World],
    target: RedisAddress,
    restarted: tuple[RedisAddress, ...],
    *,
    is_local: bool,
    are_new: bool,
) -> None:
    for world, machines, changes in _crashes(worlds, target, is_local=is_local):
        for address in restarted:
            world.restart(address)
        now = [Machine(world, own) for own in PAIR] if are_new else machines
        settle(world, now)

        assert world.is_whole(), changes
        record = world.newest
        assert record is not None
        assert record.term in (1, 2, 3, 4)
        assert _acknowledged(machines) | _acknowledged(now) <= world.redis[record.store].data, changes


@pytest.mark.parametrize(("target", "is_local"), [(PC2, True), (MAINPC, True), (MAINPC, False)])
def test_a_switch_that_has_died_is_finished_by_the_same_command(
    worlds: list[World], target: RedisAddress, *, is_local: bool
) -> None:
    for world, machines, changes in _crashes(worlds, target, is_local=is_local):
        _run_until_crash(world, target, 1_000_000, is_local=is_local)
        settle(world, machines)

        assert world.is_whole(), changes
        assert world.newest is not None
        assert world.newest.store == target
        assert _acknowledged(machines) <= world.redis[target].data


@pytest.mark.parametrize("are_new", [False, True])
def test_a_takeover_of_a_lost_head_that_dies_anywhere_is_finished_by_the_same_command_or_by_the_heads_return(
    worlds: list[World], *, are_new: bool
) -> None:
    def lose(world: World) -> None:
        world.redis[MAINPC].is_up = False

    for world, machines, changes in _crashes(worlds, PC2, is_local=True, prepare=lose):
        now = [Machine(world, own) for own in PAIR] if are_new else machines
        world.restart(MAINPC)
        settle(world, now)
        assert world.is_whole(), changes
    for world, _, changes in _crashes(worlds, PC2, is_local=True, prepare=lose):
        _run_until_crash(world, PC2, 1_000_000, is_local=True)
        assert world.newest is not None
        assert (world.newest.term, world.newest.machine) == (2, "pc2"), changes
        assert world.roles[PC2] is None
        world.restart(MAINPC)
        settle(world, [Machine(world, own) for own in PAIR])
        assert world.is_whole()
        assert world.newest.store == PC2


def test_what_has_changed_while_a_person_was_asked_is_not_done(worlds: list[World]) -> None:
    world, _ = _running(worlds, MAINPC)
    world.redis[MAINPC].is_up = False
    command = switch(world, PC2, is_local=True)
    survey = command.survey()
    later = FIRST.model_copy(update={"term": 5})
    world.redis[MAINPC].is_up, world.redis[MAINPC].record = True, later
    world.replicate()

    with pytest.raises(ClusterError, match="Nothing was done"):
        command.do(survey)

    assert world.redis[PC2].primary == MAINPC
    assert {redis.record for redis in world.redis.values()} == {later}


def test_a_record_that_comes_between_the_last_look_and_the_claim_stays(
    worlds: list[World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, _ = _running(worlds, MAINPC)
    command = switch(world, PC2, is_local=True)
    survey = command.survey()
    later = FIRST.model_copy(update={"term": 5})
    hand_over = ModelPeer.hand_over

    def slow(peer: ModelPeer, to: RedisAddress) -> None:
        hand_over(peer, to)
        world.redis[PC2].record = later

    monkeypatch.setattr(ModelPeer, "hand_over", slow)
    with pytest.raises(ClusterError, match="Somebody else has become the head"):
        command.do(survey)

    assert world.redis[PC2].record == later


def test_what_a_watch_writes_down_in_the_middle_of_a_switch_does_not_last(
    worlds: list[World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, _ = _running(worlds, MAINPC)
    command = switch(world, PC2, is_local=True)
    hand_over = ModelPeer.hand_over

    def seen_by_watch(peer: ModelPeer, to: RedisAddress) -> None:
        world.roles[PC2] = MAINPC
        hand_over(peer, to)

    monkeypatch.setattr(ModelPeer, "hand_over", seen_by_watch)
    command.do(command.survey())

    assert world.roles[PC2] is None


def test_a_takeover_on_the_machine_that_is_the_head_already_makes_its_redis_the_primary_again(
    worlds: list[World],
) -> None:
    world = _made(worlds, {PC2: (MAINPC, SECOND), MAINPC: (None, SECOND)})
    command = switch(world, PC2, is_local=True)
    survey = command.survey()

    assert (survey.is_done, survey.is_planned) == (False, True)
    assert command.do(survey) == SECOND
    assert world.is_whole()


def _standing(of: RedisAddress | None, record: HeadRecord | None, *, is_linked: bool = False) -> Standing:
    return Standing(primary=of, is_linked=is_linked, replicas=(), record=record)


def test_nobody_acts_for_one_that_is_silent_unless_sentinel_has() -> None:
    found = {PC2: _standing(None, FIRST)}

    assert judge("pc2", PC2, found) == Judgement(FIRST)
    assert judge("pc2", PC2, found, was_replica=True) == Judgement(FIRST, Step.SUCCEED)
    assert judge("pc2", PC2, {PC2: _standing(MAINPC, FIRST)}, was_replica=True) == Judgement(FIRST)
    assert judge("mainpc", MAINPC, {PC2: _standing(MAINPC, FIRST)}) == Judgement(FIRST)


def test_a_head_whose_redis_follows_one_that_it_hears_though_we_do_not_waits() -> None:
    found = {PC2: _standing(NOBODY, SECOND, is_linked=True)}

    assert judge("pc2", PC2, found) == Judgement(SECOND)
    assert judge("pc2", PC2, {PC2: _standing(NOBODY, SECOND)}).step is Step.PROMOTE
