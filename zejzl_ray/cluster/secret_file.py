"""Files that hold one secret: made once, mode 0600, never printed."""

import os
import secrets
import stat
from pathlib import Path

from pydantic import SecretStr

from zejzl_ray.cluster.private_file import make_private_file
from zejzl_ray.errors import ClusterError, Unauthenticated

_TOKEN_BYTES = 32


def make_private_directory(path: Path) -> None:
    """Create a directory that only its owner may enter; an existing one is closed for others.

    Raises:
        ClusterError: it cannot be created, is not ours, or is a place that everybody shares, such as /tmp.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.stat()
        if found.st_uid != os.geteuid() or found.st_mode & stat.S_ISVTX:
            raise ClusterError(
                f"The directory {path} is not yours alone.", "Set ZEJZL_DATA_DIR to one of your own."
            )
        path.chmod(0o700)
    except OSError as error:
        raise ClusterError(
            f"Cannot use the directory {path}: {error.strerror}.", "Set ZEJZL_DATA_DIR to one of your own."
        ) from None


def ensure_token(path: Path) -> SecretStr:
    """Return the token in the file; a missing file is made with a new random token.

    Safe to repeat, and from several processes and threads at once: all get the same token.

    Raises:
        ClusterError: others may read the file, or it cannot be written.
    """
    make_private_directory(path.parent)
    if not path.exists():
        make_private_file(path, secrets.token_hex(_TOKEN_BYTES))
    return read_token(path)


def read_token(path: Path) -> SecretStr:
    """Return the token in the file.

    Raises:
        Unauthenticated: there is none, or the file holds something else; names the file.
        ClusterError: others may read the file.
    """
    return read_secret(
        path, what="token", remedy="Start the cluster with `zejzl up`, or name its token file."
    )


def read_secret(path: Path, *, what: str, remedy: str) -> SecretStr:
    """Return the secret in a file of mode 0600, without white space around it.

    Args:
        path: the file.
        what: what it holds, for messages.
        remedy: what to do when there is none.

    Raises:
        Unauthenticated: there is none, or the file holds something else; names the file.
        ClusterError: others may read the file.
    """
    try:
        if path.stat().st_mode & 0o077:
            raise ClusterError(f"Others may read the {what} file {path}.", f"Run: chmod 600 {path}")
        secret = path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise Unauthenticated(f"No {what} at {path}: {error.strerror}.", remedy) from None
    except UnicodeDecodeError:
        secret = ""
    if not secret:
        raise Unauthenticated(f"The file {path} holds no {what}.", f"Remove it. {remedy}")
    return SecretStr(secret)
