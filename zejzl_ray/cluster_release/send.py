"""A release on its way to all machines, and installed there."""

import shlex
from collections.abc import Callable
from typing import Final

from zejzl_ray.cluster_check.reach import Reach
from zejzl_ray.cluster_file.model import ClusterFile, DeclaredMachine
from zejzl_ray.errors import InvalidInput, NotFound
from zejzl_ray.release.folder import INSTALLER, read_folder

_COPY_LIMIT_S: Final = 1800.0
_INSTALL_LIMIT_S: Final = 900.0


def send_release(cluster: ClusterFile, reach: Reach, say: Callable[[str], None]) -> dict[str, str]:
    """Copy the release to all machines at once and install it; return what each said. Safe to repeat.

    Args:
        cluster: names the machines, and what is carried.
        reach: the way to them.
        say: told how far it is.

    Raises:
        InvalidInput: the cluster file carries no release, or the one here is not whole.
        NotFound: there is none here.
        ClusterError: it failed on a machine; the others have it.
    """
    carried = cluster.carried_release
    if carried is None:
        raise InvalidInput(
            f"{cluster.file} carries no release.",
            "Its machines have an environment of their own; update that.",
        )
    manifest = read_folder(carried.here)
    if manifest is None:
        raise NotFound(f"There is no release in {carried.here}.", "Run `zejzl release build`.")
    installer = f"{carried.there}/{INSTALLER}"
    path = (
        f"~/{shlex.quote(installer.removeprefix('~/'))}"
        if installer.startswith("~/")
        else shlex.quote(installer)
    )

    def send(machine: DeclaredMachine) -> str:
        say(f"{machine.name}: copying {manifest.id}")
        reach.copy(machine, str(carried.here), carried.there, limit_s=_COPY_LIMIT_S)
        say(f"{machine.name}: installing")
        return reach.command(machine, f"python3 {path}", limit_s=_INSTALL_LIMIT_S).rpartition("\n")[2]

    said = reach.on_all(send, cluster.machines)
    return {machine.name: words for machine, words in zip(cluster.machines, said, strict=True)}
