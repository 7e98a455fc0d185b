"""The ring of sent messages."""

import pytest

from zejzl_ray.bus.history import MAX_HISTORY, History
from zejzl_ray.bus.message import HIGH, Message
from zejzl_ray.errors import InvalidInput, RevisionCompacted


def mail(number: int, **fields: object) -> Message:
    message = Message("ada", "bob", "task", {"n": number}, timestamp=1000.0 + number, id=f"msg-{number}")
    for name, value in fields.items():
        setattr(message, name, value)
    return message


def history_of(count: int, size: int = 100) -> History:
    history = History(size)
    for number in range(count):
        history.add(mail(number))
    return history


def numbers(messages: list[Message]) -> list[int]:
    return [message.content["n"] for message in messages]


def test_an_entry_has_the_old_keys_and_no_content() -> None:
    history = History(3)
    history.add(mail(1, priority=HIGH, correlation_id="c1"))
    assert history.entries() == [
        {
            "timestamp": 1001.0,
            "from": "ada",
            "to": "bob",
            "type": "task",
            "priority": "HIGH",
            "correlation_id": "c1",
        }
    ]


@pytest.mark.parametrize(
    ("limit", "stamps"), [(None, [1002, 1003, 1004]), (2, [1003, 1004]), (9, [1002, 1003, 1004]), (0, [])]
)
def test_entries_are_the_newest_oldest_first(limit: int | None, stamps: list[float]) -> None:
    assert [entry["timestamp"] for entry in history_of(5, size=3).entries(limit)] == stamps


@pytest.mark.parametrize("limit", [-1, 1.5, "3", True])
def test_a_limit_that_is_none_is_refused(limit: int) -> None:
    with pytest.raises(InvalidInput, match="limit"):
        history_of(1).entries(limit)
    with pytest.raises(InvalidInput, match="limit"):
        history_of(1).replay(limit=limit)


@pytest.mark.parametrize("size", [-1, MAX_HISTORY + 1, 1.0, True])
def test_a_size_out_of_range_is_refused(size: int) -> None:
    with pytest.raises(InvalidInput, match="size"):
        History(size)


def test_a_history_of_size_zero_keeps_nothing() -> None:
    history = history_of(3, size=0)
    assert len(history) == 0
    assert history.replay() == []
    with pytest.raises(RevisionCompacted, match="empty"):
        history.replay(after_id="msg-1")


def test_pages_follow_one_another_by_id() -> None:
    history = history_of(7)
    seen: list[int] = []
    page = history.replay(limit=3)
    while page:
        seen += numbers(page)
        page = history.replay(after_id=page[-1].id, limit=3)
    assert seen == list(range(7))


def test_an_id_that_fell_out_says_how_far_back_the_history_goes() -> None:
    history = history_of(5, size=2)
    with pytest.raises(RevisionCompacted, match=r"'msg-3' of 1970-01-01 00:16:43Z"):
        history.replay(after_id="msg-1")
    assert numbers(history.replay(after_id="msg-3")) == [4]


def test_a_timestamp_that_is_no_time_does_not_hide_the_error() -> None:
    history = History(2)
    history.add(mail(1, timestamp=1e300, id=""))
    with pytest.raises(RevisionCompacted, match=r"1e\+300 s"):
        history.replay(after_id="")


class WallAndMonotonic:
    """A clock whose two times have nothing to do with one another, as on a real machine."""

    def __init__(self) -> None:
        self.passed_s = 0.0

    def now_s(self) -> float:
        return 1_700_000_000.0 + self.passed_s

    def monotonic_s(self) -> float:
        return 500.0 + self.passed_s


def test_since_goes_by_the_time_of_sending_not_by_what_the_sender_wrote() -> None:
    clock = WallAndMonotonic()
    history = History(10, clock)
    start_s = clock.now_s()
    for number in range(3):
        clock.passed_s += 10.0
        history.add(mail(number, timestamp=0.0, sent_at_s=clock.monotonic_s()))
    history.add(mail(3, timestamp=0.0, sent_at_s=clock.now_s()))  # under way to another process: wall time
    history.add(mail(4, timestamp=start_s + 5.0))  # not stamped
    clock.passed_s += 100.0
    assert numbers(history.replay(since_s=start_s + 20.0)) == [1, 2, 3]
    assert numbers(history.replay(since_s=start_s)) == [0, 1, 2, 3, 4]


def test_replay_picks_by_agent_and_by_topic() -> None:
    history = History(10)
    history.add(mail(0, to_agent="cyn"))
    history.add(mail(1, topic="fleet.up"))
    history.add(mail(2, topic="fleet.down", to_agent="cyn"))
    assert numbers(history.replay(to_agent="cyn")) == [0, 2]
    assert numbers(history.replay(topic="fleet.*")) == [1, 2]
    assert numbers(history.replay(topic="fleet.*", to_agent="cyn")) == [2]
    assert history.replay(topic="other") == []


def test_a_replayed_message_shares_no_dictionary_with_the_sent_one() -> None:
    history = History(1)
    thing = object()
    sent = mail(1, content={"n": 1, "inner": {"list": [{"x": 1}]}, "thing": thing}, metadata={"m": {}})
    history.add(sent)
    copy = history.replay()[0]
    assert copy == sent
    copy.content["inner"]["list"][0]["x"] = 2
    copy.metadata["m"]["y"] = 1
    assert sent.content["inner"] == {"list": [{"x": 1}]}
    assert sent.metadata == {"m": {}}
    assert copy.content["thing"] is thing


def test_content_that_holds_itself_can_be_replayed() -> None:
    history = History(1)
    sent = mail(1)
    sent.content["self"] = sent.content
    history.add(sent)
    assert history.replay()[0].content["self"]["n"] == 1
