"""The ``zejzl`` command: its commands, and how errors become exit codes.

Exit codes: 0 done, 1 the command failed (one message on standard error, or one line a finding), 2 wrong usage,
130 interrupted. A traceback of an error that nobody foresaw is written only when ``ZEJZL_LOG_LEVEL`` is DEBUG.
"""

import os
import sys
from typing import Final

import typer

from zejzl_ray.cli.console import errors
from zejzl_ray.cli.named_later import Later, LaterGroup
from zejzl_ray.errors import FleetInvalid, ZejzlError
from zejzl_ray.log import configure_logging, get_logger, redact
from zejzl_ray.version import __version__

_COMMANDS: Final = (
    Later("up", "up"),
    Later("down", "down"),
    Later("status", "status"),
    Later("selftest", "selftest"),
    Later("doors", "doors"),
    Later("dashboard", "dashboard"),
    Later("deadlocks", "deadlocks"),
    Later("performance", "performance"),
    Later("logs", "logs"),
    Later("login", "login"),
    Later("logout", "login"),
    Later("rollback", "rollback"),
    Later("agent", "agent", "Write a new agent."),
    Later("agents", "agents", "The agents that hosts hold: list, run, stop, restart, logs."),
    Later("fleet", "fleet", "Read, check and convert startup configurations."),
    Later("cluster", "cluster", "A cluster of several machines: write its file, check it, stop it."),
    Later("tls", "tls", "Make, renew and show the certificates of the machines."),
    Later("audit", "audit", "Read, check and export the audit trail of all services."),
    Later("token", "token", "Access tokens, and credentials of machines, agents and programs."),
    Later("users", "users", "People, their roles, passwords and sessions."),
    Later("auth", "auth", "Who may do what and why, the policy, the signing keys, events."),
    Later("trust", "trust", "Scores of agents and machines."),
    Later("secrets", "secrets", "Secrets of agents and services."),
    Later("backup", "backup", "Back up the state of all services while they work, and restore it."),
    Later("release", "release", "The project and all that it needs as one folder, and what is installed."),
    Later("node", "node", "Join this machine to a cluster of several machines, and leave it."),
)


class _Commands(LaterGroup):
    later = _COMMANDS


app = typer.Typer(
    cls=_Commands,
    name="zejzl",
    help="Control plane for a fleet of AI agents on the GPU machines that you own.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def zejzl() -> None:
    """Stand for the group, which Typer would otherwise take for the one command below."""


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def main() -> None:
    """Run the command line and exit."""
    is_debugging = os.environ.get("ZEJZL_LOG_LEVEL") == "DEBUG"
    configure_logging("DEBUG" if is_debugging else "WARNING")
    try:
        app(standalone_mode=True)
    except ZejzlError as error:
        _say(_told(error))
        sys.exit(1)
    except KeyboardInterrupt:
        _say("interrupted")
        sys.exit(130)
    except Exception as error:  # the last resort: nobody reads a traceback
        if is_debugging:
            get_logger("cli").exception("internal error")
        _say(
            f"internal error: {type(error).__name__}: {redact(str(error))}\n"
            "Please report it. ZEJZL_LOG_LEVEL=DEBUG shows where it happened."
        )
        sys.exit(1)


def _told(error: ZejzlError) -> str:
    """Return the error as it is shown; findings of a fleet file say after their places already what they are."""
    text = str(error)
    has_findings = isinstance(error, FleetInvalid) and ": error: " in text.partition("\n")[0]
    return text if has_findings else f"error: {text}"


def _say(text: str) -> None:
    errors.print(text, style="bold red", markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
