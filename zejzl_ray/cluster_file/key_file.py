"""Whether a file can be the private key with which ssh logs in, without anybody being asked."""

import os
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_LIMIT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class KeyFault:
    """What is wrong with a key file, and what to do."""

    message: str
    remedy: str


def key_file_fault(path: Path) -> KeyFault | None:
    """Return what keeps ssh from using a private key; None when nothing does that can be seen here.

    Looks at the file, and at its mode; reads it by ``ssh-keygen`` where that is there.
    """
    try:
        found = path.stat()
    except OSError as error:
        remedy = "Name the private key, or make one with `ssh-keygen -t ed25519` and `ssh-copy-id` to each machine."
        return KeyFault(f"there is no private key {path}: {error.strerror}", remedy)
    if not stat.S_ISREG(found.st_mode):
        return KeyFault(f"the private key {path} is not a file", "Name the file.")
    if found.st_mode & 0o077 and found.st_uid == os.geteuid():
        return KeyFault(
            f"others may read the private key {path}, so ssh refuses it", f"Run: chmod 600 {path}"
        )
    if not os.access(path, os.R_OK):
        return KeyFault(f"the private key {path} cannot be read by you", "Name a key of your own.")
    return _unusable(path)


def _unusable(path: Path) -> KeyFault | None:
    try:
        done = subprocess.run(
            ["ssh-keygen", "-y", "-P", "", "-f", str(path)],  # nosec B607  # looked up in PATH on purpose
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_LIMIT_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    if done.returncode == 0:
        return None
    if "passphrase" in done.stderr:
        return KeyFault(
            f"the private key {path} has a passphrase, which nobody can type at the head",
            "Make a key of its own for the cluster: ssh-keygen -t ed25519 -N ''.",
        )
    return KeyFault(f"the file {path} holds no private key", "Name the private key, not the public one.")
