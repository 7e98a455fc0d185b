"""Files that only their owner may read: written whole and durably, or not at all."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zejzl_ray.errors import ClusterError


def write_private_file(path: Path, text: str) -> None:
    """Replace a file in one step with one of mode 0600; durable on return.

    Raises:
        ClusterError: it cannot be written; the file is what it was.
    """
    with _beside(path, text) as name:
        os.replace(name, path)  # noqa: PTH105  the temporary file is a name


def make_private_file(path: Path, text: str) -> None:
    """Make a file of mode 0600, durable on return; one that is there already stays as it is.

    Raises:
        ClusterError: it cannot be written.
    """
    # Unlike a rename, a link never replaces what somebody else has just made.
    with _beside(path, text) as name, contextlib.suppress(FileExistsError):
        os.link(name, path)


@contextmanager
def _beside(path: Path, text: str) -> Iterator[str]:
    """Write a temporary file in the same directory, and sync the directory once it has its name."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            yield name
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)  # noqa: PTH108  as above
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise ClusterError(
            f"Cannot write the file {path}: {error.strerror}.", "Look at its directory and at the disk."
        ) from None
