"""Commands are loaded when they are named, and are there as if they had been from the beginning."""

import subprocess
import sys

import typer
from typer.testing import CliRunner

from zejzl_ray.cli.main import app
from zejzl_ray.cli.named_later import Later, LaterGroup


class _Group(LaterGroup):
    later = (Later("state", "node_state"), Later("trust", "trust", "Scores."))


def _own() -> typer.Typer:
    made = typer.Typer(cls=_Group)

    @made.command()
    def here() -> None:
        typer.echo("here")

    @made.callback()
    def group() -> None:
        """Keep it a group."""

    return made


def test_a_start_of_a_node_loads_no_other_command() -> None:
    program = (
        "import sys, zejzl_ray.cli.main as m; typer = m.typer.main.get_command(m.app); typer.commands['node'];"
        "print(*(n for n in ('status', 'up', 'cluster', 'backup') if f'zejzl_ray.cli.{n}' in sys.modules))"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout.strip() == ""


def test_all_are_listed_in_the_order_of_the_table_with_what_they_say_of_themselves() -> None:
    group = typer.main.get_group(_own())
    shown = CliRunner().invoke(_own(), ["--help"]).output

    assert list(group.commands) == ["state", "trust", "here"]
    assert len(group.commands) == 3
    assert "Scores." in shown
    assert "Say whether the Ray node of this machine is up" in shown


def test_a_command_is_loaded_once_and_may_be_replaced_or_taken_away() -> None:
    commands = typer.main.get_group(_own()).commands

    assert commands["state"] is commands["state"]
    commands["state"] = commands["here"]
    assert commands["state"] is commands["here"]
    del commands["state"]
    assert "state" not in commands
    assert commands.get("state") is None


def test_who_mistypes_a_command_is_told_the_nearest() -> None:
    done = CliRunner().invoke(app, ["nod"])

    assert done.exit_code == 2
    assert "'node'" in done.output
