import pytest

from zejzl_ray.sdk.patience import Patience


class Failing:
    """Fails so many times, then gives 7; keeps the pauses in between."""

    def __init__(self, times: int) -> None:
        self.left, self.attempts = times, 0
        self.pauses_s: list[float] = []

    async def ask(self) -> int:
        self.attempts += 1
        self.left -= 1
        if self.left >= 0:
            raise ConnectionError("away")
        return 7

    async def sleep(self, pause_s: float) -> None:
        self.pauses_s.append(pause_s)


async def test_pauses_grow_up_to_the_longest() -> None:
    work = Failing(6)
    assert await Patience(None, 1.0, 5.0, work.sleep).run(work.ask, lambda _: 0.0, 1000.0) == 7
    assert all(low <= pause_s <= 5.0 for pause_s, low in zip(work.pauses_s, (1, 2, 4, 5, 5, 5), strict=True))


async def test_attempts_are_bounded_and_the_last_error_is_raised() -> None:
    work = Failing(9)
    with pytest.raises(ConnectionError):
        await Patience(3, sleep=work.sleep).run(work.ask, lambda _: 0.0, 1000.0)
    assert work.attempts == 3


async def test_an_error_may_ask_for_a_longer_pause() -> None:
    work = Failing(1)
    assert await Patience(sleep=work.sleep).run(work.ask, lambda _: 30.0, 1000.0) == 7
    assert work.pauses_s == [30.0]


async def test_a_pause_that_ends_after_the_limit_is_not_begun() -> None:
    work = Failing(1)
    with pytest.raises(ConnectionError):
        await Patience(sleep=work.sleep).run(work.ask, lambda _: 30.0, 29.0)
    assert (work.attempts, work.pauses_s) == (1, [])


async def test_an_error_that_trying_again_does_not_help_is_raised_at_once() -> None:
    work = Failing(1)
    with pytest.raises(ConnectionError):
        await Patience(sleep=work.sleep).run(work.ask, lambda _: None, 1000.0)
    assert work.attempts == 1
