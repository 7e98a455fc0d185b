"""``zejzl release``: the project and all that it needs as one folder of wheels, and what is installed of them.

Exit codes: 0 done, 1 the command failed (one message on standard error), 2 wrong usage.
"""

from pathlib import Path
from typing import Annotated, Final

import typer

from zejzl_ray.cli.console import print_json, say
from zejzl_ray.cli.gateway import AsJson, show_table, when
from zejzl_ray.clock import SystemClock
from zejzl_ray.cluster_check.reach import Reach
from zejzl_ray.cluster_file.read import read_cluster_file
from zejzl_ray.cluster_release.send import send_release
from zejzl_ray.errors import ClusterError
from zejzl_ray.release.build import build_release, own_source
from zejzl_ray.release.folder import ReleaseManifest, read_folder
from zejzl_ray.release.installer import ReleaseFault, Releases
from zejzl_ray.release.running import release_folder, releases_directory
from zejzl_ray.settings import load_settings

app: Final = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)

_MIB: Final = 1024 * 1024
Folder = Annotated[
    Path | None,
    typer.Option(
        "--folder", help="Folder of wheels; unset: release in the data directory, which `ray up` carries."
    ),
]


@app.command()
def build(
    source: Annotated[
        Path | None,
        typer.Option("--source", help="A checkout of the project; unset: the one that this runs from."),
    ] = None,
    folder: Folder = None,
    as_json: AsJson = False,
) -> None:
    """Collect the wheels of the project and of all that it needs, in the pinned versions, for `ray up` to carry.

    The one step that needs a way to the packages. The machines of the cluster need none.
    """
    target = (folder or release_folder(load_settings().data_path)).expanduser().absolute()
    if not as_json:
        say("collecting wheels ...", "dim")
    manifest = build_release((source or own_source()).expanduser().absolute(), target, SystemClock())
    if as_json:
        print_json({"folder": str(target), **_told(manifest)})
        return
    typer.echo(str(target))
    say(f"release {manifest.id}: {len(manifest.wheels)} wheels, {manifest.size_bytes / _MIB:.0f} MiB")


@app.command()
def send(
    file: Annotated[Path, typer.Argument(help="The cluster file.", show_default=True)] = Path("cluster.yaml"),
    as_json: AsJson = False,
) -> None:
    """Carry the release to all machines of a cluster file, at once, and install it there, as `ray up` does.

    Before the first `ray up`, so that certificates can be made there; later to have the time that it takes behind you.
    """
    cluster = read_cluster_file(file).require()
    said = send_release(cluster, Reach(cluster), lambda line: say(line, "dim"))
    if as_json:
        print_json(said)
        return
    for machine, words in said.items():
        typer.echo(f"{machine}: {words}")


@app.command()
def install(folder: Folder = None) -> None:
    """Install a release on this machine, as `ray up` does on all of them, and make it the current one.

    Needs no network. A release that does not start changes nothing; nodes go on with the one that they run from until
    they are started again.
    """
    data_dir = load_settings().data_path
    try:
        typer.echo(Releases(releases_directory(data_dir)).install(folder or release_folder(data_dir)))
    except ReleaseFault as fault:
        raise ClusterError(str(fault)) from None


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """Show the releases that are installed on this machine, and the one that `ray up` would carry."""
    data_dir = load_settings().data_path
    carried = read_folder(release_folder(data_dir))
    try:
        found = Releases(releases_directory(data_dir)).installed()
    except ReleaseFault as fault:
        raise ClusterError(str(fault)) from None
    if as_json:
        installed = [{name: row[name] for name in row if name not in ("settings", "wheels")} for row in found]
        print_json({"carried": None if carried is None else _told(carried), "installed": installed})
        return
    show_table(
        str(releases_directory(data_dir)),
        ("release", "built", "Python", "state format", "is"),
        [
            (row["id"], when(row["built_at_s"]), row["python"], str(row["state_format"]), _standing(row))
            for row in found
        ],
    )
    say(f"`ray up` carries: {carried.id if carried is not None else 'none; `zejzl release build` makes one'}")


def _standing(row: dict[str, object]) -> str:
    words = {"is_current": "current", "is_previous": "previous", "was_left": "left by a rollback"}
    return ", ".join(word for name, word in words.items() if row[name])


def _told(manifest: ReleaseManifest) -> dict[str, object]:
    return {
        "id": manifest.id,
        "version": manifest.version,
        "python": manifest.python,
        "platform": manifest.platform,
        "state_format": manifest.state_format,
        "size_bytes": manifest.size_bytes,
        "wheels": [wheel.file for wheel in manifest.wheels],
    }
