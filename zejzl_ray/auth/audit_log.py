"""How a chain lies in a log of the store, and how a page of it is found there.

An entry of the log holds one or more consecutive entries of the chain, one JSON document a line: a flush of 256
entries is one row, which takes a fraction of the time of 256. So the n-th entry of the log begins with entry n of the
chain or a later one, and a place is found by halving.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from zejzl_ray.auth.audit_chain import SealedEntries, decode_entry, digest_of, encode_entry
from zejzl_ray.contracts.audit import GENESIS, AuditEntry, AuditPage, ChainHead, ReadAudit
from zejzl_ray.errors import Conflict
from zejzl_ray.store.protocol import LogEntry, Store

_MOST_AT_ONCE: Final = 64
_MOST_STEPS_BACK: Final = 1000


@dataclass(frozen=True, slots=True)
class Place:
    """A row of the log, and the index of the chain's entry with which it begins."""

    row: LogEntry
    first: int


def log_name(chain: str) -> str:
    """Return the name of a chain's log."""
    return f"audit/{chain}"


def join_lines(entries: Sequence[AuditEntry]) -> bytes:
    """Return one value for the log that holds these entries."""
    return b"\n".join(lines_of(entries))


def lines_of(entries: Sequence[AuditEntry]) -> list[bytes]:
    """Return the stored form of each entry."""
    if isinstance(entries, SealedEntries):
        return entries.lines
    return [encode_entry(entry) for entry in entries]


def oldest_to_keep(oldest: int, last: int, keep: int) -> int:
    """Return the index of the oldest entry that stays; a hundredth more may gather, so that few commits trim."""
    return last - keep + 1 if last - oldest + 1 > keep + max(1, keep // 100) else oldest


def only_new(entries: Sequence[AuditEntry], head: ChainHead | None) -> Sequence[AuditEntry]:
    """Return the entries that follow ``head``; those up to it are passed over.

    Raises:
        Conflict: an entry is missing, of another chain, or does not link to the one before it.
    """
    known, known_hash = (head.index, head.hash) if head is not None else (0, GENESIS)
    if isinstance(entries, SealedEntries) and (entries.first_index, entries.previous) == (
        known + 1,
        known_hash,
    ):
        return entries  # linked to one another from the start
    chain, index = entries[0].chain, entries[0].index - 1
    if index > known:
        raise Conflict(
            f"The chain {chain} stands at entry {known}, so entry {index + 1} leaves a gap.",
            "Read its head and send the entries after it.",
        )
    link = entries[0].previous if index < known else known_hash
    for entry in entries:
        index += 1
        if entry.index != index or entry.chain != chain or entry.previous != link:
            raise Conflict(
                f"Entry {entry.index} of the chain {entry.chain} does not follow entry {index - 1} of {chain}.",
                "Read the chain's head and send the entries after it.",
            )
        link = entry.hash
        if index == known and link != known_hash:
            raise Conflict(
                f"The chain {chain} has another entry {known}.", "Read its head and go on from there."
            )
    new_from = known - entries[0].index + 1
    return entries[new_from:] if new_from else entries


def empty_page(chain: str) -> AuditPage:
    """Return what a chain without entries shows."""
    return AuditPage(entries=(), head=ChainHead(chain=chain, index=0, hash=GENESIS))


async def read_page(store: Store, log: str, head: ChainHead, oldest: int, request: ReadAudit) -> AuditPage:
    """Return a page of a chain of which head and oldest entry are known.

    An entry that is damaged comes with a hash that does not fit, at its place.

    Raises:
        StoreUnavailable: the store cannot be reached.
    """
    after = max(oldest - 1, head.index - request.limit) if request.is_newest else request.after
    after = max(after, oldest - 1)
    entries: list[AuditEntry] = []
    found = await locate(store, log, after + 1) if after < head.index else None
    at_once = 1
    # The row may begin with older entries. From here on the index of a line is counted, not believed.
    next_index = found.first if found is not None else 0
    after = max(after, next_index - 1)  # what is gone is not waited for: the page begins with what is there
    wanted = min(request.limit, head.index - after)
    rows: Sequence[LogEntry] = [found.row] if found is not None else []
    while rows:
        for row in rows:
            for line in row.value.split(b"\n"):
                if after < next_index <= after + wanted:
                    entries.append(decode_entry(line, head.chain, next_index))
                next_index += 1
        if len(entries) >= wanted:
            break
        rows = await store.read_log(log, after=rows[-1].index, limit=at_once)
        at_once = min(_MOST_AT_ONCE, at_once * 2)
    return AuditPage(entries=tuple(entries), head=head, oldest=oldest)


async def locate(store: Store, log: str, index: int) -> Place | None:
    """Return the row that holds entry ``index`` of a chain, or the oldest row when that is gone.

    Null when the log is empty. About twenty look-ups among a million.
    """
    # With one entry a row, its number is the index.
    row = await _row(store, log, index)
    if row is not None and row.index == index and _stated_first(row) == index:
        return Place(row, index)
    row = await _row(store, log, 1)
    if row is None:
        return None
    best = Place(row, await _first_index(store, log, row))
    low, high = row.index, max(row.index, index)
    while low < high:
        middle = (low + high + 1) // 2
        row = await _row(store, log, middle)
        first = await _first_index(store, log, row) if row is not None else 0
        if row is None or first > index:
            high = middle - 1
        else:
            low, best = middle, Place(row, first)
    return best


async def _first_index(store: Store, log: str, row: LogEntry) -> int:
    """Return the index with which a row begins; where that entry is damaged, counted from before."""
    lines = 0
    for _ in range(_MOST_STEPS_BACK):
        stated = _stated_first(row)
        if stated is not None:
            return stated + lines
        before = await _row(store, log, row.index - 1) if row.index > 1 else None
        if before is None or before.index >= row.index:
            break
        row, lines = before, lines + before.value.count(b"\n") + 1
    return row.index + lines


def _stated_first(row: LogEntry) -> int | None:
    """Return with which index a row says that it begins; an entry that does not have its hash is not believed."""
    entry = decode_entry(row.value.partition(b"\n")[0], "", row.index)
    return entry.index if digest_of(entry) == entry.hash else None


async def _row(store: Store, log: str, number: int) -> LogEntry | None:
    """Return a row, or the next one that is kept."""
    rows = await store.read_log(log, after=number - 1, limit=1)
    return rows[0] if rows else None
