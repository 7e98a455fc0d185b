"""Reading one chain of log files, forward from a position or backward from its end."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from io import BytesIO
from itertools import takewhile
from typing import Final

from zejzl_ray.machine.log_cursor import Position, fingerprint
from zejzl_ray.machine.log_directory import LogChain, OpenFile
from zejzl_ray.machine.log_lines import LineReader, ReadLine, Wanted

_BLOCK_BYTES: Final = 256 * 1024
_MAX_LINE_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """A line that is wanted, and the position before it."""

    line: ReadLine
    before: Position


@dataclass(slots=True)
class ChainLines:
    """What was read of a chain.

    Attributes:
        entries: in the order of the files.
        end: where the next reading begins; null when there is no file.
        has_more: there is more that was not looked at.
        read_bytes: how much was looked at.
        known_key: the file whose position was known; 0 if there was none.
        is_disturbed: nothing was read, since the files were being renamed all the time.
    """

    chain: LogChain
    entries: list[Entry] = field(default_factory=list)
    end: Position | None = None
    has_more: bool = False
    read_bytes: int = 0
    known_key: int = 0
    is_disturbed: bool = False


def read_forward(
    chain: LogChain,
    known: Callable[[int], Position | None],
    wanted: Wanted,
    wanted_of_new: Wanted,
    *,
    limit: int,
    budget_bytes: int,
) -> ChainLines:
    """Read what comes behind a known position; all of the chain when none of its files is known.

    Args:
        chain: what to read.
        known: key -> position, null for a file that is not known.
        wanted: which lines count.
        wanted_of_new: which lines count when none of the files is known.
        limit: how many lines at most.
        budget_bytes: how much is looked at before the rest is left for the next time.
    """
    found = ChainLines(chain)
    with ExitStack() as stack:

        def position_of(file: OpenFile) -> Position | None:
            position = known(file.key)
            return position if position is not None and _is_same(file, position) else None

        newest_first, is_whole = chain.opened(stack, lambda file: position_of(file) is not None)
        if not is_whole:
            return ChainLines(chain, has_more=True, is_disturbed=True)
        files = newest_first[::-1]
        position = position_of(files[0]) if files else None
        if position is None:
            wanted, start = wanted_of_new, 0
        else:
            found.known_key, start = position.key, position.offset
        reader = LineReader(chain.source, is_ray=chain.is_ray, at_s=chain.changed_at_s)
        for number, file in enumerate(files):
            is_growing = number == len(files) - 1
            offset = start if number == 0 else 0
            head = _head(file)
            place = Position(file.key, offset, fingerprint(head, offset))
            file.stream.seek(offset)
            for raw in takewhile(bool, iter(lambda: file.stream.readline(_MAX_LINE_BYTES), b"")):  # noqa: B023  # used here only
                is_open = not raw.endswith(b"\n") and len(raw) < _MAX_LINE_BYTES
                # Not beyond the size it had: the fingerprint is of the bytes that were there then.
                if is_growing and (is_open or offset + len(raw) > file.size):
                    break  # its end is not written yet
                if len(found.entries) >= limit or found.read_bytes >= budget_bytes:
                    found.end, found.has_more = place, True
                    return found
                line = reader.read(raw)
                if line is not None and wanted.fits(line):
                    found.entries.append(Entry(line, place))
                found.read_bytes += len(raw)
                offset += len(raw)
                place = Position(file.key, offset, fingerprint(head, offset))
            found.end = place
    return found


def read_backward(chain: LogChain, wanted: Wanted, *, limit: int, budget_bytes: int) -> ChainLines:
    """Read the last lines that are wanted; ``has_more`` says that older ones were not looked at for their number."""
    found = ChainLines(chain)
    with ExitStack() as stack:
        files, _ = chain.opened(stack)
        for file in files:
            is_growing = found.end is None
            end = _whole_end(file) if is_growing else file.size
            if is_growing:
                found.end = Position(file.key, end, fingerprint(_head(file), end))
            while end > 0:
                if len(found.entries) >= limit:
                    return found
                if found.read_bytes >= budget_bytes:
                    found.has_more = True
                    return found
                start, block = _block_before(file, end)
                found.read_bytes += end - start
                lines = _lines_of(chain, file, block, start, wanted)
                found.entries = (lines.entries + found.entries)[-limit:]
                if lines.is_older:
                    return found
                end = start
    return found


def _is_same(file: OpenFile, position: Position) -> bool:
    return position.offset <= file.size and fingerprint(_head(file), position.offset) == position.print


def _head(file: OpenFile) -> bytes:
    file.stream.seek(0)
    return file.stream.read(256)


def _whole_end(file: OpenFile) -> int:
    """Return where the last whole line ends; 0 if there is none."""
    end = file.size
    while end > 0:
        start = max(0, end - _BLOCK_BYTES)
        file.stream.seek(start)
        cut = file.stream.read(end - start).rfind(b"\n")
        if cut >= 0:
            return start + cut + 1
        if file.size - start >= _MAX_LINE_BYTES:
            return file.size  # no line, whatever it is
        end = start
    return 0


def _block_before(file: OpenFile, end: int) -> tuple[int, bytes]:
    """Return whole lines that end at ``end``, and where the first of them begins."""
    length = _BLOCK_BYTES
    while True:
        start = max(0, end - length)
        file.stream.seek(start)
        block = file.stream.read(end - start)
        if start == 0:
            return 0, block
        # the line before may end exactly here
        file.stream.seek(start - 1)
        if file.stream.read(1) == b"\n":
            return start, block
        cut = block.find(b"\n", 0, -1)
        if cut >= 0:
            return start + cut + 1, block[cut + 1 :]
        if length >= _MAX_LINE_BYTES:
            return start, block
        length *= 2


@dataclass(slots=True)
class _Block:
    entries: list[Entry] = field(default_factory=list)
    is_older: bool = False


def _lines_of(chain: LogChain, file: OpenFile, block: bytes, start: int, wanted: Wanted) -> _Block:
    reader = LineReader(chain.source, is_ray=chain.is_ray, at_s=chain.changed_at_s)
    read: list[tuple[int, ReadLine]] = []
    timeless = 0  # lines before the first one with a time of its own
    offset = start
    for raw in BytesIO(block):
        line = reader.read(raw)
        if line is not None:
            read.append((offset, line))
            timeless += not reader.has_time
        offset += len(raw)
    if 0 < timeless < len(read):
        at_s = read[timeless][1].at_s
        read[:timeless] = [(place, replace(line, at_s=at_s)) for place, line in read[:timeless]]
    entries = [Entry(line, Position(file.key, place, 0)) for place, line in read if wanted.fits(line)]
    return _Block(entries, is_older=bool(read) and read[0][1].at_s < wanted.since_s)
