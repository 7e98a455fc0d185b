"""The logs of one machine: those of all its processes, and Ray's own, as pages that can be followed."""

import asyncio
import fcntl
import heapq
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

from zejzl_ray.clock import Clock
from zejzl_ray.contracts.logs import LogLine, LogPage, ReadLogs
from zejzl_ray.errors import DeadlineExceeded
from zejzl_ray.machine.log_cursor import Cursor, Position, decode_cursor, encode_cursor
from zejzl_ray.machine.log_directory import LogChain, LogPlace, list_chains
from zejzl_ray.machine.log_lines import Wanted
from zejzl_ray.machine.log_reading import ChainLines, Entry, read_backward, read_forward

_MAX_CHAINS: Final = 256
_SEARCHED_BYTES: Final = 32 * 2**20  # of all files of a first page
_FOLLOWED_BYTES: Final = 8 * 2**20  # of all files of a next page
_LEAST_BYTES: Final = 256 * 1024  # of one file
_PAGE_BYTES: Final = 2 * 2**20
_NEWS_S: Final = 5.0  # a file that nobody knew may hold lines that are this much older than the page before
_AT_ONCE: Final = 2
_ATTEMPTS: Final = 3
_RENAMED_S: Final = 0.005
_WAIT_S: Final = 15.0
_READER_LOCK: Final = ".zejzl-logs-reader.lock"


@dataclass(frozen=True, slots=True)
class LogLimits:
    """How much one page looks at."""

    chains: int = _MAX_CHAINS
    searched_bytes: int = _SEARCHED_BYTES
    followed_bytes: int = _FOLLOWED_BYTES
    page_bytes: int = _PAGE_BYTES


