"""``zejzl agent``: write a new agent."""

from pathlib import Path
from typing import Annotated, Final

import typer

from zejzl_ray.cli.console import print_json

app: Final = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def agent() -> None:
    """Write a new agent."""


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Its name in the fleet, such as Observer.")],
    folder: Annotated[Path, typer.Option("--dir", "-d", help="Where the files go.")] = Path(),
    machine: Annotated[
        str, typer.Option("--machine", "-m", help="Machine it runs on; left out: where there is room.")
    ] = "",
    fleet_file: Annotated[
        Path | None,
        typer.Option(
            "--fleet",
            "-f",
            help="Fleet in which its name must be free.",
            show_default="config/fleet.yaml here",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write an agent's class, a test that passes, and its entry for the fleet file."""
    import os

    from zejzl_ray.agents.scaffold import draft_agent, write_agent
    from zejzl_ray.fleet.load import load_fleet
    from zejzl_ray.fleet.sources import default_fleet_file

    chosen = fleet_file or default_fleet_file()
    fleet = load_fleet([chosen], environment=os.environ).raise_if_invalid()
    draft = draft_agent(name, folder, machine=machine, fleet=fleet)
    write_agent(draft)
    written = [str(path) for path in draft.files]
    if as_json:
        print_json({"name": draft.name, "entry": f"{draft.module}:{draft.class_name}", "files": written})
        return
    for path in written:
        typer.echo(path)
    typer.echo(f"Try it: cd {folder} && python -m pytest test_{draft.module}.py", err=True)
    typer.echo(f"Then put {draft.module}.fleet.yaml into {chosen}.", err=True)
