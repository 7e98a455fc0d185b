"""``zejzl status``: machines, services and agents at a glance."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from zejzl_ray.cli.console import errors, output, print_json
from zejzl_ray.cluster.names import SERVICES
from zejzl_ray.cluster.node_start import NodeRole
from zejzl_ray.cluster.supervisor_record import read_supervisor_record
from zejzl_ray.contracts.health import Check, CheckStatus, ServiceHealth
from zejzl_ray.contracts.machines import Machine
from zejzl_ray.contracts.orchestrator import RegistryStatus
from zejzl_ray.errors import DeadlineExceeded, Unavailable, ZejzlError
from zejzl_ray.sdk.client import Client
from zejzl_ray.sdk.connect import connect
from zejzl_ray.settings import load_settings

if TYPE_CHECKING:
    from zejzl_ray.cluster.vram_placement import PlacedActor

AUTH_IS_OFF = "authentication is OFF: whoever reaches the ports may do everything"
_BAR_CELLS = 20
_STATE_ORDER = ("healthy", "degraded", "unhealthy", "starting", "lost", "stopped", "declared")


def status(
    placement: Annotated[
        bool, typer.Option("--placement", help="what each actor asked for and where it sits")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Show machines with their video memory, services, and agents by state.

    Exit code 1 when the system is not up or a service is not ready.
    """
    if placement:
        _show_placement(as_json)
        return
    with connect() as client:
        machines, registry, trouble = _registry(client)
        services = [_health(client, service) for service in SERVICES]
        is_auth_off = client.is_auth_off
    if trouble is not None and not any(service.is_alive for service in services):
        _say_where_the_head_is()
        raise trouble  # nobody answers: five rows would say the same
    if as_json:
        print_json(
            {
                "auth": "off" if is_auth_off else "on",
                "machines": [machine.model_dump(mode="json") for machine in machines],
                "services": [service.model_dump(mode="json") for service in services],
                "agents": None if registry is None else registry.model_dump(mode="json"),
            }
        )
    else:
        if is_auth_off:
            output.print(AUTH_IS_OFF, style="bold red", markup=False, highlight=False, soft_wrap=True)
        _print(machines, services, registry)
        _say_whom_the_head_has_not_asked()
    if trouble is not None:
        raise trouble
    if not all(service.is_ready for service in services):
        raise typer.Exit(1)


def _say_where_the_head_is() -> None:
    """On a worker of a cluster of several machines the ingress is elsewhere, after a takeover too: say where."""
    record = read_supervisor_record(load_settings().data_path)
    if record is None or record.node.role is NodeRole.HEAD:
        return
    node = record.node
    errors.print(
        f"This machine, {node.machine}, is a worker ({record.state}); the head is at {node.head_address}, and "
        f"`zejzl status` is asked there. {record.note}",
        style="yellow", markup=False, highlight=False, soft_wrap=True,
    )  # fmt: skip


def _say_whom_the_head_has_not_asked() -> None:
    record = read_supervisor_record(load_settings().data_path)
    if record is None or not record.is_alive or not record.is_unasked:
        return
    output.print(
        f"{record.node.machine}: {record.note}. If one has, {record.node.machine} becomes its worker when they see "
        "each other, and what is acknowledged here until then is dropped; a copy is kept in backups.",
        style="yellow", markup=False, highlight=False, soft_wrap=True,
    )  # fmt: skip


def _registry(client: Client) -> tuple[list[Machine], RegistryStatus | None, ZejzlError | None]:
    """Return what the registry knows, or what keeps it from answering; the services may still say why."""
    try:
        return client.machines(), client.registry_status(), None
    except (Unavailable, DeadlineExceeded) as error:
        return [], None, error


def _health(client: Client, service: str) -> ServiceHealth:
    try:
        return client.service_health(service)
    except (Unavailable, DeadlineExceeded) as error:
        failed = Check(name="answer", status=CheckStatus.FAILED, reason=error.message)
        return ServiceHealth(service=service, is_alive=False, is_ready=False, checks=(failed,))


