"""Following the gateway's news."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest
import structlog

from zejzl_ray.auth.feed_follower import FeedFollower
from zejzl_ray.auth.security_state import SecurityState
from zejzl_ray.contracts.security_feed import FeedBatch, WatchFeed
from zejzl_ray.contracts.tokens import PublicKey
from zejzl_ray.errors import DeadlineExceeded, ServiceUnavailable
from zejzl_ray.testing import ManualClock


class Gateway:
    """Answers from a list; an exception is raised, and after the last it waits for ever."""

    def __init__(self, *answers: FeedBatch | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[WatchFeed] = []
        self.is_waiting = asyncio.Event()

    async def watch(self, request: WatchFeed) -> FeedBatch:
        self.asked.append(request)
        if not self.answers:
            self.is_waiting.set()
            await asyncio.Event().wait()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def fetch_keys(self) -> Sequence[PublicKey]:
        return []


def batch(revision: int, epoch: int = 1) -> FeedBatch:
    return FeedBatch(epoch=epoch, revision=revision, at_s=0, is_whole=revision == 1)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def state(clock: ManualClock) -> SecurityState:
    return SecurityState(clock)


class Pauses:
    """Keeps the pauses that were asked for, and takes none."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    async def __call__(self, wait_s: float) -> None:
        self.taken.append(wait_s)
        await asyncio.sleep(0)


async def follow(
    gateway: Gateway, state: SecurityState, clock: ManualClock, sleep: Callable[[float], Awaitable[None]]
) -> None:
    """Follow until the gateway has no answer left."""
    stop = asyncio.Event()
    follower = FeedFollower(gateway, state, clock, sleep=sleep)
    running = asyncio.create_task(follower.run(stop))
    async with asyncio.timeout(5):
        await gateway.is_waiting.wait()
        stop.set()
        await running


async def test_it_asks_on_from_what_it_knows(state: SecurityState, clock: ManualClock) -> None:
    gateway = Gateway(batch(1), batch(2), batch(1, epoch=2))
    await follow(gateway, state, clock, Pauses())
    assert [(asked.epoch, asked.revision) for asked in gateway.asked] == [(0, 0), (1, 1), (1, 2), (2, 1)]
    assert (state.epoch, state.revision) == (2, 1)


async def test_the_first_question_waits_for_nothing(state: SecurityState, clock: ManualClock) -> None:
    gateway = Gateway(batch(1))
    await follow(gateway, state, clock, Pauses())
    assert [asked.timeout_s for asked in gateway.asked] == [0.0, 10.0]


async def test_it_asks_again_with_growing_pauses_while_the_gateway_is_away(
    state: SecurityState, clock: ManualClock
) -> None:
    pauses = Pauses()
    away = [ServiceUnavailable("away") for _ in range(12)]
    await follow(Gateway(*away, batch(1)), state, clock, pauses)
    assert state.is_read
    assert len(pauses.taken) == 12
    assert 0.05 <= pauses.taken[0] <= 0.1
    assert 0.9 <= pauses.taken[-1] <= 1.1


async def test_after_news_the_pauses_begin_anew(state: SecurityState, clock: ManualClock) -> None:
    pauses = Pauses()
    away = [ServiceUnavailable("away") for _ in range(6)]
    await follow(Gateway(*away, batch(1), ServiceUnavailable("away"), batch(2)), state, clock, pauses)
    assert pauses.taken[-1] <= 0.1


async def test_it_says_once_that_the_news_stopped_and_once_that_they_came(
    state: SecurityState, clock: ManualClock
) -> None:
    away = [ServiceUnavailable("away") for _ in range(5)]
    gateway = Gateway(*away, batch(1), batch(2), OSError("broken"), OSError("broken"), batch(3))
    with structlog.testing.capture_logs() as lines:
        await follow(gateway, state, clock, Pauses())
    assert [(line["event"].split(",")[0], line.get("error")) for line in lines] == [
        ("security feed lost", "away"),
        ("security feed connected", None),
        ("security feed lost", "OSError"),
        ("security feed connected", None),
    ]


async def test_an_empty_answer_renews_the_age_and_a_failed_question_does_not(
    state: SecurityState, clock: ManualClock
) -> None:
    follower = FeedFollower(
        Gateway(batch(1), batch(1), ServiceUnavailable("away")), state, clock, sleep=Pauses()
    )
    await follower.read_once()
    clock.advance(20)
    await follower.read_once()
    clock.advance(20)
    with pytest.raises(ServiceUnavailable):
        await follower.read_once()
    assert state.feed_age_s(clock.now_s()) == 20


async def test_a_source_that_does_not_wait_is_not_asked_in_circles(
    state: SecurityState, clock: ManualClock
) -> None:
    pauses = Pauses()
    await follow(Gateway(batch(1), batch(1), batch(1)), state, clock, pauses)
    assert pauses.taken == [0.05, 0.05]


async def test_an_answer_that_never_comes_is_given_up(
    state: SecurityState, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zejzl_ray.auth.feed_follower._GRACE_S", 0.0)
    with pytest.raises(DeadlineExceeded, match="security feed"):
        await FeedFollower(Gateway(), state, clock).read_once()


async def test_it_stops_while_a_question_is_under_way(state: SecurityState, clock: ManualClock) -> None:
    gateway = Gateway()
    stop = asyncio.Event()
    running = asyncio.create_task(FeedFollower(gateway, state, clock).run(stop))
    async with asyncio.timeout(5):
        await gateway.is_waiting.wait()
        stop.set()
        await running
    assert [task for task in asyncio.all_tasks() if "security-feed" in task.get_name()] == []


async def test_it_ends_with_the_task_that_runs_it(state: SecurityState, clock: ManualClock) -> None:
    gateway = Gateway()
    running = asyncio.create_task(FeedFollower(gateway, state, clock).run(asyncio.Event()))
    await gateway.is_waiting.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [task for task in asyncio.all_tasks() if "security-feed" in task.get_name()] == []


async def test_a_fault_of_its_own_is_not_hidden(state: SecurityState, clock: ManualClock) -> None:
    async def broken(wait_s: float) -> None:
        raise RuntimeError("no pause")

    follower = FeedFollower(Gateway(ServiceUnavailable("away")), state, clock, sleep=broken)
    with pytest.raises(RuntimeError, match="no pause"):
        await follower.run(asyncio.Event())
