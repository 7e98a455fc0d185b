"""Batches and their answers as bytes: MessagePack."""

from typing import Final

import msgspec

from zejzl_ray.bus.ports import Delivered, Outgoing
from zejzl_ray.errors import InvalidInput

_encode: Final = msgspec.msgpack.Encoder().encode
_outgoing: Final = msgspec.msgpack.Decoder(Outgoing).decode
_delivered: Final = msgspec.msgpack.Decoder(Delivered).decode


def encode_frame(frame: Outgoing | Delivered) -> bytes:
    """Return a batch or an answer as bytes."""
    return _encode(frame)


def decode_outgoing(data: bytes) -> Outgoing:
    """Return the batch that the bytes mean.

    Raises:
        InvalidInput: they mean none.
    """
    try:
        return _outgoing(data)
    except (msgspec.MsgspecError, ValueError) as error:
        raise InvalidInput(f"These bytes are no batch of mail: {error}.") from None


def decode_delivered(data: bytes) -> Delivered:
    """Return the answer that the bytes mean.

    Raises:
        InvalidInput: they mean none.
    """
    try:
        return _delivered(data)
    except (msgspec.MsgspecError, ValueError) as error:
        raise InvalidInput(f"These bytes are no answer to a batch of mail: {error}.") from None
