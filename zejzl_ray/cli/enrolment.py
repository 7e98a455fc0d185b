"""``zejzl token enrol`` and ``approve``: a new machine asks to be let in, and somebody compares the code."""

import time
from pathlib import Path
from typing import Annotated, Final

import typer

from zejzl_ray.auth.credential_text import code_of, digest_of, new_credential
from zejzl_ray.cli.console import print_json, say
from zejzl_ray.cli.gateway import AsJson, ask, ask_anonymously, when
from zejzl_ray.cluster.credential_file import ensure_credential_file
from zejzl_ray.cluster.private_file import write_private_file
from zejzl_ray.cluster.security_gateway import SecurityGatewayClient
from zejzl_ray.contracts.tokens import DecideEnrolment, Enrolment, RequestEnrolment
from zejzl_ray.errors import DeadlineExceeded, Unavailable
from zejzl_ray.settings import load_settings

CREDENTIAL_FILE: Final = "machine_credential"
_PERIOD_S: Final = 2.0


def enrol(
    machine: Annotated[str, typer.Argument(help="Name of this machine.")],
    note: Annotated[str, typer.Option(help="For whoever approves.")] = "",
    wait: Annotated[float, typer.Option(min=0, max=3600, help="Seconds to wait for the approval.")] = 0.0,
    is_new: Annotated[
        bool, typer.Option("--new", help="Make another credential; for a machine that was refused.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Ask for this machine to be let in; repeated, it says how the request stands.

    The machine makes its credential itself and keeps it in the data directory, mode 0600; nothing secret is sent.
    Exit code 1 when the machine is refused, or not approved within --wait.
    """
    settings = load_settings()
    path = settings.data_path / CREDENTIAL_FILE
    text = ensure_credential_file(path)
    if is_new:
        text = new_credential()
        write_private_file(path, f"{text.get_secret_value()}\n")
    digest = digest_of(text)

    def request() -> Enrolment:
        async def send(gateway: SecurityGatewayClient) -> Enrolment:
            fields = {"machine": machine, "secret_digest": digest, "note": note}
            return await gateway.request_enrolment(RequestEnrolment.model_validate(fields))

        return ask_anonymously(settings, send)

    found = request()
    if found.state == "pending" and not as_json:
        say(f"{machine} waits to be let in. Its code is:")
        typer.echo(code_of(digest))
        say(f"Whoever may approve runs: zejzl token approve {machine} --code CODE")
    end_s = time.monotonic() + wait
    while found.state == "pending" and (left_s := end_s - time.monotonic()) > 0:
        _pause(min(_PERIOD_S, left_s))
        try:
            found = request()
        except (Unavailable, DeadlineExceeded) as error:
            if time.monotonic() >= end_s:
                raise
            say(f"asking again: {error.message}", "yellow")
    _tell(found, path, code_of(digest), as_json)
    if found.state == "refused" or (found.state == "pending" and wait > 0):
        raise typer.Exit(1)


def approve(
    machine: Annotated[str, typer.Argument(help="Name of the machine that waits.")],
    code: Annotated[str, typer.Option(help="The code that the machine shows.")],
    refuse: Annotated[bool, typer.Option("--refuse", help="Send it away.")] = False,
) -> None:
    """Let a machine in that has asked with `zejzl token enrol`; take the code from that machine's own screen."""
    request = {"machine": machine, "code": code, "is_approved": not refuse}
    done = ask(lambda gateway: gateway.decide_enrolment(DecideEnrolment.model_validate(request)))
    say(f"{machine}: {done.state}")


def _tell(found: Enrolment, path: Path, code: str, as_json: bool) -> None:
    if as_json:
        print_json({**found.model_dump(mode="json"), "code": code, "credential_file": str(path)})
    elif found.state == "approved":
        say(f"{found.machine}: approved. Programs of this machine use it with ZEJZL_TOKEN_FILE={path}")
    elif found.state == "refused":
        say(f"{found.machine}: refused. Ask again with --new.", "bold red")
    else:
        until = f" until {when(found.expires_at_s)}" if found.expires_at_s is not None else ""
        say(f"{found.machine}: not approved yet; it may be{until}. Run this command again to see.")


def _pause(seconds: float) -> None:
    time.sleep(seconds)
