"""The head goes to another machine: two real Redis over TLS, set up as ``deploy/redis.conf`` does."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.contract.store.redis_over_tls import certified, has_tls, tls_settings
from zejzl_ray.cluster.gcs_store import ensure_gcs_user
from zejzl_ray.cluster.head_record import HeadRecord
from zejzl_ray.cluster.head_switch import HeadSwitch
from zejzl_ray.cluster.ports import free_ports
from zejzl_ray.cluster.redis_address import RedisAddress
from zejzl_ray.cluster.redis_peer import RedisPeer, Standing
from zejzl_ray.cluster.redis_role import write_role
from zejzl_ray.cluster.shared_store import ensure_redis_password
from zejzl_ray.errors import ClusterError
from zejzl_ray.settings import Settings
from zejzl_ray.testing.redis_server import RedisServer

pytestmark = pytest.mark.skipif(
    not has_tls(), reason="this redis-server has no TLS: install one that has (apt-get install redis-server)"
)


@dataclass(frozen=True)
class Pair:
    """A primary and its replica."""

    settings: Settings
    first: RedisAddress
    second: RedisAddress
    servers: dict[RedisAddress, RedisServer]

    def peer(self, address: RedisAddress) -> RedisPeer:
        """Return a way to one of them."""
        return RedisPeer(self.settings, address)

    def standing(self, address: RedisAddress) -> Standing:
        """Return what one of them says of itself."""
        peer = self.peer(address)
        try:
            found = peer.look()
        finally:
            peer.close()
        assert found is not None
        return found

    def switch(self, machine: str) -> HeadSwitch:
        """Return the switch to a machine."""
        return HeadSwitch(
            self.settings, machine, "127.0.0.1", self.first if machine == "mainpc" else self.second
        )

    def wait_linked(self, address: RedisAddress) -> None:
        """Wait until a replica has caught up, and its primary knows it."""
        deadline_s = time.monotonic() + 20
        while time.monotonic() < deadline_s:
            found = self.standing(address)
            if found.is_linked and found.primary is not None:
                primary = self.standing(found.primary)
                if primary.replicas and primary.record == found.record:
                    return
            time.sleep(0.05)
        raise AssertionError("the replica has not caught up within 20 s")


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    data_dir = tmp_path / "data"
    data_dir.mkdir(mode=0o700)
    certified(data_dir)
    password, auth = ensure_redis_password(data_dir)
    user = ensure_gcs_user(data_dir)
    first, second = (RedisAddress(host="127.0.0.1", port=port) for port in free_ports(2))
    lines = [f"include {auth}", f"include {user}"]
    follower = tmp_path / "second"
    follower.mkdir()
    role = write_role(follower, first)
    secret = password.read_text()
    one = RedisServer(settings=(*tls_settings(data_dir, first.port), *lines), password=secret)
    other = RedisServer(
        settings=(*tls_settings(data_dir, second.port), *lines, f"include {role}"), password=secret
    )
    settings = Settings(data_dir=data_dir, store_url=f"rediss://{first}")
    with one, other:
        pair = Pair(settings, first, second, {first: one, second: other})
        peer = pair.peer(first)
        assert peer.claim(_first_record(pair), None)
        peer.close()
        pair.wait_linked(second)
        yield pair


def _first_record(pair: Pair) -> HeadRecord:
    return HeadRecord(
        term=1,
        machine="mainpc",
        head_address="127.0.0.2:6379",
        store=pair.first,
        store_url=f"rediss://{pair.first}",
        stores=(pair.first, pair.second),
    )


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


def test_a_record_that_has_changed_meanwhile_is_not_overwritten(pair: Pair) -> None:
    known = _first_record(pair)
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
        peer.claim(_first_record(pair).model_copy(update={"term": 2}), _first_record(pair))
    peer.close()
