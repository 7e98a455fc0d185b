"""``zejzl node resources``: what Ray would be told that this machine has."""

import socket
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from zejzl_ray.cli.checked_fleet import load_checked_fleet
from zejzl_ray.cli.console import output, print_json
from zejzl_ray.cluster.node_resources import NodeResources, node_resources
from zejzl_ray.cluster.supervisor_record import read_supervisor_record
from zejzl_ray.cluster.this_machine import machine_of, own_addresses
from zejzl_ray.errors import MachineNotFound
from zejzl_ray.settings import Settings, load_settings
from zejzl_ray.tls.credentials import own_machine, tls_directory


def resources(
    machine: Annotated[
        str,
        typer.Option(
            help="Name of this machine; unset: as its node, its certificate or the fleet file says."
        ),
    ] = "",
    cpus: Annotated[
        int | None, typer.Option(min=1, envvar="ZEJZL_CPUS", help="CPUs for Ray; unset: all.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print what `zejzl node start` would tell Ray that this machine has; starts nothing.

    Labels, video memory from the driver or from ZEJZL_VRAM_MIB, CPUs, and room for objects.
    """
    settings = load_settings()
    found = node_resources(settings, machine or _own_name(settings), cpus)
    if as_json:
        print_json(
            {
                **found.model_dump(mode="json", exclude={"tags"}),
                "labels": found.labels,
                "resources": found.resources,
            }
        )
        return
    output.print(_table(found))


def _table(found: NodeResources) -> Table:
    table = Table(title=f"node {found.machine}", title_justify="left", header_style="bold")
    for column in ("what", "value", "from"):
        table.add_column(column)
    table.add_row("CPUs", str(found.cpus), "ZEJZL_CPUS, or all that there are")
    table.add_row("object store", f"{found.object_store_mib} MiB", "ZEJZL_OBJECT_STORE_MIB")
    table.add_row("vram_mib", f"{found.vram_mib} MiB", Text(_source(found)))
    for uuid, mib in found.cards.items():
        table.add_row(Text(f"card {uuid}"), f"{mib} MiB", Text(found.models.get(uuid, "")))
    for name, value in found.labels.items():
        table.add_row(f"label {name}", Text(value), "")
    return table


def _source(found: NodeResources) -> str:
    return f"{found.vram_source}: {found.note}" if found.note else str(found.vram_source)


def _own_name(settings: Settings) -> str:
    """Return the name that this machine goes by.

    Raises:
        MachineNotFound: nothing here says one.
    """
    record = read_supervisor_record(settings.data_path)
    name = record.node.machine if record is not None else own_machine(tls_directory(settings.data_path))
    if name:
        return name
    fleet, _ = load_checked_fleet(settings, None)
    refusal: MachineNotFound | None = None
    for address in own_addresses() or ("127.0.0.1",):
        try:
            return machine_of(fleet.machines, address, socket.gethostname())
        except MachineNotFound as error:
            refusal = error
    raise refusal or MachineNotFound("This machine has no name.", "Name it with --machine.")
