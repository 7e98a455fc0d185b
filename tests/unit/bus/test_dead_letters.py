"""Mail that nobody got."""

import pytest
import structlog

from zejzl_ray.bus.dead_letters import DeadLetter, DeadLetterReason, DeadLetters
from zejzl_ray.bus.message import Message
from zejzl_ray.errors import InvalidInput

EXPIRED, MAILBOX_FULL = DeadLetterReason.EXPIRED, DeadLetterReason.MAILBOX_FULL


def mail(number: int = 0, to_agent: str = "bob", **content: object) -> Message:
    return Message("ada", to_agent, "task", {"n": number, **content})


def numbers(letters: list[DeadLetter]) -> list[int]:
    return [letter.message.content["n"] for letter in letters]


def test_a_letter_tells_what_why_and_when() -> None:
    letters = DeadLetters()
    message = mail()
    letters.add(message, EXPIRED, "2 s late", 12.0)
    (letter,) = letters.letters()
    assert (letter.message, letter.reason, letter.detail, letter.at_s) == (message, EXPIRED, "2 s late", 12.0)


def test_counts_outlive_the_ring() -> None:
    letters = DeadLetters(size=2)
    for number in range(5):
        letters.add(mail(number), EXPIRED)
    letters.add(mail(9), MAILBOX_FULL)
    assert letters.counts() == {EXPIRED: 5, MAILBOX_FULL: 1}
    assert numbers(letters.letters()) == [4, 9]
    assert len(letters) == 2


def test_the_counts_that_are_returned_are_a_copy() -> None:
    letters = DeadLetters()
    letters.counts()[EXPIRED] += 1
    assert letters.counts() == {}


def test_letters_are_picked_by_reason_and_by_either_agent() -> None:
    letters = DeadLetters()
    letters.add(mail(0), EXPIRED)
    letters.add(mail(1, to_agent="cyn"), EXPIRED)
    letters.add(mail(2), MAILBOX_FULL)
    letters.add(mail(3), EXPIRED)
    assert numbers(letters.letters(limit=2)) == [2, 3]
    assert numbers(letters.letters(limit=0)) == []
    assert numbers(letters.letters(limit=2, reason=EXPIRED)) == [1, 3]
    assert numbers(letters.letters(agent="cyn")) == [1]
    assert numbers(letters.letters(agent="ada", reason=MAILBOX_FULL)) == [2]


@pytest.mark.parametrize("limit", [-1, 2.0, False])
def test_a_limit_that_is_none_is_refused(limit: int) -> None:
    with pytest.raises(InvalidInput, match="limit"):
        DeadLetters().letters(limit)


@pytest.mark.parametrize(("size", "max_bytes"), [(0, 1), (1, 0), (True, 1), (1, 1.5)])
def test_a_bound_that_is_none_is_refused(size: int, max_bytes: int) -> None:
    with pytest.raises(InvalidInput, match="positive"):
        DeadLetters(size, max_bytes)


def test_the_contents_together_stay_below_the_bound() -> None:
    letters = DeadLetters(max_bytes=100_000)
    for number in range(50):
        letters.add(mail(number, text="x" * 10_000), EXPIRED)
    assert 80_000 < letters.kept_bytes <= 100_000
    assert numbers(letters.letters())[-1] == 49
    assert 7 <= len(letters) <= 9


def test_a_letter_above_the_bound_is_kept_without_its_content_and_told_whole() -> None:
    letters = DeadLetters(max_bytes=1000)
    told: list[DeadLetter] = []
    letters.on_letter(told.append)
    sent = mail(text="x" * 5000)
    letters.add(sent, EXPIRED, "late")
    letters.add(sent, EXPIRED)
    first, second = letters.letters()
    assert first.message.content == {}
    assert first.detail.startswith("late; content of about 5")
    assert second.detail.startswith("content of about 5")
    assert told[0].message is sent
    assert letters.kept_bytes == 0


def test_the_weight_of_a_large_content_is_estimated_from_a_part_of_it() -> None:
    letters = DeadLetters()
    letters.add(mail(rows=[["x" * 1000] * 100] * 100), EXPIRED)
    assert 9_000_000 < letters.kept_bytes < 13_000_000


def test_content_that_holds_itself_has_a_weight() -> None:
    letters = DeadLetters()
    message = mail()
    message.content["self"] = [message.content] * 3
    letters.add(message, EXPIRED)
    assert letters.kept_bytes > 0


def test_a_failing_listener_is_logged_and_the_others_are_told() -> None:
    letters = DeadLetters()
    told: list[DeadLetter] = []

    def fail(_: DeadLetter) -> None:
        raise RuntimeError("broken")

    letters.on_letter(fail)
    letters.on_letter(told.append)
    with structlog.testing.capture_logs() as logs:
        for number in range(1500):
            letters.add(mail(number), EXPIRED)
    assert len(told) == 1500
    assert [(entry["event"], entry["failures"]) for entry in logs] == [
        ("a listener of dead letters failed", 1),
        ("a listener of dead letters failed", 1001),
    ]


def test_a_cancelled_listener_hears_nothing_more() -> None:
    letters = DeadLetters()
    told: list[DeadLetter] = []
    listening = letters.on_letter(told.append)
    letters.add(mail(0), EXPIRED)
    listening.cancel()
    listening.cancel()
    letters.add(mail(1), EXPIRED)
    assert numbers(told) == [0]


def test_a_listener_may_cancel_itself_while_it_is_told() -> None:
    letters = DeadLetters()
    told: list[str] = []

    def once(_: DeadLetter) -> None:
        told.append("once")
        listening.cancel()

    listening = letters.on_letter(once)
    letters.on_letter(lambda _: told.append("always"))
    letters.add(mail(), EXPIRED)
    letters.add(mail(), EXPIRED)
    assert told == ["once", "always", "always"]


def test_a_listener_whose_own_mail_dies_is_not_told_in_circles() -> None:
    letters = DeadLetters()
    told: list[int] = []

    def complain(letter: DeadLetter) -> None:
        told.append(letter.message.content["n"])
        letters.add(mail(99), EXPIRED)

    others: list[DeadLetter] = []
    letters.on_letter(complain)
    letters.on_letter(others.append)
    letters.add(mail(1), EXPIRED)
    letters.add(mail(2), EXPIRED)
    assert told == [1, 2]
    assert sorted(numbers(others)) == [1, 2, 99, 99]
    assert letters.counts()[EXPIRED] == 4


async def coroutine(_: DeadLetter) -> None:
    raise AssertionError("nobody calls it")


@pytest.mark.parametrize("callback", [coroutine, None, "print"])
def test_what_cannot_be_called_at_once_is_no_listener(callback: object) -> None:
    with pytest.raises(InvalidInput, match="listener"):
        DeadLetters().on_letter(callback)  # type: ignore[arg-type]  # that is the point


def test_listeners_have_a_bound() -> None:
    letters = DeadLetters()
    for _ in range(1000):
        letters.on_letter(lambda _: None)
    with pytest.raises(InvalidInput, match="1000 listeners"):
        letters.on_letter(lambda _: None)
