import asyncio
from collections.abc import Iterator

import pytest
import structlog

from tests.unit.resilience.noted_pauses import Flaky
from zejzl_ray.errors import InvalidInput, ServiceUnavailable, StoreUnavailable
from zejzl_ray.resilience.degradation import Fallback, degrades
from zejzl_ray.resilience.degradations import Degradations, using_degradations
from zejzl_ray.testing.clock import ManualClock

AWAY = ServiceUnavailable("the model is away")


@pytest.fixture
def book() -> Degradations:
    return Degradations(ManualClock(100.0))


async def test_a_value_answers_while_the_real_way_fails_and_no_longer(book: Degradations) -> None:
    model = Flaky(AWAY, TimeoutError(), "a summary")

    @degrades(to="no summary", name="summary", book=book)
    async def summary() -> object:
        """Sum up."""
        return await model()

    assert (summary.__name__, summary.__doc__) == ("summary", "Sum up.")
    assert [known.name for known in book.checks()] == ["summary"]
    assert await summary() == "no summary"
    assert book.in_use()[0].reason == "ServiceUnavailable: the model is away"
    assert await summary() == "no summary"
    assert (book.in_use()[0].reason, book.in_use()[0].uses) == ("TimeoutError", 2)
    assert await summary() == "a summary"
    assert book.in_use() == ()


async def test_a_route_gets_the_arguments_of_the_call(book: Degradations) -> None:
    async def by_hand(what: str, *, loud: bool) -> str:
        return f"{what} by hand {loud}"

    @degrades(to=by_hand, book=book)
    async def translate(what: str, *, loud: bool) -> str:
        raise AWAY

    assert await translate("hello", loud=True) == "hello by hand True"
    assert book.in_use()[0].name.endswith("translate")


async def test_a_plain_function_may_be_the_route_of_a_coroutine_function(book: Degradations) -> None:
    @degrades(to=lambda what: what.upper(), book=book)
    async def translate(what: str) -> str:
        raise AWAY

    assert await translate("hello") == "HELLO"


def test_a_plain_function_degrades_too_and_recovers(book: Degradations) -> None:
    disk = Flaky(StoreUnavailable("away"), "stored", StoreUnavailable("away"))

    @degrades(to=lambda: "cached", name="read", book=book)
    def read() -> object:
        return disk.blocking()

    assert (read(), len(book.in_use())) == ("cached", 1)
    assert (read(), len(book.in_use())) == ("stored", 0)
    assert read() == "cached"


async def test_other_errors_are_raised_and_nothing_is_noted(book: Degradations) -> None:
    @degrades(to="x", on=(ServiceUnavailable,), name="summary", book=book)
    async def summary() -> str:
        raise KeyError("bug")

    with pytest.raises(KeyError):
        await summary()
    assert book.in_use() == ()


async def test_a_cancellation_passes_through(book: Degradations) -> None:
    @degrades(to="x", book=book)
    async def summary() -> str:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await summary()
    assert book.in_use() == ()


async def test_a_fallback_that_fails_raises_its_own_error_from_the_first(book: Degradations) -> None:
    async def broken() -> str:
        raise StoreUnavailable("no copy either")

    @degrades(to=broken, name="summary", book=book)
    async def summary() -> str:
        raise AWAY

    with pytest.raises(StoreUnavailable) as info:
        await summary()
    assert info.value.__context__ is AWAY
    assert book.in_use()[0].name == "summary"


async def test_no_caller_can_change_the_fallback_value_of_the_next(book: Degradations) -> None:
    @degrades(to={"hits": []}, book=book)
    async def search() -> dict[str, list[str]]:
        raise AWAY

    (await search())["hits"].append("mine")
    assert await search() == {"hits": []}


async def test_a_value_that_is_a_function_is_declared_as_a_fallback(book: Degradations) -> None:
    @degrades(to=Fallback(value=len), book=book)
    async def choose() -> object:
        raise AWAY

    assert await choose() is len


async def test_without_a_book_the_running_agents_is_used_and_the_use_is_logged(book: Degradations) -> None:
    @degrades(to=0, name="score")
    async def score() -> int:
        raise AWAY

    with using_degradations(book), structlog.testing.capture_logs() as lines:
        assert await score() == 0
    assert [known.name for known in book.in_use()] == ["score"]
    assert lines == [
        {
            "event": "degraded",
            "log_level": "warning",
            "component": "resilience",
            "name": "score",
            "reason": "ServiceUnavailable: the model is away",
        }
    ]


def test_declarations_that_cannot_work_are_refused() -> None:
    async def route() -> int:
        return 1

    def plain() -> int:
        return 1

    def stream() -> Iterator[int]:
        yield 1

    with pytest.raises(TypeError, match="plain function"):
        degrades(to=route)(plain)
    with pytest.raises(TypeError, match="generator"):
        degrades(to=0)(stream)
    with pytest.raises(InvalidInput, match="errors after which"):
        degrades(to=0, on=())
