import asyncio

import pytest

from zejzl_ray.contracts.access import Standing
from zejzl_ray.contracts.policy import AddressPolicy, RatePolicy
from zejzl_ray.contracts.security_feed import FeedBatch, GuardLimits, Revocation, WatchFeed
from zejzl_ray.contracts.tokens import PublicKey
from zejzl_ray.errors import Overloaded, ServiceUnavailable
from zejzl_ray.security.feed import Feed, FeedState
from zejzl_ray.testing import ManualClock

RATE = RatePolicy(burst_per_s=1, sustained_per_min=1)
STATE = FeedState(
    keys=(PublicKey(kid="k", x="x" * 43),),
    limits=GuardLimits(rate=RATE, address_rate=RATE, addresses=AddressPolicy()),
    revocations=(Revocation(kind="token", value="old", until_s=1.0),),
    standings=(Standing(subject="agent:A", can_write=False),),
)


def revoked(value: str) -> Revocation:
    return Revocation(kind="token", value=value, until_s=1.0)


class Watch:
    def __init__(self, length: int = 3, max_watchers: int = 2) -> None:
        self.clock = ManualClock()
        self.feed = Feed(self.clock, lambda: STATE, length=length, max_watchers=max_watchers)
        self.feed.restart(7)
        self.error: Exception | None = None

    def ready(self) -> None:
        if self.error is not None:
            raise self.error

    async def after(self, revision: int, epoch: int = 7, timeout_s: float = 0.0) -> FeedBatch:
        request = WatchFeed(epoch=epoch, revision=revision, timeout_s=timeout_s)
        return await self.feed.wait(request, self.ready)


async def test_a_new_follower_gets_everything() -> None:
    watch = Watch()
    batch = await watch.after(0, epoch=0)
    assert batch.is_whole
    assert (batch.epoch, batch.revision) == (7, 1)
    assert (batch.keys, batch.limits) == (STATE.keys, STATE.limits)
    assert (batch.revocations, batch.standings) == (STATE.revocations, STATE.standings)


async def test_a_follower_gets_what_is_new_in_order_and_the_last_standing_of_each() -> None:
    watch = Watch()
    watch.feed.add(
        revocations=[revoked("a")], standings={"agent:A": Standing(subject="agent:A", can_write=False)}
    )
    watch.feed.add(revocations=[revoked("b")], standings={"agent:A": Standing(subject="agent:A")})
    batch = await watch.after(1)
    assert not batch.is_whole
    assert batch.revision == 3
    assert [each.value for each in batch.revocations] == ["a", "b"]
    assert [each.can_write for each in batch.standings] == [True]
    assert (batch.keys, batch.limits) == (None, None)
    assert [each.value for each in (await watch.after(2)).revocations] == ["b"]


@pytest.mark.parametrize(("are_keys", "are_limits"), [(True, False), (False, True)])
async def test_keys_and_limits_are_sent_when_they_have_changed(are_keys: bool, are_limits: bool) -> None:
    watch = Watch()
    watch.feed.add(are_keys_changed=are_keys, are_limits_changed=are_limits)
    batch = await watch.after(1)
    assert (batch.keys is not None, batch.limits is not None) == (are_keys, are_limits)


@pytest.mark.parametrize(("epoch", "revision"), [(6, 5), (8, 5), (7, 6), (7, 1)])
async def test_who_has_missed_something_gets_everything(epoch: int, revision: int) -> None:
    watch = Watch()
    for number in range(4):
        watch.feed.add(revocations=[revoked(str(number))])
    assert watch.feed.revision == 5
    assert not (await watch.after(2)).is_whole
    assert (await watch.after(revision, epoch)).is_whole


async def test_no_change_is_no_news() -> None:
    watch = Watch()
    watch.feed.add()
    batch = await watch.after(1)
    assert batch == FeedBatch(epoch=7, revision=1, at_s=watch.clock.now_s())


async def test_records_that_were_read_anew_are_sent_whole() -> None:
    watch = Watch()
    watch.feed.add(revocations=[revoked("a")])
    watch.feed.restart(7)
    assert (await watch.after(2)).is_whole
    assert not (await watch.after(3)).is_whole


async def test_a_waiting_follower_is_woken_by_a_change() -> None:
    watch = Watch()
    waiting = asyncio.create_task(watch.after(1, timeout_s=20.0))
    await asyncio.sleep(0)
    assert watch.feed.waiting == 1
    watch.feed.add(revocations=[revoked("a")])
    assert [each.value for each in (await asyncio.wait_for(waiting, 5)).revocations] == ["a"]
    assert watch.feed.waiting == 0


async def test_a_waiting_follower_hears_that_the_service_stops() -> None:
    watch = Watch()
    waiting = asyncio.create_task(watch.after(1, timeout_s=20.0))
    await asyncio.sleep(0)
    watch.error = ServiceUnavailable("stopping")
    watch.feed.wake()
    with pytest.raises(ServiceUnavailable):
        await asyncio.wait_for(waiting, 5)


async def test_the_number_of_waiting_followers_is_bounded() -> None:
    watch = Watch(max_watchers=1)
    waiting = asyncio.create_task(watch.after(1, timeout_s=20.0))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await watch.after(1, timeout_s=20.0)
    watch.feed.add(are_keys_changed=True)
    await waiting


async def test_a_follower_waits_no_longer_than_it_wants() -> None:
    watch = Watch()
    batch = await watch.after(1, timeout_s=0.001)
    assert batch.revision == 1
    assert not batch.revocations
