"""The end of a back-up's file: the SHA-256 of everything before it.

It is a gzip member of its own, so `tar xzf`, `gzip -t` and the like read the file without a complaint. gzip's own sums
do not cover its headers, and a file cut off at the end of a member would look whole.
"""

import hashlib
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, Final

from zejzl_ray.errors import InvalidInput, NotFound

_WORD: Final = b"zejzl-ray back-up sha256 "
_CHUNK_BYTES: Final = 1024 * 1024
_DAMAGED: Final = "Take another one: `zejzl backup list` shows them."


class SealingWriter:
    """A file that is written to the end once, and then sealed."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()

    def write(self, content: bytes) -> int:
        """Write on."""
        self._digest.update(content)
        return self._file.write(content)

    def flush(self) -> None:
        """Hand what was written to the system."""
        self._file.flush()

    def seal(self) -> None:
        """Write the seal; nothing may follow."""
        self._file.write(seal_of(self._digest.digest()))
        self._file.flush()


def seal_of(digest: bytes) -> bytes:
    """Return the bytes of the seal: a gzip member with one block that is not compressed."""
    content = _WORD + digest.hex().encode() + b"\n"
    size = len(content)
    return (
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
        + b"\x01"
        + struct.pack("<HH", size, size ^ 0xFFFF)
        + content
        + struct.pack("<II", zlib.crc32(content), size)
    )


SEAL_BYTES: Final = len(seal_of(bytes(32)))


def check_seal(path: Path) -> None:
    """Read the whole file and return when every byte of it is as it was written.

    Raises:
        NotFound: there is no such file.
        InvalidInput: it is no back-up, was cut short, or is damaged.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - SEAL_BYTES))
            seal = file.read()
            file.seek(0)
            digest, left = hashlib.sha256(), size - SEAL_BYTES
            is_gzip = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            while left > 0 and (chunk := file.read(min(left, _CHUNK_BYTES))):
                digest.update(chunk)
                left -= len(chunk)
    except FileNotFoundError:
        raise NotFound(f"{path} does not exist.", "`zejzl backup list` shows what there is.") from None
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}.", "Check its owner and mode.") from None
    if seal == seal_of(digest.digest()):
        return
    if _WORD in seal:
        raise InvalidInput(f"{path} was cut short or is damaged: its SHA-256 is another one.", _DAMAGED)
    if is_gzip:
        raise InvalidInput(f"{path} was cut short, or is no back-up of zejzl.", _DAMAGED)
    raise InvalidInput(f"{path} is no back-up of zejzl.", _DAMAGED)
