"""What an outbox has stored: which message lies in which entry of its log, and what the next entry holds.

The log is all there is. Every entry holds new messages, the sequences settled since the entry before it, and the
counters. Entries go from the front: one whose messages are all settled is not needed, since what it settled lay in
entries before it. A message that stays while everything behind it is settled is written again at the end once half of
the log is of no use, so the log never takes much more than twice what is unsettled. The last entry always stays: it
holds the counters.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Final

import msgspec

from zejzl_ray.bus import codec
from zejzl_ray.bus.kept_dead_letters import ACKNOWLEDGED, bury, count_dead, is_dead
from zejzl_ray.bus.message import Message
from zejzl_ray.errors import InvalidInput, StoreError
from zejzl_ray.store.protocol import Append, Op, Trim

LOG: Final = "mail"
_FORMAT: Final = 1
_ENTRY_BYTES: Final = 128  # what an entry costs beside its messages; about
_USELESS_BYTES: Final = 1_048_576  # that much may be of no use in any case
_MOVED_BYTES: Final = 1_048_576  # written again with one commit, or one entry where that is larger
MAX_ENTRY_BYTES: Final = 41_943_040  # a store takes commits of 64 MiB


class _Entry(msgspec.Struct, array_like=True):
    format: int
    origin: str
    next_sequence: int
    settled: list[int]  # first, last, first, last ...
    totals: dict[str, int]
    messages: msgspec.Raw  # an array, as codec.join writes it


_encode: Final = msgspec.msgpack.Encoder().encode
_decode_entry: Final = msgspec.msgpack.Decoder(_Entry).decode
_decode_parts: Final = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode


@dataclass(slots=True, eq=False)
class Segment:
    """One entry of the log."""

    index: int
    size_bytes: int = _ENTRY_BYTES
    live: int = 0
    members: list["Kept"] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Kept:
    """One message of the outbox; ``encoded`` holds its sequence too."""

    sequence: int
    to_agent: str
    encoded: bytes
    segment: Segment | None = None


@dataclass(slots=True)
class Change:
    """One commit: what to store, and what to apply once it is."""

    ops: list[Op]
    segment: Segment
    settled: list[int]
    totals: Counter[str]
    next_sequence: int
    through: int


class OutboxLog:
    """The committed content of an outbox, in memory.

    Attributes:
        origin: identity of this outbox, for ever; another one if its store is emptied.
        next_sequence: above every sequence that was committed.
        totals: how many messages were settled, by reason, since the outbox exists.
        live_bytes: of the messages that are not settled.
        log_bytes: of all entries that are kept; about.
    """

    def __init__(self, name: str, origin: str) -> None:
        self._name = name
        self.origin = origin
        self.next_sequence = 1
        self.totals: Counter[str] = Counter()
        self.live_bytes = 0
        self.log_bytes = 0
        self._last_index = 0
        self._segments: dict[int, Segment] = {}  # by index, ascending
        self._kept: dict[int, Kept] = {}  # by sequence, ascending
        self._by_agent: dict[str, dict[int, Kept]] = {}  # receiver -> its messages by sequence, ascending

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, sequence: int) -> bool:
        return sequence in self._kept

    def get(self, sequence: int) -> Kept | None:
        """Return a message that is not settled."""
        return self._kept.get(sequence)

    def sequences(self, agent: str | None = None) -> Iterable[int]:
        """Return what is not settled, of one receiver or of all, oldest first."""
        return self._kept if agent is None else self._by_agent.get(agent, {})

    def oldest(self, agent: str | None = None) -> int:
        """Return the oldest sequence that is not settled; where there is none, the next one that could be committed."""
        return next(iter(self.sequences(agent)), self.next_sequence)

    def load(self, index: int, value: bytes) -> None:
        """Take over a stored entry; entries come in the order of their indexes, ``loaded`` after the last.

        Raises:
            StoreError: it cannot be read by this version.
        """
        try:
            entry = _decode_entry(value)
            if entry.format != _FORMAT:
                raise InvalidInput("another format")
            parts = [bytes(part) for part in _decode_parts(entry.messages)]
            messages = [codec.decode(part) for part in parts]
        except (msgspec.MsgspecError, ValueError, InvalidInput):
            # Without the reason: it could quote what is stored.
            raise StoreError(
                f"Entry {index} of the log {LOG!r} in the outbox of {self._name} cannot be read by this version.",
                "Was it written by a newer version? Run that one, or restore a backup.",
            ) from None
        self.origin = entry.origin
        segment = Segment(index)
        new = [
            Kept(message.sequence, message.to_agent, part)
            for message, part in zip(messages, parts, strict=True)
        ]
        segment.members = new
        self._apply(segment, [])
        for first, last in zip(entry.settled[::2], entry.settled[1::2], strict=False):
            some = range(first, last + 1)
            self._settle(some if len(some) <= len(self._kept) else [key for key in self._kept if key in some])
        self.totals = Counter(entry.totals)
        self.next_sequence = entry.next_sequence

    def loaded(self) -> list[Message]:
        """Put what was loaded into the order of the sequences and return it."""
        self._kept = dict(sorted(self._kept.items()))
        self._by_agent = {}
        for sequence, kept in self._kept.items():
            self._by_agent.setdefault(kept.to_agent, {})[sequence] = kept
        return [codec.decode(kept.encoded) for kept in self._kept.values()]

    def draft(
        self, added: list[Kept], settled: Mapping[int, str], now_s: float, dead_letters: int
    ) -> Change | None:
        """Return what to commit; None when there is nothing.

        Args:
            added: new messages, ascending, above all earlier ones.
            settled: sequence -> reason, of messages that are committed.
            now_s: wall time.
            dead_letters: how many dead letters to keep.
        """
        if not added and not settled:
            return None
        gone: Counter[int] = Counter()  # index -> messages that this commit settles
        totals = self.totals.copy()
        for sequence, reason in settled.items():
            if (kept := self._kept.get(sequence)) is not None and kept.segment is not None:
                gone[kept.segment.index] += 1
                totals[reason or ACKNOWLEDGED] += 1
        room_bytes = MAX_ENTRY_BYTES - sum(len(kept.encoded) for kept in added)
        moved, through = self._from_the_front(gone, settled, room_bytes)
        messages = moved + added
        next_sequence = added[-1].sequence + 1 if added else self.next_sequence
        value = _encode(
            _Entry(
                _FORMAT,
                self.origin,
                next_sequence,
                _ranges(settled),
                dict(totals),
                msgspec.Raw(codec.join([kept.encoded for kept in messages])),
            )
        )
        ops: list[Op] = [Append(LOG, value)]
        if through:
            ops.append(Trim(LOG, through))
        given_up = [
            (reason, kept.encoded)
            for sequence, reason in settled.items()
            if is_dead(reason) and (kept := self._kept.get(sequence)) is not None
        ]
        ops += bury(given_up, count_dead(totals), now_s, dead_letters)
        segment = Segment(self._last_index + 1, members=messages)
        return Change(ops, segment, list(settled), totals, next_sequence, through)

    def apply(self, change: Change) -> None:
        """Take over what is stored now."""
        for index in list(takewhile(lambda index: index <= change.through, self._segments)):
            self.log_bytes -= self._segments.pop(index).size_bytes
        self._apply(change.segment, change.settled)
        self.totals = change.totals
        self.next_sequence = change.next_sequence

    def _apply(self, segment: Segment, settled: Iterable[int]) -> None:
        self._segments[segment.index] = segment
        self._last_index = segment.index
        kept_by_sequence, by_agent = self._kept, self._by_agent
        for kept in segment.members:
            kept.segment = segment
            size_bytes = len(kept.encoded)
            segment.size_bytes += size_bytes
            if kept_by_sequence.get(kept.sequence) is not kept:  # else it was written again
                self.live_bytes += size_bytes
                kept_by_sequence[kept.sequence] = kept
                agents = by_agent.get(kept.to_agent)
                if agents is None:
                    agents = by_agent[kept.to_agent] = {}
                agents[kept.sequence] = kept
        segment.live = len(segment.members)
        self.log_bytes += segment.size_bytes
        self._settle(settled)

    def _settle(self, settled: Iterable[int]) -> None:
        for sequence in settled:
            gone = self._kept.pop(sequence, None)
            if gone is None:
                continue
            self.live_bytes -= len(gone.encoded)
            if (home := gone.segment) is not None:
                home.live -= 1
                if not home.live:
                    home.members = []
            agents = self._by_agent[gone.to_agent]
            del agents[sequence]
            if not agents:
                del self._by_agent[gone.to_agent]

    def _from_the_front(
        self, gone: Mapping[int, int], settled: Mapping[int, str], room_bytes: int
    ) -> tuple[list[Kept], int]:
        """Return what to write again, and through which entry the log is of no use then."""
        moved: list[Kept] = []
        moved_bytes, through = 0, 0
        useless_bytes = self.log_bytes - self.live_bytes
        for index, segment in self._segments.items():
            if segment.live - gone.get(index, 0):
                if useless_bytes < self.live_bytes + _USELESS_BYTES or moved_bytes >= _MOVED_BYTES:
                    break
                live = [
                    kept
                    for kept in segment.members
                    if kept.segment is segment and self._is_open(kept, settled)
                ]
                live_bytes = sum(len(kept.encoded) for kept in live)
                if moved_bytes + live_bytes > room_bytes:
                    break
                moved += live
                moved_bytes += live_bytes
                useless_bytes -= segment.size_bytes - live_bytes
            through = index
        return moved, through

    def _is_open(self, kept: Kept, settled: Mapping[int, str]) -> bool:
        return kept.sequence not in settled and self._kept.get(kept.sequence) is kept


def _ranges(sequences: Iterable[int]) -> list[int]:
    flat: list[int] = []
    ordered: Sequence[int] = sorted(sequences)
    for sequence in ordered:
        if flat and flat[-1] == sequence - 1:
            flat[-1] = sequence
        else:
            flat += (sequence, sequence)
    return flat
