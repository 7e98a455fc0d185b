"""The ``zejzl`` command: its commands, and how errors become exit codes.

Exit codes: 0 done, 1 the command failed (one message on standard error, or one line a finding), 2 wrong usage,
130 interrupted. A traceback of an error that nobody foresaw is written only when ``ZEJZL_LOG_LEVEL`` is DEBUG.
"""

import os
import sys

import typer

from zejzl_ray.cli import (
    agent,
    agents,
    audit,
    auth,
    backup,
    cluster,
    dashboard,
    deadlocks,
    doors,
    down,
    fleet,
    login,
    logs,
    node,
    performance,
    release,
    rollback,
    secrets,
    selftest,
    status,
    tls,
    token,
    trust,
    up,
    users,
)
from zejzl_ray.cli.console import errors
from zejzl_ray.errors import FleetInvalid, ZejzlError
from zejzl_ray.log import configure_logging, get_logger, redact
from zejzl_ray.version import __version__

app = typer.Typer(
    name="zejzl",
    help="Control plane for a fleet of AI agents on the GPU machines that you own.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("up")(up.up)
app.command("down")(down.down)
app.command("status")(status.status)
app.command("selftest")(selftest.selftest)
app.command("doors")(doors.doors)
app.command("dashboard")(dashboard.dashboard)
app.command("deadlocks")(deadlocks.deadlocks)
app.command("performance")(performance.performance)
app.command("logs")(logs.logs)
app.command("login")(login.login)
app.command("logout")(login.logout)
app.command("rollback")(rollback.rollback)
app.add_typer(agent.app, name="agent", help="Write a new agent.")
app.add_typer(agents.app, name="agents", help="The agents that hosts hold: list, run, stop, restart, logs.")
app.add_typer(fleet.app, name="fleet", help="Read, check and convert startup configurations.")
app.add_typer(
    cluster.app, name="cluster", help="A cluster of several machines: write its file, check it, stop it."
)
app.add_typer(tls.app, name="tls", help="Make, renew and show the certificates of the machines.")
app.add_typer(audit.app, name="audit", help="Read, check and export the audit trail of all services.")
app.add_typer(
    token.app, name="token", help="Access tokens, and credentials of machines, agents and programs."
)
app.add_typer(users.app, name="users", help="People, their roles, passwords and sessions.")
app.add_typer(auth.app, name="auth", help="Who may do what and why, the policy, the signing keys, events.")
app.add_typer(trust.app, name="trust", help="Scores of agents and machines.")
app.add_typer(secrets.app, name="secrets", help="Secrets of agents and services.")
app.add_typer(
    backup.app, name="backup", help="Back up the state of all services while they work, and restore it."
)
app.add_typer(
    release.app,
    name="release",
    help="The project and all that it needs as one folder, and what is installed.",
)
app.add_typer(node.app, name="node", help="Join this machine to a cluster of several machines, and leave it.")


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
