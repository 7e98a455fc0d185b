"""Messages as bytes: MessagePack, each with an upper size; a batch is one array of them."""

import struct
from collections.abc import Sequence
from typing import Final

import msgspec

from zejzl_ray.bus.message import Message
from zejzl_ray.errors import InvalidInput, MessageTooLarge, NotSerialisable

MAX_MESSAGE_BYTES: Final = 1_048_576

_encode: Final = msgspec.msgpack.Encoder().encode
_decode_batch: Final = msgspec.msgpack.Decoder(list[Message]).decode
_decode: Final = msgspec.msgpack.Decoder(Message).decode
_decode_parts: Final = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_decode_text: Final = msgspec.msgpack.Decoder(str).decode
_ID: Final = Message.__struct_fields__.index("id")
_ARRAY_32: Final = b"\xdd"  # MessagePack: an array whose length follows in four bytes


def encode(message: Message, max_bytes: int = MAX_MESSAGE_BYTES) -> bytes:
    """Return a message as bytes.

    Raises:
        NotSerialisable: its content or metadata holds what MessagePack cannot.
        MessageTooLarge: it is longer than ``max_bytes``.
    """
    try:
        for names in (message.content, message.metadata):
            for name in names:
                if name.__class__ is not str and not isinstance(name, str):
                    raise TypeError("a name in its content or metadata is no text")
        encoded = _encode(message)
    except (TypeError, ValueError, OverflowError, RecursionError, UnicodeEncodeError) as error:
        raise NotSerialisable(
            f"The {message.message_type!r} message of {message.from_agent} to {message.to_agent} cannot leave this "
            f"process: {error}.",
            "Send texts, numbers, bytes, lists and dictionaries.",
        ) from None
    if len(encoded) > max_bytes:
        raise MessageTooLarge(
            f"The {message.message_type!r} message of {message.from_agent} to {message.to_agent} has {len(encoded)} "
            f"bytes; {max_bytes} are allowed.",
            "Send the name of a file or of an object in Ray's store instead.",
        )
    return encoded


def decode(data: bytes) -> Message:
    """Return the message that ``encode`` wrote.

    Raises:
        InvalidInput: it is none.
    """
    try:
        return _decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise InvalidInput(f"These bytes are no message: {error}.") from None


def join(encoded: Sequence[bytes]) -> bytes:
    """Return one batch of messages that are encoded already."""
    return _ARRAY_32 + struct.pack(">I", len(encoded)) + b"".join(encoded)


def decode_batch(data: bytes) -> list[Message]:
    """Return the messages of a batch, in its order.

    Raises:
        InvalidInput: the bytes are no batch.
    """
    try:
        return _decode_batch(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise InvalidInput(f"These bytes are no batch of messages: {error}.") from None


def read_batch(data: bytes) -> tuple[list[Message], list[tuple[str, str]]]:
    """Return the messages of a batch, in its order, and id and reason of those that cannot be read.

    Raises:
        InvalidInput: the bytes are no batch.
    """
    try:
        return _decode_batch(data), []
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
        why = str(error)
    try:
        parts = _decode_parts(data)
    except (msgspec.MsgspecError, ValueError):
        raise InvalidInput(f"These bytes are no batch of messages: {why}.") from None
    messages: list[Message] = []
    unreadable: list[tuple[str, str]] = []
    for part in parts:
        try:
            messages.append(_decode(part))
        except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
            unreadable.append((_id_of(part), f"it cannot be read there: {error}"))
    return messages, unreadable


def _id_of(data: msgspec.Raw) -> str:
    try:
        return _decode_text(_decode_parts(data)[_ID])
    except (msgspec.MsgspecError, ValueError, IndexError):
        return ""
