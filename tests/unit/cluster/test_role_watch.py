"""Who counts as the head, and when this machine's Redis is told to follow another one."""

from dataclasses import replace
from pathlib import Path

from zejzl_ray.cluster.head_record import HeadRecord
from zejzl_ray.cluster.head_rules import DOUBT_LOOKS, Judgement, Step, judge
from zejzl_ray.cluster.redis_address import RedisAddress
from zejzl_ray.cluster.redis_peer import Standing
from zejzl_ray.cluster.redis_role import ROLE_FILE, ensure_role_file
from zejzl_ray.cluster.role_watch import RoleWatch
from zejzl_ray.errors import ClusterError

MAINPC, PC2 = RedisAddress(host="10.0.0.1"), RedisAddress(host="10.0.0.2")


def record(term: int, machine: str) -> HeadRecord:
    """The head of a term."""
    store = MAINPC if machine == "mainpc" else PC2
    return HeadRecord(
        term=term,
        machine=machine,
        head_address=f"{store.host}:6379",
        store=store,
        store_url=f"rediss://{store}",
        stores=(MAINPC, PC2),
    )


def primary(known: HeadRecord | None) -> Standing:
    """A primary."""
    return Standing(primary=None, is_linked=False, replicas=(), record=known)


def replica(of: RedisAddress, known: HeadRecord | None) -> Standing:
    """A replica that has caught up."""
    return Standing(primary=of, is_linked=True, replicas=(), record=known)


FIRST, SECOND = record(1, "mainpc"), record(2, "pc2")


class FakePeer:
    """A Redis that answers as told."""

    def __init__(self, standing: Standing | None = None, *, is_refusing: bool = False) -> None:
        self.standing = standing
        self.is_refusing = is_refusing
        self.is_closed = False

    def look(self) -> Standing | None:
        return self.standing

    def follow(self, primary: RedisAddress) -> None:
        if self.is_refusing:
            raise ClusterError("Redis did not become a replica.")
        assert self.standing is not None
        self.standing = replica(primary, self.standing.record)

    def promote(self) -> None:
        assert self.standing is not None
        self.standing = primary(self.standing.record)

    def allow_promotion(self) -> None:
        assert self.standing is not None
        self.standing = replace(self.standing, is_promotable=True)

    def claim(self, record: HeadRecord, instead_of: HeadRecord | None) -> bool:
        if self.standing is None or self.standing.record != instead_of or self.is_refusing:
            return False
        self.standing = primary(record)
        return True

    def close(self) -> None:
        self.is_closed = True


def watch(tmp_path: Path, peers: dict[RedisAddress, FakePeer], *known: RedisAddress) -> RoleWatch:
    """The watch of mainpc."""
    return RoleWatch("mainpc", known or (MAINPC, PC2), tmp_path, lambda address: peers[address])


def watch_of_pc2(tmp_path: Path, peers: dict[RedisAddress, FakePeer]) -> RoleWatch:
    """The watch of pc2, which may become the head."""
    return RoleWatch("pc2", (PC2, MAINPC), tmp_path, lambda address: peers[address], lambda before: SECOND)


def test_an_old_primary_follows_the_one_of_a_newer_term() -> None:
    seen = judge("mainpc", MAINPC, {MAINPC: primary(FIRST), PC2: primary(SECOND)})

    assert (seen.record, seen.to_follow) == (SECOND, PC2)


def test_a_switch_that_is_under_way_is_not_disturbed() -> None:
    """The roles of Redis have changed, and the record of the new term is not written yet."""
    found = {PC2: primary(FIRST), MAINPC: replica(PC2, FIRST)}

    assert judge("mainpc", MAINPC, found) == Judgement(FIRST)
    assert judge("pc2", PC2, found) == Judgement(FIRST, Step.SUCCEED)  # as the command does


def test_nobody_follows_one_that_is_away_or_no_primary() -> None:
    assert judge("mainpc", MAINPC, {MAINPC: primary(SECOND)}).to_follow is None
    found = {MAINPC: primary(FIRST), PC2: replica(MAINPC, SECOND)}
    assert judge("mainpc", MAINPC, found).to_follow is None


def test_the_head_and_a_machine_without_redis_follow_nobody() -> None:
    assert judge("pc2", PC2, {MAINPC: primary(FIRST), PC2: primary(SECOND)}).to_follow is None
    assert judge("mainpc", MAINPC, {PC2: primary(SECOND)}).to_follow is None
    assert judge("mainpc", MAINPC, {MAINPC: primary(None)}).record is None


def test_one_that_follows_already_is_left_alone() -> None:
    found = {MAINPC: replica(PC2, FIRST), PC2: primary(SECOND)}

    assert judge("mainpc", MAINPC, found).to_follow is None


