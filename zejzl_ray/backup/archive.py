"""The file of a back-up: a tar of a manifest, of lines for each namespace and, when asked for, of secret files.

`zejzl-20260314T092653Z.tar.gz`: gzip, mode 0600, sealed. `tar xzf` takes it apart.
"""

import gzip
import hashlib
import io
import os
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, BinaryIO, Final, cast

from zejzl_ray.backup.lines import read_lines
from zejzl_ray.backup.manifest import Manifest, NamespaceInBackup, SecretInBackup, read_manifest
from zejzl_ray.backup.seal import SealingWriter, check_seal
from zejzl_ray.errors import Conflict, InvalidInput, StoreUnavailable
from zejzl_ray.store.image import Record

SUFFIX: Final = ".tar.gz"
_MANIFEST: Final = "manifest.json"
_LINES: Final = "namespaces/{}.jsonl"
_SECRET: Final = "secrets/{}"  # noqa: S105  a path, not a secret
_MAX_MANIFEST_BYTES: Final = 64 * 1024 * 1024


def write_archive(
    target: Path, manifest: Manifest, lines: Mapping[str, Path], secrets: Mapping[str, bytes]
) -> None:
    """Write the file: beside its place first, synced, then renamed, so that it is whole or not there.

    Args:
        target: must not exist yet.
        manifest: of what follows.
        lines: namespace -> file with its lines.
        secrets: name in the manifest -> content.

    Raises:
        Conflict: the target exists.
        StoreUnavailable: it cannot be written.
    """
    temporary: str | None = None
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)  # mode 0600
        with os.fdopen(descriptor, "wb") as file:
            sealing = SealingWriter(file)
            with (
                gzip.GzipFile("", "wb", compresslevel=6, fileobj=cast(BinaryIO, sealing), mtime=0) as packed,
                tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
            ):
                _add(tar, _MANIFEST, manifest.model_dump_json(indent=2).encode(), manifest.started_at_s)
                for name, path in lines.items():
                    _add(tar, _LINES.format(name), path, manifest.started_at_s)
                for name, content in secrets.items():
                    _add(tar, _SECRET.format(name), content, manifest.started_at_s)
            sealing.seal()
            os.fsync(file.fileno())
        os.link(temporary, target)  # unlike a rename it never replaces
        _sync_directory(target.parent)
    except FileExistsError:
        raise Conflict(f"{target} exists.", "Give another name.") from None
    except OSError as error:
        raise StoreUnavailable(
            f"{target} cannot be written: {error.strerror}.", "Check space and owner."
        ) from None
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


class Archive:
    """A back-up whose file was checked from its first byte to its last; make one with ``open``.

    Attributes:
        path: the file.
        manifest: what it says about itself.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest

    @classmethod
    def open(cls, path: Path) -> "Archive":
        """Check the file's sum and read its manifest.

        Raises:
            NotFound: no such file.
            InvalidInput: no back-up, cut short, damaged, or of a newer program.
        """
        check_seal(path)
        with _tar(path) as tar:
            first = tar.next()
            if first is None or first.name != _MANIFEST or first.size > _MAX_MANIFEST_BYTES:
                raise InvalidInput(f"{path} holds no manifest of a back-up.", "Take another back-up.")
            return cls(path, read_manifest(_content(tar, first), str(path)))

    def images(self) -> Iterator[tuple[str, Iterator[Record]]]:
        """Yield each namespace with its records, which must be used up before the next one.

        Raises:
            InvalidInput: what is in the file is not what the manifest says.
        """
        told = {_LINES.format(each.name): each for each in self.manifest.namespaces}
        with _tar(self.path) as tar:
            while (member := tar.next()) is not None:
                if (namespace := told.pop(member.name, None)) is not None:
                    opened = cast(IO[bytes], tar.extractfile(member))
                    yield namespace.name, self._records(opened, namespace)
        if told:
            raise InvalidInput(f"{self.path} lacks {next(iter(told))}.", "Take another back-up.")

    def secrets(self) -> Iterator[tuple[SecretInBackup, bytes]]:
        """Yield the secret files with their content.

        Raises:
            InvalidInput: one is not what the manifest says.
        """
        told = {_SECRET.format(each.name): each for each in self.manifest.secrets}
        with _tar(self.path) as tar:
            while (member := tar.next()) is not None:
                if (secret := told.pop(member.name, None)) is None:
                    continue
                content = _content(tar, member)
                if hashlib.sha256(content).hexdigest() != secret.sha256:
                    raise InvalidInput(
                        f"{self.path}: {member.name} is not what the manifest says.", "Take another back-up."
                    )
                yield secret, content
        if told:
            raise InvalidInput(f"{self.path} lacks {next(iter(told))}.", "Take another back-up.")

    def _records(self, opened: IO[bytes], namespace: NamespaceInBackup) -> Iterator[Record]:
        reader = _SummingReader(opened)
        yield from read_lines(
            cast(BinaryIO, io.BufferedReader(reader, 1024 * 1024)), f"{self.path}: {namespace.name}"
        )
        if reader.digest.hexdigest() != namespace.sha256:
            raise InvalidInput(
                f"{self.path}: {namespace.name} is not what the manifest says.", "Take another back-up."
            )


class _SummingReader(io.RawIOBase):
    """Reads on and sums what went by."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self.digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed's Buffer has no length
        content = self._source.read(len(buffer))
        self.digest.update(content)
        buffer[: len(content)] = content
        return len(content)


def _tar(path: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(path, mode="r:gz")
    except (OSError, EOFError, tarfile.TarError) as error:
        raise InvalidInput(f"{path} cannot be read as tar.gz: {error}.", "Take another back-up.") from None


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    return cast(IO[bytes], tar.extractfile(member)).read()


def _add(tar: tarfile.TarFile, name: str, content: bytes | Path, at_s: float) -> None:
    member = tarfile.TarInfo(name)
    member.mode, member.mtime = 0o600, int(at_s)
    if isinstance(content, bytes):
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    else:
        member.size = content.stat().st_size
        with content.open("rb") as file:
            tar.addfile(member, file)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def names_of(secrets: Sequence[SecretInBackup]) -> str:
    """Return the names of secret files, for a message."""
    return ", ".join(each.name for each in secrets)
