"""``zejzl cluster down`` and ``purge``: all machines of a cluster file, over ssh."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from zejzl_ray.cli.console import errors, output, print_json
from zejzl_ray.cli.node_purge import IsEverything, IsYes, confirm
from zejzl_ray.cluster_check.reach import Outcome, Reach
from zejzl_ray.cluster_file.model import ClusterFile, DeclaredMachine
from zejzl_ray.cluster_file.read import read_cluster_file
from zejzl_ray.errors import ClusterError

DownFile = Annotated[Path, typer.Argument(help="The cluster file.", show_default=True)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_FILE: Final = Path("cluster.yaml")
_DOWN_LIMIT_S: Final = 120.0
_CHECK_LIMIT_S: Final = 30.0
_PURGE_LIMIT_S: Final = 120.0


def down(file: DownFile = _FILE, as_json: AsJson = False) -> None:
    """Stop the cluster on every machine of a cluster file, over ssh, and say of each what happened; the data stays.

    Exit code 0 when nothing runs on any of them any more. A machine that cannot be reached now leaves by itself once it
    reaches the cluster's Redis and finds its head gone. Safe to repeat.
    """
    cluster = _read(file)
    errors.print(f"stopping {_names(cluster)}", style="dim", highlight=False)
    found = Reach(cluster).ask_all(lambda _: "zejzl node stop", _DOWN_LIMIT_S)
    _end(found, as_json=as_json, title="down")


def purge(
    file: DownFile = _FILE, yes: IsYes = False, everything: IsEverything = False, as_json: AsJson = False
) -> None:
    """Remove the data of a stopped cluster from every machine of a cluster file, and from its Redis; it asks first.

    State, logs and records go. Secrets, certificates and back-ups stay without --everything. Nothing is removed while
    the cluster is up on one of the machines, or one of them does not answer. Exit code 0 when all is gone.
    """
    cluster = _read(file)
    errors.print(f"asking {_names(cluster)}", style="dim", highlight=False)
    standing = Reach(cluster).ask_all(lambda _: "zejzl node purge --check", _CHECK_LIMIT_S)
    if not all(outcome.is_done for outcome in standing):
        errors.print("nothing was removed", highlight=False)
        _end(standing, as_json=as_json, title="purge")
    if not yes:
        what = "state, logs, secrets, certificates and back-ups" if everything else "state and logs"
        confirm(f"Remove {what} of {_names(cluster)}", as_json=as_json)
    command = "zejzl node purge --yes" + (" --everything" if everything else "")

    def for_machine(machine: DeclaredMachine) -> str:
        store = cluster.environment.get("ZEJZL_STORE_URL") if machine == cluster.head else None
        return f"ZEJZL_STORE_URL={shlex.quote(store)} {command}" if store else command

    _end(Reach(cluster).ask_all(for_machine, _PURGE_LIMIT_S), as_json=as_json, title="purge")


def _read(file: Path) -> ClusterFile:
    if not file.expanduser().exists():
        raise ClusterError(
            f"There is no file {file}.", "Name the cluster file, or write one: zejzl cluster init."
        )
    return read_cluster_file(file).require()


def _names(cluster: ClusterFile) -> str:
    return ", ".join(machine.name for machine in cluster.machines)


def _end(found: Sequence[Outcome], *, as_json: bool, title: str) -> None:
    is_done = all(outcome.is_done for outcome in found)
    if as_json:
        print_json({"is_done": is_done, "machines": [_as_data(outcome) for outcome in found]})
    else:
        table = Table(title=title, title_justify="left", header_style="bold", show_lines=True)
        table.add_column("machine", no_wrap=True)
        table.add_column("what happened", overflow="fold")
        for outcome in found:
            style = "" if outcome.is_done else "bold red"
            text = f"{outcome.said}\n{outcome.remedy}" if outcome.remedy else outcome.said
            table.add_row(outcome.machine, Text(text, style))
        output.print(table)
    raise typer.Exit(0 if is_done else 1)


def _as_data(outcome: Outcome) -> dict[str, object]:
    return {**outcome.model_dump(), "is_done": outcome.is_done}
