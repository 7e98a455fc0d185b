import asyncio
from collections.abc import Sequence

import pytest

from tests.unit.auth.tokens import public
from zejzl_ray.auth.key_set import FETCH_TIMEOUT_S, UNKNOWN_FOR_S, KeySet
from zejzl_ray.contracts.tokens import PublicKey
from zejzl_ray.errors import InvalidInput, ServiceUnavailable
from zejzl_ray.testing.clock import ManualClock


class Gateway:
    """Publishes keys, and counts how often it is asked."""

    def __init__(self, *kids: str) -> None:
        self.kids = kids
        self.asked = 0
        self.is_away = False
        self.was_asked = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def fetch(self) -> Sequence[PublicKey]:
        self.asked += 1
        self.was_asked.set()
        await self.may_answer.wait()
        if self.is_away:
            raise ServiceUnavailable("the gateway is away")
        return [public(kid) for kid in self.kids]


def test_keys_are_found_by_their_id() -> None:
    keys = KeySet(ManualClock())
    keys.replace([public("k1"), public("k2")])
    assert len(keys) == 2
    assert keys.find("k1") is not keys.find("k2")
    assert keys.find("k3") is None


def test_a_key_that_is_no_longer_published_is_gone() -> None:
    keys = KeySet(ManualClock())
    keys.replace([public("k1"), public("k2")])
    keys.replace([public("k2")])
    assert keys.find("k1") is None


def test_a_key_that_stays_is_the_same_object_and_a_replaced_one_is_not() -> None:
    keys = KeySet(ManualClock())
    keys.replace([public("k1")])
    known = keys.find("k1")
    keys.replace([public("k1"), public("k2")])
    assert keys.find("k1") is known
    keys.replace([public("k1", key="k2")])
    assert keys.find("k1") not in (known, None)


def test_the_revision_changes_with_the_keys_only() -> None:
    keys = KeySet(ManualClock())
    keys.replace([public("k1")])
    revision = keys.revision
    keys.replace([public("k1")])
    assert keys.revision == revision
    keys.replace([])
    assert keys.revision != revision


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([public("k2"), public("k1"), public("k1", key="k2")], "Two public keys have the id k1"),
        (
            [public("k2"), PublicKey(kid="k1", x="A" * 40 + "___").model_copy(update={"x": "AAAA"})],
            "no Ed25519 key",
        ),
    ],
)
def test_keys_that_cannot_be_used_change_nothing(wrong: list[PublicKey], message: str) -> None:
    keys = KeySet(ManualClock())
    keys.replace([public("k1")])
    revision = keys.revision
    with pytest.raises(InvalidInput, match=message):
        keys.replace(wrong)
    assert keys.find("k1") is not None
    assert keys.find("k2") is None
    assert keys.revision == revision


async def test_an_unknown_key_is_asked_for() -> None:
    gateway = Gateway("k1")
    keys = KeySet(ManualClock(), fetch=gateway.fetch)
    assert await keys.refresh("k1")
    assert keys.find("k1") is not None
    assert await keys.refresh("k1")
    assert gateway.asked == 1


async def test_without_somebody_to_ask_an_unknown_key_stays_unknown() -> None:
    assert not await KeySet(ManualClock()).refresh("k1")


async def test_made_up_ids_ask_once_in_a_cool_down() -> None:
    clock, gateway = ManualClock(), Gateway("k1")
    keys = KeySet(clock, fetch=gateway.fetch, cooldown_s=5)
    assert [await keys.refresh(f"made-up-{n}") for n in range(100)] == [False] * 100
    assert gateway.asked == 1
    clock.advance(5)
    assert not await keys.refresh("made-up-100")
    assert gateway.asked == 2


async def test_an_id_that_was_not_found_is_not_asked_for_again_for_a_minute() -> None:
    clock, gateway = ManualClock(), Gateway("k1")
    keys = KeySet(clock, fetch=gateway.fetch, cooldown_s=5)
    await keys.refresh("k2")
    clock.advance(UNKNOWN_FOR_S - 1)
    assert not await keys.refresh("k2")
    assert gateway.asked == 1
    gateway.kids = ("k1", "k2")
    clock.advance(1)
    assert await keys.refresh("k2")
    assert gateway.asked == 2


async def test_a_key_that_was_asked_for_too_early_counts_as_soon_as_it_is_there() -> None:
    gateway = Gateway("k1")
    keys = KeySet(ManualClock(), fetch=gateway.fetch)
    assert not await keys.refresh("k2")
    keys.replace([public("k1"), public("k2")])
    assert await keys.refresh("k2")


async def test_so_many_unknown_ids_are_remembered_and_no_more() -> None:
    clock, gateway = ManualClock(), Gateway()
    keys = KeySet(clock, fetch=gateway.fetch, cooldown_s=0, max_unknown=2)
    for kid in ("a", "b", "c", "c", "b"):
        await keys.refresh(kid)
    assert gateway.asked == 3
    await keys.refresh("a")
    assert gateway.asked == 4


async def test_callers_at_the_same_time_share_one_question() -> None:
    gateway = Gateway("k1")
    gateway.may_answer.clear()
    keys = KeySet(ManualClock(), fetch=gateway.fetch)
    waiting = [asyncio.create_task(keys.refresh("k1")) for _ in range(50)]
    waiting.append(asyncio.create_task(keys.refresh("k2")))
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    gateway.may_answer.set()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert answers[1:] == [True] * 49 + [False]
    assert gateway.asked == 1


async def test_an_answer_brings_no_key_back_that_was_taken_away_while_it_was_under_way() -> None:
    gateway = Gateway("k1", "k2")
    keys = KeySet(ManualClock(), fetch=gateway.fetch)
    keys.replace([public("k1")])
    gateway.may_answer.clear()
    waiting = asyncio.create_task(keys.refresh("k3"))
    await gateway.was_asked.wait()
    keys.replace([public("k2")])
    gateway.may_answer.set()
    assert not await waiting
    assert keys.find("k1") is None
    assert keys.find("k2") is not None


async def test_a_question_that_fails_is_asked_again_after_the_cool_down() -> None:
    clock, gateway = ManualClock(), Gateway("k1")
    gateway.is_away = True
    keys = KeySet(clock, fetch=gateway.fetch, cooldown_s=5)
    assert not await keys.refresh("k1")
    gateway.is_away = False
    assert not await keys.refresh("k1")
    assert gateway.asked == 1
    clock.advance(5)
    assert await keys.refresh("k1")


async def test_a_gateway_that_never_answers_costs_its_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert FETCH_TIMEOUT_S <= 10
    monkeypatch.setattr("zejzl_ray.auth.key_set.FETCH_TIMEOUT_S", 0.0)
    gateway = Gateway("k1")
    gateway.may_answer.clear()
    assert not await KeySet(ManualClock(), fetch=gateway.fetch).refresh("k1")


async def test_a_question_that_is_ended_from_outside_leaves_the_key_unknown() -> None:
    gateway = Gateway("k1")
    gateway.may_answer.clear()
    keys = KeySet(ManualClock(), fetch=gateway.fetch)
    waiting = asyncio.create_task(keys.refresh("k1"))
    await asyncio.sleep(0)
    [flight] = [task for task in asyncio.all_tasks() if task.get_name() == "fetch public keys"]
    flight.cancel()
    assert not await waiting
