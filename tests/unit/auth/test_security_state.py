"""What a process keeps of the gateway's news."""

import math

import pytest

from tests.unit.auth.process_bench import LIMITS, ProcessBench, public_key
from zejzl_ray.auth.security_state import SecurityState
from zejzl_ray.contracts.access import GOOD_STANDING, Standing
from zejzl_ray.contracts.health import CheckStatus
from zejzl_ray.contracts.policy import AddressPolicy
from zejzl_ray.contracts.security_feed import FeedBatch, Revocation
from zejzl_ray.errors import InvalidInput
from zejzl_ray.testing import ManualClock


@pytest.fixture
def bench() -> ProcessBench:
    return ProcessBench()


def revoked(session: str, until_s: float = 2e9) -> Revocation:
    return Revocation(kind="session", value=session, until_s=until_s)


class TwoClocks(ManualClock):
    """A clock whose wall time somebody sets, and whose monotonic time stands still while the computer sleeps."""

    def __init__(self) -> None:
        super().__init__()
        self.monotonic = 100.0

    def monotonic_s(self) -> float:
        return self.monotonic


def test_before_the_first_news_nothing_is_read_and_everything_is_stale(bench: ProcessBench) -> None:
    assert not bench.state.is_read
    assert bench.state.is_stale(bench.clock.now_s())
    assert math.isinf(bench.state.feed_age_s(bench.clock.now_s()))
    assert bench.state.check().status is CheckStatus.FAILED


def test_the_first_news_bring_keys_and_limits(bench: ProcessBench) -> None:
    bench.hear(epoch=3)
    assert bench.state.is_read
    assert (bench.state.epoch, bench.state.revision) == (3, 1)
    assert bench.keys.find("k1") is not None
    assert bench.state.limits == LIMITS
    assert bench.state.check().status is CheckStatus.OK


def test_an_empty_answer_renews_the_age(bench: ProcessBench) -> None:
    bench.hear()
    bench.clock.advance(29)
    bench.hear()
    bench.clock.advance(29)
    assert not bench.state.is_stale(bench.clock.now_s())
    bench.clock.advance(2)
    assert bench.state.is_stale(bench.clock.now_s())
    check = bench.state.check()
    assert check.status is CheckStatus.DEGRADED
    assert "31 s old" in check.reason


def test_a_clock_that_is_set_back_makes_news_no_younger() -> None:
    clock = TwoClocks()
    state = SecurityState(clock)
    now_s = clock.now_s()
    state.apply(FeedBatch(epoch=1, revision=1, at_s=now_s, is_whole=True), now_s)
    clock.monotonic += 40
    assert state.feed_age_s(now_s - 3600) == 40
    assert state.is_stale(now_s - 3600)


def test_a_computer_that_slept_has_old_news() -> None:
    clock = TwoClocks()
    state = SecurityState(clock)
    now_s = clock.now_s()
    state.apply(FeedBatch(epoch=1, revision=1, at_s=now_s, is_whole=True), now_s)
    assert state.is_stale(now_s + 60)


def test_changes_are_added_and_the_whole_replaces(bench: ProcessBench) -> None:
    bench.hear(revocations=(revoked("a"),))
    bench.hear(revocations=(revoked("b"),))
    assert len(bench.state.revocations) == 2
    bench.hear(is_whole=True, revocations=(revoked("c"),))
    assert len(bench.state.revocations) == 1


def test_news_of_another_epoch_are_the_whole_state(bench: ProcessBench) -> None:
    bench.hear(revocations=(revoked("a"),), standings=(Standing(subject="agent:X", can_write=False),))
    bench.hear(epoch=2)
    assert len(bench.state.revocations) == 0
    assert bench.state.standing_of("agent:X") == GOOD_STANDING
    assert bench.state.epoch == 2


def test_keys_stay_until_others_are_told(bench: ProcessBench) -> None:
    bench.hear()
    bench.hear(epoch=2)
    assert bench.keys.find("k1") is not None
    bench.hear(keys=(public_key("k2", bench.key),))
    assert bench.keys.find("k1") is None


def test_the_list_that_verifiers_hold_stays_the_same_object(bench: ProcessBench) -> None:
    held = bench.state.revocations
    bench.hear(revocations=(revoked("a"),))
    bench.hear(epoch=2, revocations=(revoked("b"),))
    assert bench.state.revocations is held


def test_revocations_whose_tokens_have_expired_are_forgotten(bench: ProcessBench) -> None:
    bench.hear(revocations=(revoked("a", bench.clock.now_s() + 900),))
    bench.clock.advance(901)
    bench.hear()
    assert len(bench.state.revocations) == 0


def test_a_standing_holds_until_it_is_good_again(bench: ProcessBench) -> None:
    low = Standing(subject="agent:X", score=0.2, level="restricted", can_write=False)
    bench.hear(standings=(low,))
    before = bench.state.standings_revision
    assert bench.state.standing_of("agent:X") == low
    assert bench.state.standing_of("agent:Y") == GOOD_STANDING
    bench.hear()
    assert bench.state.standings_revision == before
    bench.hear(standings=(Standing(subject="agent:X"),))
    assert bench.state.standings_revision > before
    assert bench.state.standing_of("agent:X") == GOOD_STANDING
    assert bench.state._standings == {}


def test_an_address_list_that_cannot_be_read_keeps_the_one_before_and_nothing_else_away(
    bench: ProcessBench,
) -> None:
    bench.hear(limits=LIMITS.model_copy(update={"addresses": AddressPolicy(deny=("10.0.0.0/8",))}))
    broken = LIMITS.model_copy(update={"addresses": AddressPolicy(deny=("999.0.0.0/8",))})
    bench.hear(limits=broken, revocations=(revoked("a"),))
    assert bench.state.addresses.why_refused("10.1.1.1")
    assert len(bench.state.revocations) == 1
    check = bench.state.check()
    assert check.status is CheckStatus.DEGRADED
    assert "999.0.0.0/8" in check.reason
    bench.hear(limits=LIMITS)
    assert bench.state.addresses.why_refused("10.1.1.1") == ""
    assert bench.state.check().status is CheckStatus.OK


def test_news_with_keys_that_are_none_change_nothing(bench: ProcessBench) -> None:
    bench.hear()
    twice = (public_key("k1", bench.key), public_key("k1", bench.key))
    with pytest.raises(InvalidInput):
        bench.hear(keys=twice, revocations=(revoked("a"),))
    assert len(bench.state.revocations) == 0
    assert bench.state.revision == 1


def test_a_process_that_verifies_no_tokens_needs_no_keys(bench: ProcessBench) -> None:
    state = SecurityState(bench.clock)
    keys = (public_key("k1", bench.key),)
    state.apply(FeedBatch(epoch=1, revision=1, at_s=0, is_whole=True, keys=keys), bench.clock.now_s())
    assert state.is_read
