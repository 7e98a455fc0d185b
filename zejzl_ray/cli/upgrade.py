"""What a start does first when it is the first of another release: a back-up, at the head."""

from pathlib import Path

from zejzl_ray.cli.console import say
from zejzl_ray.clock import SystemClock
from zejzl_ray.cluster.node_intent import read_intent
from zejzl_ray.errors import ClusterError, ZejzlError
from zejzl_ray.release.installer import ReleaseFault, read_manifest
from zejzl_ray.release.running import own_release, release_of, releases_directory
from zejzl_ray.settings import Settings
from zejzl_ray.version import STATE_FORMAT


def back_up_before_upgrade(settings: Settings) -> None:
    """Back up the state when the node that was started here last ran from another release than this program.

    Where both write the state in one format a back-up that fails is told and no more: nothing needs it.

    Raises:
        ClusterError: the format changes, and the state cannot be backed up.
    """
    data_dir = settings.data_path
    own, intent = own_release(data_dir), read_intent(data_dir)
    former = release_of(intent.plan.node.ray_executable, data_dir) if intent is not None else None
    if own is None or former is None or own == former:
        return
    try:
        say(f"release {former} -> {own}: the state before is in {_back_up(settings)}")
    except ZejzlError as error:
        if _state_format(settings, former) == STATE_FORMAT:
            say(f"no back-up before the change from {former}: {error}", "yellow")
            return
        raise ClusterError(
            f"{own} writes the state anew, and what {former} has written cannot be backed up: {error.message}",
            "Mend that first; until then `zejzl rollback` keeps the release before.",
        ) from None


def _back_up(settings: Settings) -> Path:
    # Here, since a start that changes no release would wait for them too.
    from zejzl_ray.backup.create import create_backup
    from zejzl_ray.backup.shelf import make_shelf, new_path
    from zejzl_ray.cli.backup import with_site

    shelf = settings.data_path / "backups"
    path = new_path(shelf, SystemClock().now_s())
    make_shelf(shelf)
    with_site(settings, lambda site: create_backup(site, path, clock=SystemClock()))
    return path


def _state_format(settings: Settings, release: str) -> int | None:
    try:
        manifest = read_manifest(releases_directory(settings.data_path) / release)
    except ReleaseFault:
        return None
    return None if manifest is None else int(manifest["state_format"])
