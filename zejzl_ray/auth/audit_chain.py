"""A chain of audit entries: sealing new ones, and finding the first that is not what it was.

An entry's hash is SHA-256 over the canonical JSON of all its other members: UTF-8, names sorted, no spaces, floats in
their shortest form. One of those members is the hash of the entry before. So whoever changes, removes, inserts or
swaps entries has to write all later ones anew, and disagrees with the heads that stand in the gateway's chain.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Final, overload

import orjson
from pydantic import ValidationError

from zejzl_ray.auth.audit_fact import Fact, make_fact
from zejzl_ray.contracts.audit import GENESIS, AuditEntry, ChainHead

_DAMAGED: Final = "This entry is damaged in its store and cannot be read."
_SORTED: Final = orjson.OPT_SORT_KEYS
_LINE: Final = b'%b,"hash":"%b"}'


class Fault(StrEnum):
    """What is wrong with the first broken entry of a chain."""

    CHANGED = "changed"
    REMOVED = "removed"
    INSERTED = "inserted"
    REORDERED = "reordered"
    OTHER_CHAIN = "of another chain"
    CUT_AT_FRONT = "cut off at the front"
    CUT_AT_END = "cut off at the end"
    WRITTEN_ANEW = "written anew"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Broken:
    """The first broken entry of a chain; ``index`` is the place where the entry should be."""

    chain: str
    index: int
    fault: Fault
    explanation: str


def seal(
    previous: ChainHead | None,
    chain: str,
    at_s: float,
    kind: str,
    *,
    subject: str = "",
    operation: str = "",
    target: str = "",
    outcome: str = "ok",
    reason: str = "",
    address: str = "",
    request_id: str = "",
    count: int = 1,
    details: Mapping[str, str] | None = None,
) -> AuditEntry:
    """Return the entry that follows ``previous``, null for the first; texts are cut and cleaned of secrets."""
    fact = make_fact(
        at_s, kind, subject, operation, target, outcome, reason, address, request_id, count, details
    )
    return seal_all(previous, chain, (fact,))[0]


class SealedEntries(Sequence[AuditEntry]):
    """Entries that were sealed together, in the form in which they are stored; models are made when asked for.

    Attributes:
        chain: the chain's name.
        first_index: index of the first entry.
        previous: hash before the first entry.
        lines: of each entry what ``encode_entry`` returns.
        hashes: of each entry.
    """

    __slots__ = ("chain", "first_index", "hashes", "lines", "previous")

    def __init__(
        self, chain: str, first_index: int, previous: str, lines: list[bytes], hashes: list[str]
    ) -> None:
        self.chain = chain
        self.first_index = first_index
        self.previous = previous
        self.lines = lines
        self.hashes = hashes

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.lines)

    @overload
    def __getitem__(self, place: int) -> AuditEntry: ...

    @overload
    def __getitem__(self, place: slice) -> list[AuditEntry]: ...

    def __getitem__(self, place: int | slice) -> AuditEntry | list[AuditEntry]:
        """Return entries as models."""
        if isinstance(place, slice):
            return [AuditEntry.model_validate_json(line) for line in self.lines[place]]
        return AuditEntry.model_validate_json(self.lines[place])

    @property
    def head(self) -> ChainHead:
        """Where the chain stands behind them; there is at least one."""
        return ChainHead(chain=self.chain, index=self.first_index + len(self.lines) - 1, hash=self.hashes[-1])


def seal_all(previous: ChainHead | None, chain: str, facts: Iterable[Fact]) -> SealedEntries:
    """Return one entry a fact, each linked to the one before it."""
    before, link = (previous.index, previous.hash) if previous is not None else (0, GENESIS)
    sealed = SealedEntries(chain, before + 1, link, [], [])
    lines, hashes = sealed.lines, sealed.hashes
    index = before
    for (
        at_s, kind, subject, operation, target, outcome, reason, address, request_id, count, details,
    ) in facts:  # fmt: skip
        index += 1
        canonical = orjson.dumps(
            {
                "address": address,
                "at_s": float(at_s),
                "chain": chain,
                "count": count,
                "details": details,
                "index": index,
                "kind": kind,
                "operation": operation,
                "outcome": outcome,
                "previous": link,
                "reason": reason,
                "request_id": request_id,
                "subject": subject,
                "target": target,
            },
            option=_SORTED,
        )
        link = sha256(canonical).hexdigest()
        # A new object on purpose: orjson's own keeps memory beyond what it needs, which is slow to hold on to.
        lines.append(_LINE % (canonical[:-1], link.encode()))
        hashes.append(link)
    return sealed


def head_after(entries: Sequence[AuditEntry]) -> ChainHead:
    """Return where the chain stands after these entries, of which there is at least one."""
    if isinstance(entries, SealedEntries):
        return entries.head
    return ChainHead(chain=entries[-1].chain, index=entries[-1].index, hash=entries[-1].hash)


def digest_of(entry: AuditEntry) -> str:
    """Return the hash that the entry should have; empty when its members cannot be written as JSON."""
    members = entry.__dict__.copy()
    members.pop("hash", None)
    try:
        return sha256(orjson.dumps(members, option=_SORTED)).hexdigest()
    except TypeError:
        return ""


def encode_entry(entry: AuditEntry) -> bytes:
    """Return the entry as it is stored and exported: the canonical JSON, with ``hash`` as its last member."""
    members = entry.__dict__.copy()
    digest = members.pop("hash")
    return _LINE % (orjson.dumps(members, option=_SORTED)[:-1], digest.encode())


def decode_entry(value: bytes, chain: str, index: int) -> AuditEntry:
    """Return a stored entry.

    Bytes that ``encode_entry`` would not have written come back as an entry whose hash does not fit, at the place
    where they were found: reading goes on, and checking names it.
    """
    try:
        entry = AuditEntry.model_validate_json(value)
        if encode_entry(entry) == value:
            return entry
    except (ValidationError, TypeError):
        pass
    return AuditEntry(
        chain=chain, index=index, at_s=0.0, kind="dropped", reason=_DAMAGED, previous=GENESIS, hash=GENESIS
    )


def verify_chain(
    entries: Iterable[AuditEntry],
    previous: str = GENESIS,
    first_index: int = 1,
    *,
    chain: str | None = None,
    head: ChainHead | None = None,
) -> Broken | None:
    """Return the first broken entry of a chain; null when all is as it was written.

    Args:
        entries: in the order in which they were kept; read once.
        previous: hash before the first entry. Where older entries were given up, that of the oldest that is kept.
        first_index: index that the first entry has to have.
        chain: the chain's name; null takes it from the first entry.
        head: where the chain is said to stand; null when nobody says.
    """
    rest = iter(entries)
    expected, link, is_first = first_index, previous, True
    entry = next(rest, None)
    name = chain if chain is not None else (entry.chain if entry is not None else "")
    while entry is not None:
        following = next(rest, None)
        if digest_of(entry) != entry.hash:
            return Broken(
                name,
                expected,
                Fault.CHANGED,
                f"The entry at {expected} does not have the hash that it states.",
            )
        if entry.chain != name:
            return Broken(
                name, expected, Fault.OTHER_CHAIN, f"The entry at {expected} belongs to {entry.chain!r}."
            )
        if entry.index != expected:
            return _misplaced(entry, expected, name, is_first, _with(following, rest))
        if entry.previous != link:
            return _unlinked(entry, following, head, name, is_first)
        expected, link, is_first = expected + 1, entry.hash, False
        entry = following
    return _short_of(head, name, expected, link) if head is not None else None


def _misplaced(
    entry: AuditEntry, expected: int, name: str, is_first: bool, rest: Iterator[AuditEntry]
) -> Broken:
    if entry.index < expected:
        return Broken(
            name, expected, Fault.INSERTED, f"An entry with the index {entry.index} stands in its place."
        )
    if any(each.index == expected for each in rest):
        return Broken(name, expected, Fault.REORDERED, f"Entry {expected} stands behind entry {entry.index}.")
    fault = Fault.CUT_AT_FRONT if is_first else Fault.REMOVED
    gone = f"entry {expected} is" if entry.index == expected + 1 else f"{expected} to {entry.index - 1} are"
    return Broken(name, expected, fault, f"Of the entries, {gone} not there any more.")


def _unlinked(
    entry: AuditEntry, following: AuditEntry | None, head: ChainHead | None, name: str, is_first: bool
) -> Broken:
    """Name the one of two neighbours that nobody vouches for: this entry, or the one before it."""
    vouching = following.previous if following is not None else head.hash if head is not None else ""
    if vouching == entry.hash and not is_first:
        index = entry.index - 1
        said = f"Entry {index} has another hash than the one that entry {entry.index} states."
        return Broken(name, index, Fault.CHANGED, said)
    said = f"Entry {entry.index} does not follow what stands before it."
    return Broken(name, entry.index, Fault.CUT_AT_FRONT if is_first else Fault.CHANGED, said)


def _short_of(head: ChainHead, name: str, expected: int, link: str) -> Broken | None:
    if expected <= head.index:
        said = f"The chain should go on to entry {head.index}."
        return Broken(name, expected, Fault.CUT_AT_END, said)
    if expected == head.index + 1 and head.index and link != head.hash:
        return Broken(name, head.index, Fault.CHANGED, f"Entry {head.index} is not the head that was stated.")
    return None


def _with(first: AuditEntry | None, rest: Iterator[AuditEntry]) -> Iterator[AuditEntry]:
    if first is not None:
        yield first
    yield from rest
