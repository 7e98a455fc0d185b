"""How far somebody has read: a file, an offset and a fingerprint for each file that grows, as a short text."""

import base64
import binascii
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from zejzl_ray.contracts.logs import MAX_CURSOR
from zejzl_ray.errors import InvalidInput

_VERSION: Final = 1
_FINGERPRINTED: Final = 256  # bytes at the beginning of a file
_LARGEST: Final = 2**66  # a file system's 64 bits, and one for the place


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a file that may have been renamed since.

    Attributes:
        key: of the file, the same while it is renamed.
        offset: bytes that were read.
        print: of the file's first bytes, as far as they were read; tells a new file with a used key from the old.
    """

    key: int
    offset: int
    print: int


@dataclass(frozen=True, slots=True)
class Cursor:
    """Positions by the files' keys, and the wall time at which they were taken."""

    at_s: float
    positions: Mapping[int, Position] = field(default_factory=dict)


def fingerprint(head: bytes, offset: int) -> int:
    """Return the fingerprint of a file of which ``offset`` bytes were read.

    Args:
        head: its first 256 bytes, or all if it is shorter.
        offset: how far it was read.
    """
    return zlib.crc32(head[: min(_FINGERPRINTED, offset)]) & 0xFFFF


def encode_cursor(cursor: Cursor) -> str:
    """Return the cursor as text: letters, digits, ``-`` and ``_``; some seven characters a file."""
    numbers = [_VERSION, max(0, int(cursor.at_s * 1000))]
    before = 0
    for key in sorted(cursor.positions):
        position = cursor.positions[key]
        numbers += (key - before, position.offset, position.print)
        before = key
    packed = b"".join(_pack(number) for number in numbers)
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def decode_cursor(text: str) -> Cursor:
    """Return what ``encode_cursor`` has made a text of.

    Raises:
        InvalidInput: it is none.
    """
    try:
        if len(text) > MAX_CURSOR:
            raise ValueError("too long")
        numbers = _unpack(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
        if len(numbers) % 3 != 2 or numbers[0] != _VERSION:
            raise ValueError("no cursor of this version")
    except (ValueError, binascii.Error):
        raise InvalidInput(
            "cursor: not one that a page of logs gave.", "Ask again without a cursor."
        ) from None
    positions: dict[int, Position] = {}
    key = 0
    for index in range(2, len(numbers), 3):
        key += numbers[index]
        positions[key] = Position(key, numbers[index + 1], numbers[index + 2])
    return Cursor(numbers[1] / 1000, positions)


def _pack(number: int) -> bytes:
    """Return a whole number, seven bits a byte, the least ones first."""
    packed = bytearray()
    while number >= 0x80:
        packed.append(number & 0x7F | 0x80)
        number >>= 7
    packed.append(number)
    return bytes(packed)


def _unpack(packed: bytes) -> list[int]:
    numbers: list[int] = []
    number = shift = 0
    for byte in packed:
        number |= (byte & 0x7F) << shift
        shift += 7
        if number >= _LARGEST:
            raise ValueError("too large a number")
        if byte < 0x80:
            numbers.append(number)
            number = shift = 0
    if shift:
        raise ValueError("the last number is cut")
    return numbers
