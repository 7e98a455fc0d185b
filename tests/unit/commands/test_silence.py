"""A store that says nothing: the next are refused at once, and one question at a time finds out when it is back."""

import asyncio

import pytest

from zejzl_ray.commands import silence
from zejzl_ray.commands.silence import Silence
from zejzl_ray.errors import InvalidInput, StoreUnavailable, ZejzlError
from zejzl_ray.testing import ManualClock


class Asked:
    """A store that is asked, and answers when a test lets it."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.count = 0
        self.error: ZejzlError | None = None
        self.may_answer = asyncio.Event()
        self.silence = Silence(self._ask, self.clock)

    async def _ask(self) -> None:
        self.count += 1
        await self.may_answer.wait()
        if self.error is not None:
            raise self.error

    async def is_refused(self) -> bool:
        try:
            await self.silence.check()
        except StoreUnavailable:
            return True
        return False

    def fall_silent(self) -> None:
        self.silence.begins("no answer within 3 s.", self.clock.monotonic_s() - 3)


@pytest.fixture
def asked() -> Asked:
    return Asked()


async def test_a_store_that_answers_is_not_asked(asked: Asked) -> None:
    assert not await asked.is_refused()
    assert asked.count == 0


async def test_a_silent_store_is_named_with_what_it_left_open_and_for_how_long(asked: Asked) -> None:
    asked.fall_silent()
    asked.clock.advance(1)
    with pytest.raises(StoreUnavailable, match=r"not sent.*silent for 4 s: no answer within 3 s") as caught:
        await asked.silence.check()
    assert "same request_id" in caught.value.remedy


async def test_many_who_come_while_it_is_silent_are_refused_and_ask_it_once(asked: Asked) -> None:
    asked.fall_silent()
    assert all(await asyncio.gather(*(asked.is_refused() for _ in range(100))))
    await asyncio.sleep(0)
    assert asked.count == 1
    asked.clock.advance(100)
    waiting = [asyncio.create_task(asked.is_refused()) for _ in range(100)]
    await asyncio.sleep(0)
    assert asked.count == 1, "the question that is under way is theirs too"
    asked.may_answer.set()
    assert not any(await asyncio.gather(*waiting))


async def test_it_is_asked_again_after_a_pause_only(asked: Asked) -> None:
    asked.may_answer.set()
    asked.error = StoreUnavailable("still away")
    asked.fall_silent()
    for _ in range(3):
        assert await asked.is_refused()
        await asyncio.sleep(0)
    assert asked.count == 1
    asked.clock.advance(silence.ASK_EVERY_S)
    assert await asked.is_refused()
    await asyncio.sleep(0)
    assert asked.count == 2


async def test_who_comes_when_nobody_has_asked_for_long_waits_for_the_answer(asked: Asked) -> None:
    asked.may_answer.set()
    asked.fall_silent()
    asked.clock.advance(silence.FRESH_S + 0.1)
    assert not await asked.is_refused()


async def test_a_question_that_stays_open_ends_by_itself(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silence, "ASK_LIMIT_S", 0.01)
    asked.fall_silent()
    asked.clock.advance(silence.FRESH_S + 0.1)
    assert await asked.is_refused()
    asked.may_answer.set()
    asked.clock.advance(silence.FRESH_S + 0.1)
    assert not await asked.is_refused()
    assert asked.count == 2


async def test_a_refusal_is_an_answer(asked: Asked) -> None:
    asked.may_answer.set()
    asked.error = InvalidInput("no such key")
    asked.fall_silent()
    asked.clock.advance(silence.FRESH_S + 0.1)
    assert not await asked.is_refused()
