"""What one agent has received of one outbox: seen, done with, and from where on that is still asked for.

Done with is one bit a message, in chunks of 8,192, so that a commit writes a few hundred bytes however long one slow
message holds the rest back.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

import msgspec

from zejzl_ray.errors import InvalidInput
from zejzl_ray.store.protocol import Delete, Op, Put

HEADS: Final = "inbox/"
CHUNKS: Final = "acknowledged/"
CHUNK_BYTES: Final = 1024
_SHIFT: Final = 13  # a chunk holds 2**13 bits
_MASK: Final = 2**_SHIFT - 1
_FORMAT: Final = 1


class Receipt(Enum):
    """What becomes of a message that arrives."""

    NEW = "new"  # it goes into the mailbox
    HELD = "held"  # it is in the mailbox, or being handled
    ACKNOWLEDGED = "acknowledged"  # its sender may let go of it
    REJECTED = "rejected"  # it was given up here; its sender may let go of it
    FULL = "full"  # too far ahead of what is open; its sender keeps it


class _Head(msgspec.Struct, array_like=True):
    format: int
    oldest: int
    heard_at_s: float


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Head).decode


@dataclass(slots=True)
class Draft:
    """A commit of one window: what it stores, and what to apply then."""

    ops: list[Op]
    done: list[int]
    chunks: dict[int, bytearray]
    dropped: list[int]


class Received:
    """The window of one origin.

    Args:
        origin: identity of the outbox.
        window: how far above the oldest open sequence messages are taken.
        now_s: wall time.

    Attributes:
        oldest: everything below was settled, as its sender says.
        accepted: in the mailbox or being handled.
        rejected: given up here.
        done: handled, not stored yet.
        heard_at_s: wall time at which the origin was heard of last.
        is_stored: it is known to the store.
    """

    __slots__ = (
        "_chunks", "_dropped", "_origin", "_window", "accepted", "done", "heard_at_s", "is_stored", "oldest",
        "rejected",
    )  # fmt: skip

    def __init__(self, origin: str, window: int, now_s: float) -> None:
        self._origin = origin
        self._window = window
        self._chunks: dict[int, bytearray] = {}
        self._dropped: set[int] = set()  # chunks that the store still has
        self.accepted: set[int] = set()
        self.rejected: dict[int, str] = {}
        self.done: set[int] = set()
        self.oldest = 1
        self.heard_at_s = now_s
        self.is_stored = False

    def is_acknowledged(self, sequence: int) -> bool:
        """Whether a message is done with, durably."""
        if sequence < self.oldest:
            return True
        chunk = self._chunks.get(sequence >> _SHIFT)
        return chunk is not None and bool(chunk[(sequence & _MASK) >> 3] >> (sequence & 7) & 1)

    def look(self, sequence: int) -> Receipt:
        """Return what becomes of a message if it arrives now; changes nothing."""
        if self.is_acknowledged(sequence):
            return Receipt.ACKNOWLEDGED
        if sequence in self.accepted or sequence in self.done:
            return Receipt.HELD
        if sequence in self.rejected:
            return Receipt.REJECTED
        return Receipt.FULL if sequence - self.oldest >= self._window else Receipt.NEW

    def advance(self, oldest: int) -> None:
        """Learn that everything below ``oldest`` is settled; a lower value than before changes nothing."""
        if oldest <= self.oldest:
            return
        passes = oldest >> _SHIFT > self.oldest >> _SHIFT
        self.oldest = oldest
        if passes:
            for index in [index for index in self._chunks if index < oldest >> _SHIFT]:
                del self._chunks[index]
                self._dropped.add(index)
            self.accepted = {sequence for sequence in self.accepted if sequence >= oldest}
            self.rejected = {sequence: why for sequence, why in self.rejected.items() if sequence >= oldest}

    def finish(self, sequence: int) -> bool:
        """Mark a message as handled; False when that is stored already.

        Raises:
            InvalidInput: it is above the window, so it cannot have been accepted.
        """
        if self.is_acknowledged(sequence):
            self.accepted.discard(sequence)
            return False
        if sequence - self.oldest >= self._window:
            raise InvalidInput(f"Message {sequence} of {self._origin} was never accepted.")
        self.accepted.discard(sequence)
        self.rejected.pop(sequence, None)
        self.done.add(sequence)
        return True

    def draft(self) -> Draft | None:
        """Return what to store; None when there is nothing."""
        done = [sequence for sequence in self.done if sequence >= self.oldest]
        if not done:
            self.done.clear()
            return None
        chunks: dict[int, bytearray] = {}
        for sequence in done:
            chunk = chunks.get(sequence >> _SHIFT)
            if chunk is None:
                known = self._chunks.get(sequence >> _SHIFT)
                chunk = chunks[sequence >> _SHIFT] = (
                    bytearray(CHUNK_BYTES) if known is None else bytearray(known)
                )
            chunk[(sequence & _MASK) >> 3] |= 1 << (sequence & 7)
        ops: list[Op] = [
            Put(chunk_key(self._origin, index), bytes(chunk.rstrip(b"\0"))) for index, chunk in chunks.items()
        ]
        dropped = list(self._dropped)
        if dropped or not self.is_stored:
            # In the same commit: what the store forgets must lie below what it knows to be settled.
            ops.append(Put(HEADS + self._origin, _encode(_Head(_FORMAT, self.oldest, self.heard_at_s))))
            ops += [Delete(chunk_key(self._origin, index)) for index in dropped]
        return Draft(ops, done, chunks, dropped)

    def apply(self, draft: Draft) -> None:
        """Take over what is stored now."""
        self.is_stored = True
        self._dropped.difference_update(draft.dropped)
        for index, chunk in draft.chunks.items():
            if index < self.oldest >> _SHIFT:
                self._dropped.add(index)
            else:
                self._chunks[index] = chunk
        self.done.difference_update(draft.done)

    def forget(self) -> list[Op]:
        """Return what removes all of it from the store."""
        indexes = [*self._chunks, *self._dropped]
        ops: list[Op] = [Delete(chunk_key(self._origin, index)) for index in indexes]
        return [*ops, Delete(HEADS + self._origin)] if self.is_stored else ops

    def load_head(self, value: bytes) -> None:
        """Take over the stored head.

        Raises:
            ValueError: it cannot be read by this version.
        """
        head = _decode(value)
        if head.format != _FORMAT:
            raise ValueError("another format")
        self.oldest, self.heard_at_s, self.is_stored = head.oldest, head.heard_at_s, True

    def load_chunk(self, index: int, value: bytes) -> None:
        """Take over a stored chunk, after the head.

        Raises:
            ValueError: it is too long.
        """
        if len(value) > CHUNK_BYTES:
            raise ValueError("too long")
        if index < self.oldest >> _SHIFT:
            self._dropped.add(index)
        else:
            self._chunks[index] = bytearray(value.ljust(CHUNK_BYTES, b"\0"))


def chunk_key(origin: str, index: int) -> str:
    """Return the key of one chunk."""
    return f"{CHUNKS}{origin}/{index}"


def split_chunk_key(key: str) -> tuple[str, int]:
    """Return origin and index of a chunk's key.

    Raises:
        ValueError: it is none.
    """
    origin, _, index = key.removeprefix(CHUNKS).rpartition("/")
    return origin, int(index)


def is_idle(window: Received, before_s: float) -> bool:
    """Whether nothing of an origin is at hand and it was not heard of since ``before_s``."""
    return not window.accepted and not window.done and window.heard_at_s < before_s


def oldest_heard(windows: Iterable[tuple[str, Received]]) -> list[str]:
    """Return the origins, the one that was silent longest first."""
    return [origin for origin, _ in sorted(windows, key=lambda each: each[1].heard_at_s)]
