"""The log files of one directory: each with its rotated predecessors, opened without following anything."""

import os
import re
import stat
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from zejzl_ray.log.files import EXTRACTS

_NAME: Final = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9_.-]{0,200}?\.(?:log|out|err))(?:\.(?P<number>\d{1,3}))?"
)
_MAX_ROTATED: Final = 100
_ATTEMPTS: Final = 4
_RENAMED_S: Final = 0.003
_MAX_GAP: Final = (
    3  # names that are missing in a row while files are being renamed, before the chain has ended
)


@dataclass(frozen=True, slots=True)
class LogPlace:
    """A directory with log files.

    Attributes:
        directory: need not be there.
        is_ray: the files are Ray's.
    """

    directory: Path
    is_ray: bool = False


@dataclass(frozen=True, slots=True)
class LogChain:
    """A file that grows, and those that it was rotated into.

    Attributes:
        source: name of the file that grows.
        changed_at_s: wall time of the newest change.
        size: of the file that grows, bytes, when it was listed.
        key: of the file that grows, when it was listed; 0 when there was none.
    """

    directory: Path
    source: str
    is_ray: bool
    changed_at_s: float
    size: int
    key: int

    def opened(
        self, stack: ExitStack, is_last: Callable[["OpenFile"], bool] = lambda file: False
    ) -> tuple[list["OpenFile"], bool]:
        """Return the files, newest first, and whether they are all, in their order.

        They are not when they were rotated while they were opened, several times over.

        Args:
            stack: closes them.
            is_last: tells that older files are not wanted.
        """
        files: list[OpenFile] = []
        for attempt in range(_ATTEMPTS):
            time.sleep(_RENAMED_S * attempt)
            first, files = self._walk(stack, is_last)
            # Every rotation moves the newest file: while it is where it was, the others stand in their order.
            if not files or _key_at(first, is_ray=self.is_ray) == files[0].key:
                return files, True
        return files, False

    def _walk(self, stack: ExitStack, is_last: Callable[["OpenFile"], bool]) -> tuple[Path, list["OpenFile"]]:
        first = self.directory / self.source
        files: dict[int, OpenFile] = {}
        missing = 0
        # Newest first: a rotation meanwhile shows a file twice, which is seen; the other way round one would be missed.
        for number in range(_MAX_ROTATED + 1):
            path = self.directory / (f"{self.source}.{number}" if number else self.source)
            file = _open(path, is_ray=self.is_ray)
            if file is None:
                missing += 1
                if missing > _MAX_GAP:
                    break
                continue
            stack.callback(file.stream.close)
            missing = 0
            first = first if files else path
            if file.key not in files:
                files[file.key] = file
                if is_last(file):
                    break
        return first, list(files.values())


@dataclass(frozen=True, slots=True)
class OpenFile:
    """An open file, what tells it from others whatever it is called, and its size when it was opened."""

    stream: BinaryIO
    key: int
    size: int


def list_chains(place: LogPlace) -> list[LogChain]:
    """Return the files of a place; extracts are left out, since their lines are in the other files too."""
    newest: dict[str, LogChain] = {}
    try:
        entries = list(os.scandir(place.directory))
    except OSError:
        return []
    for entry in entries:
        found = _NAME.fullmatch(entry.name)
        if found is None or (not place.is_ray and found["name"].endswith(EXTRACTS)):
            continue
        try:
            facts = entry.stat(follow_symlinks=False)
        except OSError:  # gone meanwhile
            continue
        if not stat.S_ISREG(facts.st_mode):
            continue
        known = newest.get(found["name"])
        is_growing = found["number"] is None
        if known is None or is_growing:
            changed_at_s = max(facts.st_mtime, known.changed_at_s if known else 0.0)
            size, key = (facts.st_size, _key(facts, place.is_ray)) if is_growing else (0, 0)
            newest[found["name"]] = LogChain(
                place.directory, found["name"], place.is_ray, changed_at_s, size, key
            )
    return list(newest.values())


def _open(path: Path, *, is_ray: bool) -> OpenFile | None:
    try:
        # without waiting for the other end of a pipe that somebody put there
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode):
        os.close(descriptor)
        return None
    return OpenFile(os.fdopen(descriptor, "rb"), _key(facts, is_ray), facts.st_size)


def _key(facts: os.stat_result, is_ray: bool) -> int:
    """Return the inode with a bit for the place: Ray's files may lie on another file system."""
    return facts.st_ino * 2 + is_ray


def _key_at(path: Path, *, is_ray: bool) -> int:
    try:
        return _key(path.lstat(), is_ray)
    except OSError:
        return 0
