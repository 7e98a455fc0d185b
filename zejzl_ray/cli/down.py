"""``zejzl down``: stop everything that ``up`` started."""

from typing import Annotated

import typer
from rich.markup import escape

from zejzl_ray.cli.console import errors, print_json
from zejzl_ray.settings import load_settings


def down(
    as_json: Annotated[
        bool, typer.Option("--json", help="print the result as JSON, without progress")
    ] = False,
) -> None:
    """Stop everything that `zejzl up` started here; the state stays. Safe to repeat."""
    from actors.local_system import stop_local_system

    def report(line: str) -> None:
        if not as_json:
            errors.print(f"  [green]✓[/] {escape(line)}", highlight=False, soft_wrap=True)

    done = stop_local_system(load_settings(), report)
    if as_json:
        print_json({"ended": done.ended, "killed": done.killed})
    else:
        typer.echo("nothing was running" if not (done.ended or done.killed) else "stopped")
