"""``zejzl up``: the whole system on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from zejzl_ray.cli.checked_fleet import load_checked_fleet
from zejzl_ray.cli.console import errors, print_json
from zejzl_ray.cli.status import AUTH_IS_OFF
from zejzl_ray.sdk.connect import is_auth_off
from zejzl_ray.settings import load_settings

if TYPE_CHECKING:
    from actors.host_standing import HostStanding


def _shown_host(host: "HostStanding") -> dict[str, object]:
    return {
        "host": host.name,
        "machine": host.machine,
        "problem": host.problem,
        "agents": {agent.name: agent.state.value for agent in host.agents},
        "troubles": list(host.troubles),
    }


def up(
    fleet: Annotated[
        Path | None, typer.Option(help="fleet file; default: config/fleet.yaml here, else the shipped one")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="print the result as JSON, without progress")
    ] = False,
) -> None:
    """Start the whole system on this machine; repeated, it changes nothing.

    Starts one Ray node for each machine of the fleet, the five services, the node agents and the ingress, waits until
    each of them answers, and loads the fleet. Any other Ray cluster of the machine is left alone.
    """
    from actors.local_system import start_local_system

    settings = load_settings()
    declared, source = load_checked_fleet(settings, fleet)

    def report(line: str) -> None:
        mark = "[yellow]![/]" if line.startswith("warning: ") else "[green]✓[/]"
        if not as_json:
            errors.print(f"  {mark} {escape(line)}", highlight=False, soft_wrap=True)

    system = start_local_system(settings, declared, str(source), report)
    record, running = system.record, system.running
    # What runs already may have been started with other settings, so it is asked.
    said = is_auth_off(record.http_url, settings)
    is_off = not settings.require_auth if said is None else said
    if as_json:
        print_json(
            {
                "was_running": system.was_running,
                "auth": "off" if is_off else "on",
                "ingress": record.http_url,
                "dashboard": record.dashboard_url,
                "ray_address": record.address,
                "namespace": record.namespace,
                "token_file": str(system.token_file),
                "ray_token_file": str(system.ray_token_file),
                "fleet_file": str(source),
                "fleet": running.fleet.model_dump(),
                "services": {health.service: health.machine for health in running.services},
                "machines": list(running.machines),
                "missing_machines": list(running.missing_machines),
                "hosts": [_shown_host(host) for host in running.hosts],
                "took_s": round(system.took_s, 1),
            }
        )
        return
    already = "already running, " if system.was_running else ""
    errors.print(f"[bold green]{already}ready[/] in {system.took_s:.1f} s", highlight=False)
    if is_off:
        errors.print(AUTH_IS_OFF, style="bold red", markup=False, highlight=False, soft_wrap=True)
    troubles = sum(len(host.troubles) for host in running.hosts)
    if running.hosts:
        agents = sum(len(host.agents) for host in running.hosts)
        wrong = f", {troubles} not well: `zejzl agents list`" if troubles else ""
        typer.echo(f"agents      {agents} on {len(running.hosts)} hosts{wrong}")
    typer.echo(f"ingress     {record.http_url}")
    typer.echo(f"token file  {system.token_file}")
    typer.echo(f"dashboard   {record.dashboard_url}  (asks for the token in {system.ray_token_file})")
