"""The envelope: what the old one was, and what is refused at once."""

import inspect
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zejzl_ray.bus.message import (
    HIGH,
    LOW,
    NORMAL,
    Guarantee,
    Message,
    MessagePriority,
    check,
    new_message_id,
    priority_of,
)
from zejzl_ray.errors import InvalidInput


def test_the_first_fields_and_their_defaults_are_those_of_the_old_bus() -> None:
    names = list(inspect.signature(Message).parameters)
    assert names[:8] == [
        "from_agent",
        "to_agent",
        "message_type",
        "content",
        "priority",
        "correlation_id",
        "timestamp",
        "metadata",
    ]
    before_s = time.time()
    message = Message("a", "b", "task", {"x": 1})
    assert (message.priority, message.correlation_id, message.metadata) == (NORMAL, None, {})
    assert before_s <= message.timestamp <= time.time()
    assert message.metadata is not Message("a", "b", "task", {}).metadata


def test_lower_numbers_are_more_urgent() -> None:
    assert [(each.name, int(each)) for each in MessagePriority] == [("HIGH", 0), ("NORMAL", 1), ("LOW", 2)]


@pytest.mark.parametrize(
    ("given", "meant"), [(0, HIGH), (1, NORMAL), (2, LOW), ("low", LOW), ("HIGH", HIGH), (LOW, LOW)]
)
def test_a_number_or_a_name_is_taken_for_a_priority_at_once(given: Any, meant: MessagePriority) -> None:
    message = Message("a", "b", "task", {}, given)
    assert message.priority is meant
    assert priority_of(given) is meant


@pytest.mark.parametrize("wrong", [3, -1, True, 1.0, None, "urgent", [1]])
def test_anything_else_is_no_priority_already_when_the_message_is_made(wrong: Any) -> None:
    with pytest.raises(InvalidInput, match=r"is no priority. Use MessagePriority.HIGH"):
        Message("a", "b", "task", {}, wrong)


def test_messages_are_ordered_by_priority_and_then_by_time() -> None:
    early, late = Message("a", "b", "t", {}, timestamp=1.0), Message("a", "b", "t", {}, timestamp=2.0)
    urgent = Message("a", "b", "t", {}, HIGH, timestamp=3.0)
    assert sorted([late, early, urgent]) == [urgent, early, late]
    with pytest.raises(TypeError):
        assert early < 1


@given(
    content=st.dictionaries(st.text(), st.integers() | st.text()),
    priority=st.sampled_from(list(MessagePriority)),
    correlation_id=st.none() | st.text(max_size=20),
    timestamp=st.floats(0, 1e12),
)
def test_a_message_survives_the_way_through_a_dictionary(
    content: dict[str, Any], priority: MessagePriority, correlation_id: str | None, timestamp: float
) -> None:
    message = Message("a", "b", "task", content, priority, correlation_id, timestamp, {"k": "v"})
    values = message.to_dict()
    assert list(values) == [
        "from",
        "to",
        "type",
        "content",
        "priority",
        "correlation_id",
        "timestamp",
        "metadata",
    ]
    assert values["priority"] == priority.name
    assert Message.from_dict(values) == message


def test_a_dictionary_needs_only_the_first_fields() -> None:
    message = Message.from_dict({"from": "a", "to": "b", "type": "t", "content": {}})
    assert (message.priority, message.correlation_id, message.metadata) == (NORMAL, None, {})


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"from": None}, "from_agent"),
        ({"to": ""}, "to_agent"),
        ({"type": "x" * 257}, "message_type"),
        ({"content": [1]}, "content of a message is list"),
        ({"metadata": "m"}, "metadata of a message is str"),
        ({"priority": 7}, "7 is no priority"),
        ({"timestamp": "now"}, "timestamp"),
        ({"correlation_id": 5}, "correlation_id"),
        ({"extra": 1}, "unknown: extra"),
    ],
)
def test_a_dictionary_with_a_wrong_field_is_refused_and_the_field_named(
    changes: dict[str, Any], named: str
) -> None:
    values: dict[str, Any] = {"from": "a", "to": "b", "type": "t", "content": {}, **changes}
    with pytest.raises(InvalidInput, match=named):
        Message.from_dict(values)


def test_a_dictionary_without_a_needed_field_is_refused_and_the_field_named() -> None:
    with pytest.raises(InvalidInput, match="missing: content, type, unknown: none"):
        Message.from_dict({"from": "a", "to": "b"})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", None),
        ("id", "x" * 257),
        ("topic", 1),
        ("traceparent", b"x"),
        ("caused_by", None),
        ("sequence", "1"),
        ("guarantee", 7),
        ("deadline_at_s", "soon"),
        ("deadline_at_s", float("nan")),
        ("deadline_at_s", float("inf")),
    ],
)
def test_what_only_an_assignment_can_make_is_found_and_named(field: str, value: Any) -> None:
    message = Message("a", "b", "t", {})
    setattr(message, field, value)
    with pytest.raises(InvalidInput, match="is no guarantee" if field == "guarantee" else field):
        check(message)


def test_a_number_for_a_priority_is_made_one_also_after_an_assignment() -> None:
    message = Message("a", "b", "t", {}, deadline_at_s=5)
    message.priority = 2  # type: ignore[assignment] # as old code does
    check(message)
    assert message.priority is LOW


def test_what_is_told_of_a_wrong_value_is_short() -> None:
    message = Message("a", "b", "t", {})
    message.correlation_id = "x" * 100_000
    with pytest.raises(InvalidInput) as caught:
        check(message)
    assert len(str(caught.value)) < 300


def test_a_copy_for_another_receiver_has_dictionaries_of_its_own_and_no_id() -> None:
    original = Message("a", "all", "t", {"x": [1]}, HIGH, "c", 1.0, {"m": 1}, id="i", topic="t.x", sequence=4)
    copy = original.copied("b")
    copy.content["y"] = 2
    copy.metadata["n"] = 2
    assert (original.content, original.metadata) == ({"x": [1]}, {"m": 1})
    assert (copy.to_agent, copy.id, copy.sequence) == ("b", "", 0)
    assert (copy.priority, copy.correlation_id, copy.timestamp, copy.topic) == (HIGH, "c", 1.0, "t.x")


def test_ids_are_not_repeated() -> None:
    assert len({new_message_id() for _ in range(100)}) == 100


def test_at_most_once_is_what_nobody_has_to_ask_for() -> None:
    assert Message("a", "b", "t", {}).guarantee is Guarantee.AT_MOST_ONCE