class MachineLogFiles:
    """Reads the log files of the machine it runs on; which files is decided here, never by who asks.

    Two node agents of one computer may share Ray's files; the first of them reads them, so that no line comes twice.

    Args:
        machine: written into every line.
        places: the directories.
        clock: time.
        limits: how much one page looks at.
    """

    def __init__(
        self, machine: str, places: Sequence[LogPlace], clock: Clock, limits: LogLimits | None = None
    ) -> None:
        self._machine = machine
        self._places = tuple(places)
        self._clock = clock
        self._limits = limits or LogLimits()
        # Threads of its own: files that hang must not take those that everybody shares.
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="read-logs")
        self._locks: dict[Path, int] = {}

    async def read_logs(self, request: ReadLogs) -> LogPage:
        """Return a page, read in a thread; at most two are read at once.

        Raises:
            InvalidInput: the cursor is none.
            DeadlineExceeded: the files did not answer within 15 s.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_WAIT_S):
                return await loop.run_in_executor(self._threads, self.read, request)
        except TimeoutError:
            raise DeadlineExceeded(
                f"The logs of {self._machine} were not read within {_WAIT_S:g} s.",
                "Ask for less, or again later.",
            ) from None

    def read(self, request: ReadLogs) -> LogPage:
        """Return a page; blocks.

        Raises:
            InvalidInput: the cursor is none.
        """
        now_s = self._clock.now_s()
        since_s = 0.0 if request.since_s is None else now_s - request.since_s
        if request.cursor:
            return self._next(request, decode_cursor(request.cursor), since_s, now_s)
        return self._last(request, Wanted(request, since_s), now_s)

    def close(self) -> None:
        """End the threads and leave Ray's files to another reader; safe to repeat."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for lock in self._locks.values():
            os.close(lock)
        self._locks = {}

    def _chains(self, request: ReadLogs) -> tuple[list[LogChain], bool]:
        chains: list[LogChain] = []
        for place in self._places:
            if request.source in {"", "ray" if place.is_ray else "own"} and self._may_read(place):
                chains += list_chains(place)
        chains.sort(key=lambda chain: chain.changed_at_s, reverse=True)
        most = self._limits.chains
        return chains[:most], len(chains) > most

    def _last(self, request: ReadLogs, wanted: Wanted, now_s: float) -> LogPage:
        chains, is_left_out = self._chains(request)
        budget = max(_LEAST_BYTES, self._limits.searched_bytes // max(1, len(chains)))
        found = []
        for chain in chains:
            if chain.changed_at_s < wanted.since_s:
                limit, chain_budget = request.limit, 0  # its end is noted, its lines are too old
            else:
                limit, chain_budget = request.limit, budget
            found.append(read_backward(chain, wanted, limit=limit, budget_bytes=chain_budget))
        merged = list(_merged(found))[-request.limit :]
        kept = _fitting(reversed(merged), self._limits.page_bytes)[::-1]
        positions = {lines.end.key: lines.end for lines in found if lines.end is not None}
        is_cut = is_left_out or any(
            lines.has_more and lines.chain.changed_at_s >= wanted.since_s for lines in found
        )
        return LogPage(
            lines=tuple(self._line(lines, entry) for lines, entry in kept),
            cursor=encode_cursor(Cursor(now_s, positions)),
            is_cut=is_cut,
        )

    def _next(self, request: ReadLogs, cursor: Cursor, since_s: float, now_s: float) -> LogPage:
        # A file that the cursor does not know is new, or was left out before: then it begins with old lines.
        wanted = Wanted(request, since_s), Wanted(request, max(since_s, cursor.at_s - _NEWS_S))
        news = self._news(request, cursor, *wanted)
        for attempt in range(_ATTEMPTS):
            if news.is_disturbed or news.known >= cursor.positions.keys():
                break
            # A file is gone, or it was being renamed at that moment: read from its beginning it would come twice.
            time.sleep(_RENAMED_S * (attempt + 1))
            news = self._news(request, cursor, *wanted)
        taken = _fitting(islice(_merged(news.found), request.limit), self._limits.page_bytes)
        counts = Counter(lines.chain for lines, _ in taken)
        has_more = False
        # Of files that were renamed all the time nothing was read, and their places are among those of the cursor.
        positions = dict(cursor.positions) if news.is_disturbed else {}
        positions |= news.unchanged
        for lines in news.found:
            count = counts[lines.chain]
            is_whole = count == len(lines.entries)
            end = lines.end if is_whole else lines.entries[count].before
            # what was only looked at for its end has no lines to come
            has_more = (
                has_more or not is_whole or (lines.has_more and (lines.read_bytes > 0 or lines.is_disturbed))
            )
            if end is not None:
                positions.pop(lines.known_key, None)
                positions[end.key] = end
        return LogPage(
            lines=tuple(self._line(lines, entry) for lines, entry in taken),
            cursor=encode_cursor(Cursor(cursor.at_s if has_more else now_s, positions)),
            has_more=has_more,
            is_cut=news.is_left_out,
        )

    def _news(self, request: ReadLogs, cursor: Cursor, wanted: Wanted, wanted_of_new: Wanted) -> "_News":
        chains, is_left_out = self._chains(request)
        budget = max(_LEAST_BYTES, self._limits.followed_bytes // max(1, len(chains)))
        news = _News(is_left_out)
        for chain in chains:
            position = cursor.positions.get(chain.key)
            if position is not None and position.offset == chain.size:
                news.unchanged[chain.key] = position
            elif position is None and chain.changed_at_s < wanted_of_new.since_s:
                # it was left out before; only its end counts
                news.found.append(read_backward(chain, wanted_of_new, limit=1, budget_bytes=0))
            else:
                news.found.append(
                    read_forward(
                        chain,
                        cursor.positions.get,
                        wanted,
                        wanted_of_new,
                        limit=request.limit,
                        budget_bytes=budget,
                    )
                )
        news.known = news.unchanged.keys() | {lines.known_key for lines in news.found}
        return news

    def _line(self, lines: ChainLines, entry: Entry) -> LogLine:
        line = entry.line
        return LogLine(
            at_s=line.at_s,
            machine=self._machine,
            source=lines.chain.source,
            level=line.level,
            record=line.record,
        )

    def _may_read(self, place: LogPlace) -> bool:
        if not place.is_ray or place.directory in self._locks:
            return True
        try:
            lock = os.open(
                place.directory / _READER_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
            )
        except OSError:  # not there, or not ours to write: then nobody else reads it for us either
            return True
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            return False
        self._locks[place.directory] = lock
        return True


@dataclass(slots=True)
class _News:
    """What was found behind a cursor; ``known`` are the files of the cursor that are still there."""

    is_left_out: bool
    found: list[ChainLines] = field(default_factory=list)
    unchanged: dict[int, Position] = field(default_factory=dict)
    known: Set[int] = frozenset()

    @property
    def is_disturbed(self) -> bool:
        """Whether files of a chain were renamed all the time, so that it was not read."""
        return any(lines.is_disturbed for lines in self.found)


def _merged(found: Iterable[ChainLines]) -> Iterator[tuple[ChainLines, Entry]]:
    """Yield the lines of all chains by their time; those of one chain stay in their order."""

    def keyed(number: int, lines: ChainLines) -> Iterator[tuple[float, int, ChainLines, Entry]]:
        latest_s = 0.0
        for entry in lines.entries:
            latest_s = max(latest_s, entry.line.at_s)
            yield latest_s, number, lines, entry

    streams = [keyed(number, lines) for number, lines in enumerate(found)]
    for _, _, lines, entry in heapq.merge(*streams, key=lambda item: item[:2]):
        yield lines, entry


def _fitting(entries: Iterable[tuple[ChainLines, Entry]], page_bytes: int) -> list[tuple[ChainLines, Entry]]:
    """Return entries up to the size of a page, and one at least."""
    taken: list[tuple[ChainLines, Entry]] = []
    size = 0
    for lines, entry in entries:
        size += len(str(entry.line.record))
        if taken and size > page_bytes:
            break
        taken.append((lines, entry))
    return taken
