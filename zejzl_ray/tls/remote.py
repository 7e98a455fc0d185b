"""Another machine over ssh: its private key is made there and never travels."""

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from zejzl_ray.errors import ClusterError, InvalidInput

_LIMIT_S: Final = 60.0
_RELEASE: Final = ".local/share/zejzl/releases/current/venv/bin/python"
_TARGET: Final = re.compile(r"(?:[A-Za-z0-9_.-]+@)?[A-Za-z0-9_.:\[\]-]+")
_PEM: Final = re.compile(rb"-----BEGIN [A-Z ]+-----[A-Za-z0-9+/=\s]+-----END [A-Z ]+-----\n?")

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


class RemoteMachine:
    """The other end of ``zejzl tls issue --ssh``.

    Args:
        target: USER@HOST as ssh takes it. A host that ssh has not met yet is trusted this once; one whose key
            has changed is refused.
        identity: private key file of ssh; None leaves the choice to ssh.
        run: replaces ``subprocess.run`` in tests.

    Raises:
        InvalidInput: the target is no USER@HOST.
    """

    def __init__(self, target: str, identity: Path | None = None, run: Run = subprocess.run) -> None:
        if not _TARGET.fullmatch(target) or target.startswith("-"):
            raise InvalidInput(f"{target!r} is not a machine that ssh can reach.", "Write USER@HOST.")
        options = ["-o", "BatchMode=yes", "-o", "ConnectTimeout=5", "-o", "StrictHostKeyChecking=accept-new"]
        if identity is not None:
            options += ["-i", str(identity.expanduser())]
        self._ssh = ("ssh", *options, "--", target)
        self._target = target
        self._run = run

    def request(self, machine: str, *, is_new_key: bool) -> bytes:
        """Return the request for a certificate of the key that lies there; it is made when missing.

        Raises:
            ClusterError: the machine cannot be reached, or the command fails there.
        """
        command = ["request", machine, *(["--new-key"] if is_new_key else [])]
        found = pem_blocks(self._zejzl(command, b""))
        if len(found) != 1:
            raise ClusterError(f"{self._target} did not answer with a request for a certificate.")
        return found[0]

    def accept(self, machine: str, certificate: bytes, authority: bytes, *, is_forced: bool) -> None:
        """Hand over the certificate and that of the authority.

        Raises:
            ClusterError: the machine cannot be reached, or refuses them.
        """
        command = ["accept", machine, *(["--force"] if is_forced else [])]
        self._zejzl(command, certificate + authority)

    def _zejzl(self, command: list[str], given: bytes) -> bytes:
        # The release that `ray up` starts there; where it installs none, the environment has the same path everywhere.
        words = shlex.join(["-m", "zejzl_ray.cli.main", "tls", *command])
        remote = f"p=~/{_RELEASE}; [ -x $p ] || p={shlex.quote(sys.executable)}; $p {words}"
        try:
            done = self._run(
                [*self._ssh, remote], input=given, capture_output=True, timeout=_LIMIT_S, check=False
            )
        except subprocess.TimeoutExpired:
            raise ClusterError(f"{self._target} did not answer within {_LIMIT_S:g} s.") from None
        except OSError as error:
            raise ClusterError(f"Cannot run ssh: {error.strerror}.", "Install an ssh client.") from None
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip()[-1000:] or f"status {done.returncode}"
            remedy = ""
            if done.returncode in (126, 127):  # the shell there has not found it
                remedy = "The project is not installed there yet: `zejzl release send` does it."
            raise ClusterError(f"`zejzl tls {command[0]}` failed on {self._target}: {said}", remedy)
        return done.stdout


def pem_blocks(text: bytes) -> list[bytes]:
    """Return the PEM blocks of a text, without what a login shell may have written around them."""
    return [block if block.endswith(b"\n") else block + b"\n" for block in _PEM.findall(text)]
