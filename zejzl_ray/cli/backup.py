"""``zejzl backup``: the state of all services in one file, and the way back."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer

from zejzl_ray.backup.archive import names_of
from zejzl_ray.backup.create import create_backup
from zejzl_ray.backup.manifest import Manifest
from zejzl_ray.backup.restore import restore_backup, restore_secrets
from zejzl_ray.backup.shelf import drop_old, list_shelf, make_shelf, new_path
from zejzl_ray.backup.verify import verify_backup
from zejzl_ray.cli.console import print_json, say
from zejzl_ray.cli.gateway import AsJson, show_table, when
from zejzl_ray.clock import SystemClock
from zejzl_ray.cluster.node_intent import with_store_of_head
from zejzl_ray.cluster.record import read_record
from zejzl_ray.cluster.shared_store import REDIS_AUTH_FILE, REDIS_PASSWORD_FILE, service_store_url
from zejzl_ray.errors import Conflict, InvalidInput
from zejzl_ray.settings import Settings, load_settings
from zejzl_ray.store.site import StoreSite
from zejzl_ray.store.site_open import open_site

app: Final = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)

T = TypeVar("T")

File = Annotated[Path, typer.Argument(help="The back-up, as `zejzl backup list` names it.")]
Shelf = Annotated[
    Path | None, typer.Option("--dir", help="Directory of back-ups; unset: backups in the data directory.")
]
_SECRETS: Final = ("token", "security_key", "ray_token", REDIS_PASSWORD_FILE, REDIS_AUTH_FILE)
_LOUD: Final = "bold red"


@app.command()
def create(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write this file instead of one in --dir.")
    ] = None,
    shelf: Shelf = None,
    keep: Annotated[
        int | None,
        typer.Option(min=1, help="Afterwards remove all but the newest of --dir, so many stay."),
    ] = None,
    with_secrets: Annotated[
        bool, typer.Option("--with-secrets", help="Put keys, tokens and passwords into the file too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write the state of all services to one file, while they work, and read it back.

    Each namespace of the store is of one moment: all that was acknowledged before this command is in the file.
    """
    settings = with_store_of_head(load_settings())
    if output is not None and keep is not None:
        raise InvalidInput("--keep counts the files of --dir.", "Leave --output out.")
    directory = _shelf(settings, shelf)
    target = output or new_path(directory, SystemClock().now_s())
    if output is None:
        make_shelf(directory)
    secrets = _secret_files(settings) if with_secrets else {}
    manifest = with_site(
        settings,
        lambda site: create_backup(
            site, target, clock=SystemClock(), secrets=secrets, report=_report(as_json)
        ),
    )
    dropped = drop_old(directory, keep) if keep is not None else []
    if as_json:
        print_json({**_told(target, manifest), "removed": [str(path) for path in dropped]})
    else:
        typer.echo(str(target))
        for path in dropped:
            say(f"removed {path.name}")
        say(f"{_summary(manifest)}, {target.stat().st_size} bytes, read back")
    if manifest.secrets:
        say(
            f"SECRETS ARE IN THIS FILE, in clear: {names_of(manifest.secrets)}. Whoever reads it owns the cluster.",
            _LOUD,
        )
    elif not as_json:
        say(
            "Keys and tokens are not in it. Without `security_key` nobody can read the secrets of agents again: keep a "
            "copy of that file elsewhere."
        )


@app.command()
def verify(file: File, as_json: AsJson = False) -> None:
    """Read all of a back-up, check every sum, and open each namespace in memory. Touches nothing."""
    manifest = asyncio.run(verify_backup(file, SystemClock()))
    if as_json:
        print_json({**_told(file, manifest), "is_whole": True})
        return
    show_table(
        f"{file.name}, zejzl-ray {manifest.zejzl_ray}, from {manifest.store}",
        ("namespace", "taken", "epoch", "commits", "keys", "logs", "log entries", "SHA-256"),
        [
            (
                each.name,
                when(each.taken_at_s),
                str(each.epoch),
                str(each.commits),
                str(each.entries),
                str(each.logs),
                str(each.log_entries),
                each.sha256[:12],
            )
            for each in manifest.namespaces
        ],
    )
    say(f"whole: {_summary(manifest)}")