def _print(
    machines: Sequence[Machine], services: Sequence[ServiceHealth], registry: RegistryStatus | None
) -> None:
    if registry is not None:
        output.print(machine_table(machines))
        for line in machine_notes(machines):
            output.print(Text(line, "yellow"))
    output.print(service_table(services))
    if registry is None:
        return
    counts = ", ".join(
        f"{registry.by_state[state]} {state}" for state in _STATE_ORDER if registry.by_state.get(state)
    )
    output.print(
        f"agents: {registry.agents} ({counts or 'none'}), revision {registry.revision}", highlight=False
    )
    if registry.alarm:
        output.print(f"alarm: {registry.alarm}", style="bold red", markup=False)


def machine_table(machines: Sequence[Machine]) -> Table:
    """Return the machines with a bar of used video memory for each card."""
    table = Table(title="machines", title_justify="left", header_style="bold")
    for column in ("machine", "state", "CPU", "RAM", "card", "VRAM"):
        table.add_column(column)
    for machine in machines:
        snapshot = machine.snapshot
        state = Text("alive", "green") if machine.is_alive else Text("lost", "red")
        if snapshot is None:
            table.add_row(machine.name, state, "", "", "", "")
            continue
        cpu = f"{snapshot.cpu_busy_ratio:.0%} of {snapshot.cpu_count}"
        ram = f"{snapshot.ram_used_mib / 1024:.1f} of {snapshot.ram_total_mib / 1024:.1f} GiB"
        cards = [
            (
                f"{gpu.name}{' (simulated)' if gpu.is_simulated else ''}",
                vram_bar(gpu.vram_used_mib, gpu.vram_total_mib),
            )
            for gpu in snapshot.gpus
        ] or [(snapshot.gpu_note or "no GPU", Text())]
        for index, (name, bar) in enumerate(cards):
            # Text, because brackets in foreign words would be read as markup.
            table.add_row(*([machine.name, state, cpu, ram] if index == 0 else [""] * 4), Text(name), bar)
    return table


def machine_notes(machines: Sequence[Machine]) -> list[str]:
    """Return what is not well with the machines, and what to do."""
    return [
        f"{machine.name}: {said}"
        for machine in machines
        if machine.is_alive and machine.snapshot is not None and machine.snapshot.condition is not None
        for said in (*machine.snapshot.condition.findings, *machine.snapshot.condition.advice)
    ]


def vram_bar(used_mib: int, total_mib: int) -> Text:
    """Return a bar such as ``#####--------------- 6144 of 24564 MiB``."""
    filled = min(_BAR_CELLS, round(_BAR_CELLS * used_mib / total_mib)) if total_mib else 0
    return Text.assemble(
        ("█" * filled, "cyan"), ("░" * (_BAR_CELLS - filled), "dim"), f" {used_mib} of {total_mib} MiB"
    )


def service_table(services: Sequence[ServiceHealth]) -> Table:
    """Return the services with the machine where each lives now and what is not well."""
    table = Table(title="services", title_justify="left", header_style="bold")
    for column in ("service", "machine", "state", "epoch", "notes"):
        table.add_column(column)
    for service in services:
        notes = "; ".join(
            f"{check.name}: {check.reason}" for check in service.checks if check.status is not CheckStatus.OK
        )
        state = Text("ready", "green") if service.is_ready else Text("not ready", "red")
        table.add_row(service.service, service.machine, state, str(service.epoch), Text(notes))
    return table


def _show_placement(as_json: bool) -> None:
    from actors.local_system import connected
    from zejzl_ray.cluster.local_plan import RAY_TOKEN_FILE
    from zejzl_ray.cluster.record import require_record

    settings = load_settings()
    with connected(require_record(settings.data_path), settings.data_path / RAY_TOKEN_FILE):
        from zejzl_ray.cluster.vram_placement import list_placed

        actors = list_placed()
    if as_json:
        print_json([asdict(actor) for actor in actors])
    else:
        output.print(placement_table(actors))


def placement_table(actors: "Sequence[PlacedActor]") -> Table:
    """Return every actor with what it asked for and where it sits."""
    table = Table(title="placement", title_justify="left", header_style="bold")
    for column in ("machine", "actor", "class", "state"):
        table.add_column(column)
    table.add_column("VRAM MiB", justify="right")
    table.add_column("CPU", justify="right")
    table.add_column("card")
    for actor in actors:
        vram = str(actor.vram_mib) if actor.vram_mib else ""
        table.add_row(
            actor.machine,
            Text(actor.name),
            Text(actor.actor_class),
            actor.state.lower(),
            vram,
            f"{actor.cpus:g}",
            actor.gpu_uuid,
        )
    return table
