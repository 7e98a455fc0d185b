"""What a back-up says about itself; the first thing in its file."""

from typing import Any, Final

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from zejzl_ray.backup.lines import STORE_LAYOUT
from zejzl_ray.errors import InvalidInput

FILE_FORMAT: Final = 1  # how the file is put together


class NamespaceInBackup(BaseModel):
    """One namespace.

    Attributes:
        taken_at_s: wall time when reading it began; every commit acknowledged before is in it.
        epoch: of the writer at that moment.
        commits: how many the namespace had seen.
        entries: keys, those among them whose expiry has passed.
        logs: how many logs, and ``log_entries`` how many entries they keep together.
        size_bytes: of its lines, not compressed.
        sha256: of its lines.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    taken_at_s: float
    epoch: int
    commits: int
    entries: int
    logs: int
    log_entries: int
    size_bytes: int
    sha256: str


class SecretInBackup(BaseModel):
    """One secret file, relative to the data directory."""

    model_config = ConfigDict(frozen=True)

    name: str
    mode: int = Field(ge=0, le=0o777)
    size_bytes: int
    sha256: str


class Manifest(BaseModel):
    """The whole back-up.

    Attributes:
        file_format: how the file is put together; ``store_layout``: what its lines mean.
        zejzl_ray: version of the program that wrote it.
        store: kind of the store that was read: sqlite or redis.
        started_at_s: wall time, as ``ended_at_s``.
    """

    model_config = ConfigDict(frozen=True)

    file_format: int
    store_layout: int
    zejzl_ray: str
    store: str
    started_at_s: float
    ended_at_s: float
    namespaces: tuple[NamespaceInBackup, ...]
    secrets: tuple[SecretInBackup, ...] = ()

    @property
    def entries(self) -> int:
        """Keys and log entries of all namespaces."""
        return sum(each.entries + each.log_entries for each in self.namespaces)


def read_manifest(content: bytes, place: str) -> Manifest:
    """Return the manifest.

    Raises:
        InvalidInput: a newer program wrote it, or it is no manifest.
    """
    try:
        fields: dict[str, Any] = orjson.loads(content)
        found = (int(fields["file_format"]), int(fields["store_layout"]))
        if found[0] > FILE_FORMAT or found[1] > STORE_LAYOUT:
            raise InvalidInput(
                f"{place} was written by zejzl-ray {fields.get('zejzl_ray')} (file format {found[0]}, store layout "
                f"{found[1]}); this program knows {FILE_FORMAT} and {STORE_LAYOUT}.",
                "Use that version or a newer one.",
            )
        return Manifest.model_validate(fields)
    except (ValueError, KeyError, TypeError, ValidationError):
        raise InvalidInput(f"{place} holds no manifest of a back-up.", "Take another back-up.") from None
