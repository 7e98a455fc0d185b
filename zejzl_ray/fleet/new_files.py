"""Files that appear whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from zejzl_ray.errors import Conflict, InvalidInput

BEFORE = ".before"


def write_files(files: Mapping[Path, str], *, is_overwriting: bool = False) -> None:
    """Write all files, or none: each is written beside its place first, then all are moved into place.

    Folders are made as needed. Writing the same again is safe. A file that is overwritten with something else stays
    beside it as ``NAME.before``, until the next time.

    Raises:
        Conflict: a file is already there and ``is_overwriting`` is False; nothing was written.
        InvalidInput: a file cannot be written, for example because the disk is full; nothing was replaced.
    """
    there = [str(path) for path in files if path.exists()]
    if there and not is_overwriting:
        raise Conflict(
            f"already there: {', '.join(there)}.", "Choose another place, or overwrite with --force."
        )
    waiting: dict[Path, Path] = {}
    try:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
            waiting[path] = Path(temporary)
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            waiting[path].chmod(0o644)
        for path, text in files.items():
            if path.is_file() and path.read_bytes() != text.encode():
                former = path.with_name(f"{path.name}{BEFORE}")
                waiting[former] = waiting[path].with_name(f"{waiting[path].name}{BEFORE}")
                shutil.copy2(path, waiting[former])
                waiting[former].replace(former)
                del waiting[former]
        for path, ready in waiting.items():
            ready.replace(path)
    except OSError as problem:
        raise InvalidInput(
            f"cannot write: {problem}.", "Check the folder, its permissions and the free space."
        ) from None
    finally:
        for ready in waiting.values():
            ready.unlink(missing_ok=True)
