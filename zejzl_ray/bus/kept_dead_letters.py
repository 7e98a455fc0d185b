"""Mail that was sent at least once and given up, kept in the store of its outbox."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from zejzl_ray.bus import codec
from zejzl_ray.bus.message import Message
from zejzl_ray.errors import InvalidInput, StoreError
from zejzl_ray.store.protocol import Append, Op, Trim

LOG: Final = "dead_letters"
ACKNOWLEDGED: Final = "acknowledged"
WITHDRAWN: Final = "withdrawn"  # its sender was told that it was not sent


@dataclass(frozen=True, slots=True)
class KeptDeadLetter:
    """One message that was given up.

    Attributes:
        at_s: wall time at which it was given up.
        reason: why.
        message: as it was sent.
    """

    at_s: float
    reason: str
    message: Message


class _Stored(msgspec.Struct, array_like=True):
    at_s: float
    reason: str
    message: msgspec.Raw


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Stored).decode


def is_dead(reason: str) -> bool:
    """Tell whether a message that was settled for this reason is a dead letter."""
    return reason not in ("", ACKNOWLEDGED, WITHDRAWN)


def count_dead(totals: Mapping[str, int]) -> int:
    """Return how many messages became dead letters, which is the index of the last one in the log."""
    return sum(number for reason, number in totals.items() if is_dead(reason))


def bury(given_up: Sequence[tuple[str, bytes]], total: int, now_s: float, size: int) -> list[Op]:
    """Return what to store.

    Args:
        given_up: reason and encoded message of each new dead letter.
        total: how many there are then, since the outbox exists.
        now_s: wall time.
        size: how many to keep.
    """
    ops: list[Op] = [
        Append(LOG, _encode(_Stored(now_s, str(reason), msgspec.Raw(encoded))))
        for reason, encoded in given_up
    ]
    if ops and total > size:
        ops.append(Trim(LOG, total - size))
    return ops


def read_dead_letter(index: int, value: bytes) -> KeptDeadLetter:
    """Return a dead letter as it was stored.

    Raises:
        StoreError: it cannot be read by this version; names the entry.
    """
    try:
        stored = _decode(value)
        return KeptDeadLetter(stored.at_s, stored.reason, codec.decode(bytes(stored.message)))
    except (msgspec.MsgspecError, ValueError, InvalidInput):
        raise StoreError(
            f"Entry {index} of the log {LOG!r} cannot be read by this version.",
            "Was it written by a newer version? Run that one, or restore a backup.",
        ) from None
