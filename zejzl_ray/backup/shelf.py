"""The directory where back-ups lie: their names, what there is, and how many are kept."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from zejzl_ray.backup.archive import SUFFIX, Archive
from zejzl_ray.backup.manifest import Manifest
from zejzl_ray.errors import SettingsInvalid, ZejzlError

_NAME: Final = re.compile(r"zejzl-\d{8}T\d{6}\.\d{3}Z(?:-before-(restore|replica))?" + re.escape(SUFFIX))

Before = Literal["", "restore", "replica"]


@dataclass(frozen=True, slots=True)
class Shelved:
    """One file of the shelf: its manifest, or what is wrong with it."""

    path: Path
    size_bytes: int
    manifest: Manifest | None
    fault: str = ""


def new_path(shelf: Path, now_s: float, *, before: Before = "") -> Path:
    """Return where a back-up of that time goes; ``before`` is what would otherwise have destroyed the state."""
    at = datetime.fromtimestamp(now_s, UTC)
    suffix = f"-before-{before}" if before else ""
    return shelf / f"zejzl-{at:%Y%m%dT%H%M%S}.{at.microsecond // 1000:03d}Z{suffix}{SUFFIX}"


def make_shelf(shelf: Path) -> None:
    """Make the directory with mode 0700 where it is missing.

    Raises:
        SettingsInvalid: it cannot be made.
    """
    try:
        shelf.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsInvalid(
            f"the directory {shelf} cannot be used: {error.strerror}.",
            "Name one that this user may write to.",
        ) from None


def list_shelf(shelf: Path) -> list[Shelved]:
    """Return the back-ups of a directory, oldest first, each read from end to end."""
    return [_look(path) for path in _paths(shelf)]


def drop_old(shelf: Path, keep: int, *, before: Before = "") -> list[Path]:
    """Remove all but the newest ``keep`` back-ups of one kind; those of the other kinds, and other files, stay.

    Returns:
        What was removed.
    """
    alike = [path for path in _paths(shelf) if _before(path) == before]
    old: Sequence[Path] = alike[: max(0, len(alike) - keep)]
    for path in old:
        path.unlink(missing_ok=True)
    return list(old)


def _paths(shelf: Path) -> list[Path]:
    return sorted(path for path in shelf.glob(f"zejzl-*{SUFFIX}") if _NAME.fullmatch(path.name))


def _before(path: Path) -> str:
    match = _NAME.fullmatch(path.name)
    return (match.group(1) or "") if match is not None else ""


def _look(path: Path) -> Shelved:
    size_bytes = path.stat().st_size
    try:
        return Shelved(path, size_bytes, Archive.open(path).manifest)
    except ZejzlError as error:
        return Shelved(path, size_bytes, None, error.message.removeprefix(f"{path} "))