def test_a_replica_may_be_promoted_when_it_has_heard_from_its_primary(tmp_path: Path) -> None:
    started = replace(replica(MAINPC, FIRST), is_promotable=False)
    peers = {MAINPC: FakePeer(), PC2: FakePeer(replace(started, is_linked=False))}
    watch = watch_of_pc2(tmp_path, peers)
    watch.look()
    assert peers[PC2].standing == replace(started, is_linked=False)
    peers[PC2].standing = started
    watch.look()
    assert peers[PC2].standing == replica(MAINPC, FIRST)


def test_a_look_puts_redis_in_its_place_and_writes_it_down(tmp_path: Path) -> None:
    peers = {MAINPC: FakePeer(primary(FIRST)), PC2: FakePeer(primary(SECOND))}
    watching = watch(tmp_path, peers)

    assert watching.look() == SECOND
    assert (tmp_path / ROLE_FILE).read_text() == "replicaof 10.0.0.2 6380\nreplica-priority 0\n"
    peers[MAINPC].standing = primary(record(3, "mainpc"))
    assert watching.look() == record(3, "mainpc")
    assert (tmp_path / ROLE_FILE).read_text().startswith("# primary")


def test_a_redis_that_refuses_is_told_again(tmp_path: Path) -> None:
    peers = {MAINPC: FakePeer(primary(FIRST), is_refusing=True), PC2: FakePeer(primary(SECOND))}
    watching = watch(tmp_path, peers)
    watching.look()
    peers[MAINPC].is_refusing = False

    watching.look()

    assert peers[MAINPC].standing == replica(PC2, FIRST)


def test_what_was_seen_once_counts_while_nobody_answers_and_others_are_learned_from_it(
    tmp_path: Path,
) -> None:
    peers = {MAINPC: FakePeer(primary(FIRST)), PC2: FakePeer(primary(SECOND))}
    watching = watch(tmp_path, peers, MAINPC)

    assert watching.look() == FIRST
    assert watching.look() == SECOND
    peers[PC2].standing = peers[MAINPC].standing = None
    assert watching.look() == SECOND


def test_it_ends_and_closes_what_it_opened(tmp_path: Path) -> None:
    peers = {MAINPC: FakePeer(), PC2: FakePeer()}
    watching = watch(tmp_path, peers)
    watching.start()

    watching.close()

    assert all(peer.is_closed for peer in peers.values())
    assert watching.record is None


def test_a_role_that_is_written_down_is_not_taken_back(tmp_path: Path) -> None:
    path = ensure_role_file(tmp_path)
    path.write_text("replicaof 10.0.0.2 6380\n")

    assert ensure_role_file(tmp_path).read_text() == "replicaof 10.0.0.2 6380\n"


def test_a_replica_that_was_made_the_primary_of_a_lost_head_makes_its_machine_the_head(
    tmp_path: Path,
) -> None:
    peers = {MAINPC: FakePeer(primary(FIRST)), PC2: FakePeer(replica(MAINPC, FIRST))}
    watching = watch_of_pc2(tmp_path, peers)
    assert watching.look() == FIRST
    peers[MAINPC].standing, peers[PC2].standing = None, primary(FIRST)

    assert watching.look() == SECOND
    assert peers[PC2].standing == primary(SECOND)


def test_who_was_never_a_replica_or_sees_the_head_becomes_nothing(tmp_path: Path) -> None:
    peers = {MAINPC: FakePeer(None), PC2: FakePeer(primary(FIRST))}
    watching = watch_of_pc2(tmp_path, peers)
    assert watching.look() == FIRST
    peers[PC2].standing = replica(MAINPC, FIRST)
    watching.look()
    peers[PC2].standing, peers[MAINPC].standing = primary(FIRST), primary(FIRST)

    assert watching.look() == FIRST


def test_a_record_that_somebody_else_has_written_meanwhile_stays(tmp_path: Path) -> None:
    peers = {MAINPC: FakePeer(primary(FIRST)), PC2: FakePeer(replica(MAINPC, FIRST))}
    watching = watch_of_pc2(tmp_path, peers)
    watching.look()
    peers[MAINPC].standing = replica(PC2, FIRST)
    peers[PC2].standing, peers[PC2].is_refusing = primary(FIRST), True

    assert watching.look() == FIRST
    peers[PC2].is_refusing = False
    assert watching.look() == SECOND


def test_what_an_old_primary_drops_is_kept_first_and_a_replica_has_nothing_of_its_own(tmp_path: Path) -> None:
    peers = {MAINPC: FakePeer(primary(FIRST)), PC2: FakePeer(primary(SECOND))}
    kept: list[Standing | None] = []
    watching = RoleWatch(
        "mainpc", (MAINPC, PC2), tmp_path, peers.__getitem__, keep=lambda: kept.append(peers[MAINPC].standing)
    )
    watching.look()
    assert kept == [primary(FIRST)]

    peers[MAINPC].standing = replica(RedisAddress(host="10.0.0.3"), FIRST)
    watching.look()
    assert peers[MAINPC].standing == replica(PC2, FIRST)
    assert len(kept) == 1