@app.command("list")
def list_(shelf: Shelf = None, as_json: AsJson = False) -> None:
    """List the back-ups of a directory, oldest first. Exit code 1 when one is damaged."""
    found = list_shelf(_shelf(load_settings(), shelf))
    if as_json:
        print_json(
            [
                _told(each.path, each.manifest)
                if each.manifest is not None
                else {"file": str(each.path), "fault": each.fault}
                for each in found
            ]
        )
    else:
        show_table(
            str(_shelf(load_settings(), shelf)),
            ("file", "taken", "from", "bytes", "namespaces", "entries", "state"),
            [
                (
                    each.path.name,
                    when(each.manifest.started_at_s),
                    each.manifest.store,
                    str(each.size_bytes),
                    str(len(each.manifest.namespaces)),
                    str(each.manifest.entries),
                    "whole, WITH SECRETS" if each.manifest.secrets else "whole",
                )
                if each.manifest is not None
                else (each.path.name, "", "", str(each.size_bytes), "", "", "DAMAGED")
                for each in found
            ],
        )
    damaged = [each for each in found if each.manifest is None]
    for each in damaged:
        say(f"{each.path.name}: {each.fault}", _LOUD)
    if damaged:
        raise typer.Exit(1)


@app.command()
def restore(
    file: File,
    force: Annotated[
        bool, typer.Option("--force", help="Replace what the store holds, after a back-up of it.")
    ] = False,
    with_secrets: Annotated[
        bool, typer.Option("--with-secrets", help="Write the keys, tokens and passwords of the file too.")
    ] = False,
    shelf: Shelf = None,
    as_json: AsJson = False,
) -> None:
    """Put a back-up in place of the state of all services, all of it or nothing; services must be down.

    The store may be of another kind than the one it was taken from. Whoever wrote before is fenced. What was revoked
    since the back-up was taken counts again: revoke anew.
    """
    settings = load_settings()
    _refuse_while_up(settings)
    done = with_site(
        settings,
        lambda site: restore_backup(
            site,
            file,
            clock=SystemClock(),
            shelf=_shelf(settings, shelf),
            is_forced=force,
            report=_report(as_json),
        ),
    )
    written = asyncio.run(restore_secrets(file, settings.data_path, is_forced=force)) if with_secrets else []
    if as_json:
        print_json(
            {
                **_told(file, done.manifest),
                "before": None if done.before is None else str(done.before),
                "secrets_written": written,
                "are_users_known": done.are_users_known,
            }
        )
    else:
        typer.echo(f"restored {_summary(done.manifest)}, as of {when(done.manifest.started_at_s)}")
    if written:
        say(f"secret files written: {', '.join(written)}")
    if not done.are_users_known:
        say(
            "Redis does not tell this user who is connected: services that still run are fenced; end them.",
            "yellow",
        )
    say(
        "What was revoked or changed since then is as it was: after `zejzl up`, `zejzl token revoke --everything` ends "
        "all tokens, and credentials revoked since are revoked again by hand.",
        "yellow",
    )


def with_site(settings: Settings, work: Callable[[StoreSite], Awaitable[T]]) -> T:
    """Open the store of all services for some work, and close it again."""

    async def run() -> T:
        url = await asyncio.to_thread(service_store_url, settings)
        site = await open_site(url.get_secret_value())
        try:
            return await work(site)
        finally:
            await site.close()

    return asyncio.run(run())


def _refuse_while_up(settings: Settings) -> None:
    record = read_record(settings.data_path)
    if record is not None:
        raise Conflict(f"The cluster of {settings.data_path} is up.", "Run `zejzl down` first.")


def _shelf(settings: Settings, shelf: Path | None) -> Path:
    return (shelf or settings.data_path / "backups").expanduser().absolute()


def _secret_files(settings: Settings) -> dict[str, Path]:
    root = settings.data_path
    paths = [root / name for name in _SECRETS]
    paths += sorted(path for path in (root / "tls").glob("*") if path.is_file())
    return {str(path.relative_to(root)): path for path in paths if path.is_file()}


def _report(as_json: bool) -> Callable[[str], None]:
    return (lambda _: None) if as_json else say


def _summary(manifest: Manifest) -> str:
    keys = sum(each.entries for each in manifest.namespaces)
    log_entries = sum(each.log_entries for each in manifest.namespaces)
    return f"{len(manifest.namespaces)} namespaces, {keys} keys, {log_entries} log entries"


def _told(path: Path, manifest: Manifest) -> dict[str, Any]:
    return {"file": str(path), "size_bytes": path.stat().st_size, **manifest.model_dump(mode="json")}
