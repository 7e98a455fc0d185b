"""Files of the data directory that hold an identity: the administrator's credential, and the master keys."""

import re
from pathlib import Path
from typing import Final, NamedTuple

from pydantic import SecretStr

from zejzl_ray.auth.credential_text import new_credential, new_secret_hex, parse_text
from zejzl_ray.cluster.private_file import make_private_file, write_private_file
from zejzl_ray.cluster.secret_file import make_private_directory
from zejzl_ray.errors import ClusterError

MAX_MASTER_KEYS: Final = 16
_KEY: Final = re.compile(r"[0-9A-Fa-f]{64}")
_RESTORE: Final = "Restore it from a backup; without it nothing that is encrypted can be read."


class EnsuredCredential(NamedTuple):
    """A credential in its file.

    Attributes:
        text: the credential.
        is_replaced: the file held something else, such as a token of the time before, which counts no more.
    """

    text: SecretStr
    is_replaced: bool


def ensure_credential_file(path: Path) -> SecretStr:
    """Return the credential in the file, as ``renew_credential_file`` does."""
    return renew_credential_file(path).text


def renew_credential_file(path: Path) -> EnsuredCredential:
    """Return the credential in the file; a missing file, or one that holds no credential, gets a new random one.

    Safe to repeat, and from several processes and threads at once while the file is missing: all get the same one.

    Raises:
        ClusterError: others may read the file, or it cannot be read or written.
    """
    make_private_directory(path.parent)
    text = _stripped(_read(path))
    is_replaced = text is not None and parse_text(text) is None
    if text is None:
        make_private_file(path, f"{new_credential().get_secret_value()}\n")
    elif is_replaced:
        write_private_file(path, f"{new_credential().get_secret_value()}\n")
    found = _stripped(_read(path))
    if found is None or parse_text(found) is None:
        raise ClusterError(f"The file {path} was changed while it was made.", "Run the command again.")
    return EnsuredCredential(found, is_replaced)


def ensure_master_key(path: Path) -> SecretStr:
    """Return the text of the master key file: one key a line, newest first; a missing file gets one random key.

    A file that holds something else is never replaced: what is encrypted with its keys would be lost. Safe to repeat,
    and from several processes and threads at once.

    Raises:
        ClusterError: others may read the file, it cannot be read or written, or it holds no keys; names the line.
    """
    make_private_directory(path.parent)
    text = _read(path)
    if text is None:
        make_private_file(path, f"{new_secret_hex()}\n")
        text = _read(path)
    return SecretStr("\n".join(_keys_of(path, text)))


def append_master_key(path: Path) -> SecretStr:
    """Put a new random key before the others and return the file's new text.

    The old keys stay, until everything is encrypted anew; ``drop_old_master_keys`` removes them then. The file is
    replaced in one step: a crash leaves the old or the new one.

    Raises:
        ClusterError: as ``ensure_master_key``, or the file holds 16 keys already.
    """
    keys = _keys_of(path, _read(path))
    if len(keys) >= MAX_MASTER_KEYS:
        raise ClusterError(
            f"The file {path} holds {MAX_MASTER_KEYS} keys already.",
            "Encrypt everything with the newest one, then drop the old ones.",
        )
    return _write_keys(path, [new_secret_hex(), *keys])


def drop_old_master_keys(path: Path) -> SecretStr:
    """Keep the newest key alone and return the file's new text; only after everything was encrypted with it.

    Raises:
        ClusterError: as ``ensure_master_key``.
    """
    return _write_keys(path, _keys_of(path, _read(path))[:1])


def _read(path: Path) -> SecretStr | None:
    """Return what stands in the file; null when it is missing."""
    try:
        if path.stat().st_mode & 0o077:
            raise ClusterError(f"Others may read the file {path}.", f"Run: chmod 600 {path}")
        return SecretStr(path.read_text(encoding="ascii", errors="replace"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ClusterError(f"Cannot read the file {path}: {error.strerror}.") from None


def _stripped(text: SecretStr | None) -> SecretStr | None:
    return None if text is None else SecretStr(text.get_secret_value().strip())


def _keys_of(path: Path, text: SecretStr | None) -> list[str]:
    lines = [] if text is None else [line.strip() for line in text.get_secret_value().splitlines()]
    keys = [line for line in lines if line]
    if not keys:
        raise ClusterError(f"The file {path} holds no master key.", _RESTORE)
    wrong = [number for number, line in enumerate(lines, start=1) if line and _KEY.fullmatch(line) is None]
    if wrong:
        raise ClusterError(f"Line {wrong[0]} of the file {path} is no master key.", _RESTORE)
    return keys


def _write_keys(path: Path, keys: list[str]) -> SecretStr:
    text = "\n".join(keys)
    write_private_file(path, f"{text}\n")
    return SecretStr(text)