def test_while_services_here_may_write_the_own_redis_stays_as_it_is(tmp_path: Path) -> None:
    peers = {MAINPC: FakePeer(primary(FIRST)), PC2: FakePeer(primary(SECOND))}
    watching = RoleWatch("mainpc", (MAINPC, PC2), tmp_path, peers.__getitem__, keep=None)

    assert watching.look() == SECOND
    assert peers[MAINPC].standing == primary(FIRST)


def test_who_has_never_answered_is_named(tmp_path: Path) -> None:
    peers = {MAINPC: FakePeer(primary(FIRST)), PC2: FakePeer(None)}
    watching = watch(tmp_path, peers)
    watching.look()
    assert (watching.silent, watching.answered) == ((PC2,), 0)

    peers[PC2].standing = replica(MAINPC, FIRST)
    watching.look()
    peers[PC2].standing = None
    watching.look()
    assert (watching.silent, watching.answered) == ((), 1)


def test_of_one_term_what_is_seen_now_counts(tmp_path: Path) -> None:
    moved = FIRST.model_copy(update={"head_address": "10.0.0.1:7777"})
    peers = {MAINPC: FakePeer(primary(FIRST)), PC2: FakePeer(replica(MAINPC, FIRST))}
    watching = watch_of_pc2(tmp_path, peers)
    watching.look()
    peers[MAINPC].standing, peers[PC2].standing = primary(moved), replica(MAINPC, moved)

    assert watching.look() == moved


def test_a_head_whose_redis_follows_another_one_becomes_the_primary_again(tmp_path: Path) -> None:
    """Its role file was of the time before, and the old head is back, too."""
    peers = {MAINPC: FakePeer(primary(FIRST)), PC2: FakePeer(replica(MAINPC, SECOND))}

    assert watch_of_pc2(tmp_path, peers).look() == SECOND
    assert peers[PC2].standing == primary(SECOND)
    assert (tmp_path / ROLE_FILE).read_text().startswith("# primary")
    watch(tmp_path / "mainpc", peers).look()
    assert peers[MAINPC].standing == replica(PC2, FIRST)


def test_two_that_are_replicas_of_each_other_are_not_separated_in_the_middle_of_a_switch(
    tmp_path: Path,
) -> None:
    peers = {MAINPC: FakePeer(replica(PC2, SECOND)), PC2: FakePeer(replica(MAINPC, SECOND))}
    watching = watch_of_pc2(tmp_path, peers)
    for _ in range(DOUBT_LOOKS - 1):
        watching.look()
    assert peers[PC2].standing == replica(MAINPC, SECOND)

    watching.look()
    assert peers[PC2].standing == primary(SECOND)


def test_a_doubt_that_is_gone_for_a_moment_begins_anew(tmp_path: Path) -> None:
    peers = {MAINPC: FakePeer(primary(FIRST)), PC2: FakePeer(primary(FIRST))}
    watching = watch_of_pc2(tmp_path, peers)
    for _ in range(DOUBT_LOOKS - 1):
        watching.look()
    peers[MAINPC].standing = None
    watching.look()
    peers[MAINPC].standing = primary(FIRST)
    for _ in range(DOUBT_LOOKS - 1):
        watching.look()
    assert peers[PC2].standing == primary(FIRST)

    watching.look()
    assert peers[PC2].standing == replica(MAINPC, FIRST)


def test_a_replica_of_the_old_head_follows_the_new_one(tmp_path: Path) -> None:
    third = RedisAddress(host="10.0.0.3")
    peers = {
        MAINPC: FakePeer(replica(PC2, SECOND)),
        PC2: FakePeer(primary(SECOND)),
        third: FakePeer(replica(MAINPC, SECOND)),
    }

    RoleWatch("pc3", (third, MAINPC, PC2), tmp_path, peers.__getitem__).look()

    assert peers[third].standing == replica(PC2, SECOND)


def test_who_cannot_write_down_that_its_redis_is_the_primary_does_not_become_the_head(tmp_path: Path) -> None:
    peers = {MAINPC: FakePeer(replica(PC2, FIRST)), PC2: FakePeer(primary(FIRST))}
    nowhere = tmp_path / "file"
    nowhere.write_text("")

    assert watch_of_pc2(nowhere, peers).look() == FIRST
    assert peers[PC2].standing == primary(FIRST)
    assert watch_of_pc2(tmp_path, peers).look() == SECOND
