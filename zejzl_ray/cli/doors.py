"""``zejzl doors``: everything that listens, who may use it, and what is open now."""

from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
from rich.table import Table
from rich.text import Text

from zejzl_ray.cli.console import errors, output, print_json
from zejzl_ray.cluster.doors import DOORS, Door, OpenDoor, Setup, match_doors
from zejzl_ray.cluster.listeners import find_listeners
from zejzl_ray.cluster.local_plan import cluster_id
from zejzl_ray.cluster.node_processes import find_node_processes
from zejzl_ray.cluster.node_start import is_loopback
from zejzl_ray.cluster.record import ClusterRecord, read_record
from zejzl_ray.cluster.supervisor_record import read_supervisor_record
from zejzl_ray.settings import Settings, load_settings


def doors(as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False) -> None:
    """List every door of the system with who may use it; where the system runs here, also which are open now.

    Looks at the sockets of this machine only; calls nobody. Exit code 1 when a process of the system listens where
    the list has no door, or wider than the list allows.
    """
    settings = load_settings()
    identity = cluster_id(settings.data_path)
    found = match_doors(
        find_listeners(find_node_processes(identity)), setup_of(settings, read_record(settings.data_path))
    )
    unlisted = sum(one.door is None for one in found)
    if as_json:
        print_json(
            {
                "doors": [_door(door) for door in DOORS],
                "open": [_open(one) for one in found],
                "unlisted": unlisted,
            }
        )
    else:
        output.print(door_table(DOORS))
        if found:
            output.print(open_table(found))
        else:
            output.print("No process of this system runs here, so none is open.", highlight=False)
    if unlisted:
        errors.print(
            f"{unlisted} of what listens is not on the list, or listens wider than the list allows.",
            style="bold red", highlight=False, soft_wrap=True,
        )  # fmt: skip
        raise typer.Exit(1)


def setup_of(settings: Settings, record: ClusterRecord | None) -> Setup:
    """Return what is known of a system; what runs may have been started with other settings, so the record counts."""
    if record is None:
        supervised = read_supervisor_record(settings.data_path)
        metrics = None if supervised is None else supervised.node.ports.metrics
        return Setup(
            bind_host=settings.bind_host,
            is_one_machine=supervised is None,
            metrics_ports=() if metrics is None else (metrics,),
        )
    return Setup(
        bind_host=record.bind_host,
        http_port=urlsplit(record.http_url).port or 0,
        gcs_port=int(record.address.rpartition(":")[2]),
        dashboard_port=urlsplit(record.dashboard_url).port or 0,
        is_one_machine=is_loopback(record.address),
        metrics_ports=record.metrics_ports,
    )


def door_table(listed: Sequence[Door]) -> Table:
    """Return the list, one row a door."""
    table = Table(title="doors", title_justify="left", header_style="bold", show_lines=True)
    for column in ("door", "who listens", "where", "address", "asks for", "who may use it"):
        table.add_column(column)
    for door in listed:
        proof = Text(door.proof, "" if door.is_guarded else "yellow")
        table.add_row(door.name, door.listens, Text(door.where), door.address, proof, Text(door.who))
    return table


def open_table(found: Sequence[OpenDoor]) -> Table:
    """Return what listens now; what is not on the list is red and comes first."""
    table = Table(title="open now", title_justify="left", header_style="bold")
    for column in ("door", "listens on", "process", "pid"):
        table.add_column(column)
    for one in sorted(
        found, key=lambda one: (one.door is not None, "" if one.door is None else one.door.name)
    ):
        name = "NOT ON THE LIST" if one.door is None else one.door.name
        process = one.listener.title if one.door is None else one.listener.kind
        table.add_row(
            name, Text(one.listener.place), Text(process), str(one.listener.pid),
            style="bold red" if one.door is None else "",
        )  # fmt: skip
    return table


def _door(door: Door) -> dict[str, Any]:
    return {
        "name": door.name,
        "listens": door.listens,
        "where": door.where,
        "address": door.address,
        "speaks": door.speaks,
        "asks_for": door.proof,
        "who": door.who,
        "note": door.note,
    }


def _open(one: OpenDoor) -> dict[str, Any]:
    return {
        "door": None if one.door is None else one.door.name,
        "place": one.listener.place,
        "reach": one.listener.reach,
        "process": one.listener.kind,
        "title": one.listener.title,
        "pid": one.listener.pid,
    }
