"""``zejzl agents``: the agents that hosts hold; see them, run, stop and restart them, read their logs."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import orjson
import typer

from zejzl_ray.cli import logs as cli_logs
from zejzl_ray.cli.agent_rows import agent_rows, agent_table
from zejzl_ray.cli.checked_fleet import load_checked_fleet
from zejzl_ray.cli.console import errors, output, print_json, printable, say
from zejzl_ray.cli.gateway import AsJson
from zejzl_ray.cluster.mail_directory import HOST_KEY
from zejzl_ray.contracts import agent_host as wire
from zejzl_ray.contracts.agent_life import AgentInfo
from zejzl_ray.contracts.services import BY_SERVICE
from zejzl_ray.errors import AgentNotFound, Conflict, InvalidInput, NotFound, ZejzlError
from zejzl_ray.fleet.validators.agent_hosts import MAX_HOST_NAME, names_class
from zejzl_ray.ids import NAME_REGEX
from zejzl_ray.sdk.client import Client
from zejzl_ray.sdk.connect import connect
from zejzl_ray.settings import load_settings

if TYPE_CHECKING:
    from actors.host_standing import HostStanding

app: Final = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)

_OPERATIONS: Final = BY_SERVICE[wire.SERVICE]
_CONTROL_S: Final = 60.0  # an agent handles what is in its mailbox before it stops
_PRESENT: Final = frozenset({"starting", "healthy", "degraded", "unhealthy"})

Name = Annotated[str, typer.Argument(help="Name of the agent, or of the host with --host.")]
IsHost = Annotated[
    bool, typer.Option("--host", help="NAME is a host: its whole process; on a machine of the cluster.")
]


@app.command("list")
def list_(
    machine: Annotated[str, typer.Option(help="Only those on this machine.")] = "",
    host: Annotated[str, typer.Option(help="Only those of this host.")] = "",
    as_json: AsJson = False,
) -> None:
    """List the agents of all hosts: where they are, how they are and why, what waits in their mailboxes."""
    with connect() as client:
        rows, unread = agent_rows(client, machine=machine, host=host)
    if as_json:
        print_json({"agents": [row.as_dict() for row in rows], "unread": unread})
        return
    output.print(agent_table(rows))
    for name, why in unread.items():
        say(f"host {name} does not answer, so this is what the registry knows: {why}", "yellow")


@app.command()
def run(
    target: Annotated[str, typer.Argument(help="A host or an agent of the fleet file, or module:Class.")],
    fleet: Annotated[
        Path | None, typer.Option("--fleet", "-f", help="Fleet file.", show_default="as for up")
    ] = None,
    name: Annotated[str, typer.Option(help="With module:Class: name of the agent.")] = "",
    machine: Annotated[str, typer.Option(help="With module:Class: where it runs.")] = "",
    host: Annotated[str, typer.Option(help="With module:Class: its host; unset: called as the agent.")] = "",
    path: Annotated[
        list[Path] | None,
        typer.Option(help="With module:Class: folder with the module; may be repeated.", show_default="here"),
    ] = None,
    config: Annotated[str, typer.Option(help="With module:Class: its settings as JSON.")] = "{}",
    as_json: AsJson = False,
) -> None:
    """Start agents; on a machine of the cluster, at the head where there are several.

    A host or an agent of the fleet file is started as `zejzl up` would. module:Class is an agent that no file names: it
    has a host of its own, and stays until it is ended.
    """
    from actors.hosts_by_hand import run_declared, run_entry

    settings = load_settings()
    if ":" in target:
        _check_entry(target, name, host or name, machine)
        folders = tuple(str(folder.absolute()) for folder in path or [Path()])
        with connect() as client:
            _require_free(client, name)
        standing = run_entry(
            settings,
            target,
            _told(as_json),
            name=name,
            machine=machine,
            host=host or name,
            path=folders,
            config=_json_object(config),
        )
    else:
        if name or machine or host or path:
            raise typer.BadParameter("--name, --machine, --host and --path go with module:Class")
        declared, source = load_checked_fleet(settings, fleet)
        standing = run_declared(settings, declared, source, target, _told(as_json))
    _show_standing(standing, as_json)


@app.command()
def stop(name: Name, is_host: IsHost = False, as_json: AsJson = False) -> None:
    """Stop an agent after it has handled its mail; it stays stopped until somebody starts it, or its host."""
    if is_host:
        from actors.hosts_by_hand import end_host

        end_host(load_settings(), name, _told(as_json))
        _said({"host": name, "state": "ended"}, f"host {name}: ended", as_json)
    else:
        _control("stop_agent", name, as_json)


@app.command()
def start(name: Name, as_json: AsJson = False) -> None:
    """Start an agent that was stopped, in its host."""
    _control("start_agent", name, as_json)


@app.command()
def restart(name: Name, is_host: IsHost = False, as_json: AsJson = False) -> None:
    """Start an agent anew; what is in its mailbox stays there. Changed code needs --host: a new process."""
    if is_host:
        from actors.hosts_by_hand import renew_host

        renew_host(load_settings(), name, _told(as_json))
        _said({"host": name, "state": "running"}, f"host {name}: runs in a new process", as_json)
    else:
        _control("restart_agent", name, as_json)


@app.command()
def logs(
    name: Annotated[str, typer.Argument(help="Name of the agent.")],
    follow: cli_logs.Follow = False,
    level: cli_logs.LeastLevel = cli_logs.Level.DEBUG,
    since: cli_logs.Since = "",
    limit: cli_logs.Limit = 100,
    as_json: cli_logs.LinesAsJson = False,
) -> None:
    """Show the log lines of an agent; the same as `zejzl logs --agent NAME`."""
    cli_logs.logs(agent=name, follow=follow, level=level, since=since, limit=limit, as_json=as_json)


def _control(operation: str, name: str, as_json: bool) -> None:
    with connect() as client:
        real, host = _place_of(client, name)
        reply = client.call(
            _OPERATIONS[operation], wire.ControlAgent(name=real, host=host), timeout_s=_CONTROL_S
        )
    if not isinstance(reply, AgentInfo):
        raise ZejzlError(f"The answer is a {type(reply).__name__} and no AgentInfo.")
    why = f" ({reply.reason})" if reply.reason else ""
    _said(
        {"host": host, **reply.model_dump(mode="json")},
        f"{reply.name} on {host}: {reply.state}{why}",
        as_json,
    )


def _place_of(client: Client, name: str) -> tuple[str, str]:
    """Return an agent's real name and its host.

    Raises:
        InvalidInput: no host holds it, or it is a host itself.
        AgentNotFound: the registry does not know it.
    """
    try:
        agent = client.agent(name)
    except AgentNotFound:
        if client.list_agents(metadata_key=HOST_KEY, metadata_value=name):
            raise InvalidInput(f"{name} is a host and no agent.", "Add --host.") from None
        raise
    host = agent.metadata.get(HOST_KEY)
    if not isinstance(host, str) or not host:
        raise InvalidInput(
            f"No host of agents holds {agent.name}: it is of kind {agent.kind}.",
            "`zejzl agents list` shows those of hosts.",
        )
    return agent.name, host


def _require_free(client: Client, name: str) -> None:
    try:
        agent = client.agent(name)
    except NotFound:
        return
    if agent.state in _PRESENT or agent.name != name:
        raise Conflict(f"There is an agent {name} already, on {agent.machine}.", "Choose another name.")


def _check_entry(entry: str, name: str, host: str, machine: str) -> None:
    if not names_class(entry):
        raise typer.BadParameter(f"{entry!r} names no class; write it as package.module:Class")
    if not name:
        raise typer.BadParameter("--name: say what the agent is called")
    for option, text in (("--name", name), ("--host", host), ("--machine", machine)):
        if text and not NAME_REGEX.fullmatch(text):
            raise typer.BadParameter(f"{option}: {text!r} is no name")
    if len(host) > MAX_HOST_NAME:
        raise typer.BadParameter(f"--host: longer than {MAX_HOST_NAME} characters")


def _json_object(text: str) -> dict[str, Any]:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise typer.BadParameter(f"--config: no JSON ({error})") from None
    if not isinstance(found, dict):
        raise typer.BadParameter("--config: a JSON object is needed")
    return found


def _show_standing(standing: "HostStanding", as_json: bool) -> None:
    told = {
        "host": standing.name,
        "machine": standing.machine,
        "agents": {agent.name: agent.state.value for agent in standing.agents},
        "troubles": list(standing.troubles),
    }
    held = ", ".join(f"{agent.name} {agent.state}" for agent in standing.agents)
    _said(told, f"host {standing.name} on {standing.machine}: {held}", as_json)
    for trouble in standing.troubles:
        say(trouble, "yellow")
    if standing.troubles:
        raise typer.Exit(1)


def _told(as_json: bool) -> Callable[[str], None]:
    def report(line: str) -> None:
        if not as_json:
            errors.print(f"  {printable(line)}", markup=False, highlight=False, soft_wrap=True)

    return report


def _said(data: dict[str, Any], text: str, as_json: bool) -> None:
    if as_json:
        print_json(data)
    else:
        typer.echo(printable(text))
