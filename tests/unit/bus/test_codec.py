"""Messages as bytes: what goes in comes out, what cannot is refused at its sender, and a bad one spoils no others."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zejzl_ray.bus import codec
from zejzl_ray.bus.frames import decode_delivered, decode_outgoing, encode_frame
from zejzl_ray.bus.message import HIGH, Message
from zejzl_ray.bus.ports import Delivered, Outgoing
from zejzl_ray.errors import InvalidInput, MessageTooLarge, NotSerialisable

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
CONTENTS = st.dictionaries(st.text(), VALUES, max_size=5)
_encode = msgspec.msgpack.Encoder().encode


def mail(content: Any = None, **fields: Any) -> Message:
    return Message("a", "b", "task", {} if content is None else content, **fields)


@given(content=CONTENTS, metadata=CONTENTS)
def test_a_message_comes_out_as_it_went_in(content: dict[str, Any], metadata: dict[str, Any]) -> None:
    message = mail(content, priority=HIGH, correlation_id="c", metadata=metadata, id="i", deadline_at_s=4.5)
    assert codec.decode(codec.encode(message)) == message


@given(contents=st.lists(CONTENTS, max_size=5))
def test_a_batch_keeps_its_order(contents: list[dict[str, Any]]) -> None:
    messages = [mail(content, id=str(number)) for number, content in enumerate(contents)]
    batch = codec.join([codec.encode(message) for message in messages])
    assert codec.decode_batch(batch) == messages
    assert codec.read_batch(batch) == (messages, [])


def deep(levels: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(levels):
        found = [found]
    return found


@pytest.mark.parametrize(
    "content",
    [
        {"x": object()},
        {"x": 2**64},
        {"x": "\ud800"},
        {"x": {("a", object()): 1}},
        {"x": deep(100_000)},
        {1: "a"},
        {b"k": "a"},
    ],
    ids=["object", "large integer", "half a character", "key", "too deep", "number as name", "bytes as name"],
)
def test_what_messagepack_cannot_hold_is_refused_at_the_sender(content: dict[Any, Any]) -> None:
    with pytest.raises(
        NotSerialisable, match=r"The 'task' message of a to b cannot leave this process"
    ) as caught:
        codec.encode(mail(content))
    assert "Send texts, numbers, bytes, lists and dictionaries." in caught.value.remedy


def test_a_name_in_the_metadata_has_to_be_text_too() -> None:
    with pytest.raises(NotSerialisable, match="no text"):
        codec.encode(mail(metadata={1: 2}))


def test_the_size_of_a_message_is_bounded() -> None:
    size = len(codec.encode(mail({"x": "y" * 100})))
    assert codec.encode(mail({"x": "y" * 100}), max_bytes=size)
    with pytest.raises(MessageTooLarge, match=rf"has {size} bytes; {size - 1} are allowed"):
        codec.encode(mail({"x": "y" * 100}), max_bytes=size - 1)


def test_a_mebibyte_is_what_is_allowed_where_nobody_says_otherwise() -> None:
    with pytest.raises(MessageTooLarge, match="1048576 are allowed"):
        codec.encode(mail({"x": "y" * codec.MAX_MESSAGE_BYTES}))


def test_a_time_comes_out_as_a_time() -> None:
    at = datetime(2026, 1, 2, tzinfo=UTC)
    assert codec.decode(codec.encode(mail({"at": at}))).content == {"at": at}


@pytest.mark.parametrize("data", [b"", b"\xc1", _encode([1, 2]), _encode({"a": 1}), b"\xdd\xff\xff\xff\xff"])
def test_other_bytes_are_no_message_and_no_batch(data: bytes) -> None:
    for decode in (codec.decode, codec.decode_batch, codec.read_batch):
        if decode is codec.read_batch and data == _encode([1, 2]):
            continue  # a batch of two unreadable messages
        with pytest.raises(InvalidInput, match="These bytes are no"):
            decode(data)


def test_one_message_that_cannot_be_read_does_not_spoil_the_others() -> None:
    good = [codec.encode(mail(id="1")), codec.encode(mail(id="3"))]
    bad = mail(id="2")
    bad.correlation_id = 5  # type: ignore[assignment] # what a process of another version might send
    batch = codec.join([good[0], _encode(bad), good[1]])
    messages, unreadable = codec.read_batch(batch)
    assert [message.id for message in messages] == ["1", "3"]
    assert [message_id for message_id, _ in unreadable] == ["2"]
    assert "cannot be read there" in unreadable[0][1]


@pytest.mark.parametrize(
    "part", [_encode(7), _encode([1, 2]), _encode(["x"] * 8 + [9])], ids=["number", "short", "no id"]
)
def test_a_part_that_does_not_even_say_its_id_is_unreadable_too(part: bytes) -> None:
    messages, unreadable = codec.read_batch(codec.join([part]))
    assert messages == []
    assert [message_id for message_id, _ in unreadable] == [""]


@given(data=st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for decode in (codec.decode, codec.decode_batch, codec.read_batch, decode_outgoing, decode_delivered):
        with suppress(InvalidInput):
            decode(data)


def test_frames_come_out_as_they_went_in() -> None:
    outgoing = Outgoing("boot", 3, b"batch", wants_reply=True, call=9, unanswered=(7, 8), skipped=(2,))
    delivered = Delivered("boot", (), 4, b"back")
    assert decode_outgoing(encode_frame(outgoing)) == outgoing
    assert decode_delivered(encode_frame(delivered)) == delivered


@pytest.mark.parametrize(
    ("decode", "what"), [(decode_outgoing, "no batch of mail"), (decode_delivered, "no answer to a batch")]
)
def test_a_frame_of_the_wrong_kind_is_refused(decode: Any, what: str) -> None:
    with pytest.raises(InvalidInput, match=what):
        decode(_encode([1, 2, 3]))
