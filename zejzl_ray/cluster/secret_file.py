"""Files that hold one secret: made once, mode 0600, never printed."""

import os
import secrets
from pathlib import Path

from pydantic import SecretStr

from zejzl_ray.errors import ClusterError, Unauthenticated

_TOKEN_BYTES = 32


def make_private_directory(path: Path) -> None:
    """Create a directory that only its owner may enter; an existing one is closed for others.

    Raises:
        ClusterError: it cannot be created or is not ours.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
    except OSError as error:
        raise ClusterError(
            f"Cannot use the directory {path}: {error.strerror}.", "Set ZEJZL_DATA_DIR to one of your own."
        ) from None


def ensure_token(path: Path) -> SecretStr:
    """Return the token in the file; a missing file is made with a new random token. Safe to repeat and to race.

    Raises:
        ClusterError: others may read the file, or it cannot be written.
    """
    make_private_directory(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if not path.exists():
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_hex(_TOKEN_BYTES))
            try:
                os.link(temporary, path)  # unlike rename, never replaces a token that somebody else has just made
            except FileExistsError:
                pass
            finally:
                temporary.unlink()
    except OSError as error:
        raise ClusterError(f"Cannot write the token file {path}: {error.strerror}.") from None
    return read_token(path)


def read_token(path: Path) -> SecretStr:
    """Return the token in the file.

    Raises:
        Unauthenticated: there is none; names the file.
        ClusterError: others may read the file.
    """
    try:
        if path.stat().st_mode & 0o077:
            raise ClusterError(f"Others may read the token file {path}.", f"Run: chmod 600 {path}")
        token = path.read_text().strip()
    except OSError as error:
        raise Unauthenticated(
            f"No token at {path}: {error.strerror}.", "Start the cluster with `zejzl up`, or name its token file."
        ) from None
    if not token:
        raise Unauthenticated(f"The token file {path} is empty.", "Remove it and run `zejzl up`.")
    return SecretStr(token)
