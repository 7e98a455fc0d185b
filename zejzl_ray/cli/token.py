"""``zejzl token``: access tokens, and the credentials of machines, agents and programs."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from zejzl_ray.cli import enrolment
from zejzl_ray.cli.console import print_json, say
from zejzl_ray.cli.gateway import AsJson, all_pages, ask, ask_anonymously, read_hidden, show_table, when
from zejzl_ray.cluster.local_plan import TOKEN_FILE
from zejzl_ray.cluster.private_file import write_private_file
from zejzl_ray.cluster.security_gateway import SecurityGatewayClient
from zejzl_ray.contracts.tokens import (
    MAX_PAGE,
    CreateCredential,
    Credential,
    CredentialGrant,
    IssueToken,
    ListCredentials,
    RevokeCredential,
    RevokeTokens,
)
from zejzl_ray.errors import ClusterError, InvalidInput
from zejzl_ray.settings import load_settings

app: Final = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)

_DAY_S: Final = 86_400.0
Roles = Annotated[list[str] | None, typer.Option("--role", help="Role; may be repeated.")]
Scopes = Annotated[
    list[str] | None,
    typer.Option("--scope", help="service:resource:action, parts may be *; may be repeated."),
]
Days = Annotated[
    float | None, typer.Option(min=0.001, help="Days until it ends; unset: until it is revoked.")
]
Out = Annotated[
    Path | None, typer.Option("--output", help="Write the secret there, mode 0600; unset: print it once.")
]
Label = Annotated[str, typer.Option(help="What it is for.")]


@app.command()
def issue(
    scope: Scopes = None,
    audience: Annotated[str, typer.Option(help="One service that it is for; unset: all.")] = "zejzl",
    minutes: Annotated[float | None, typer.Option(min=0.01, max=60, help="Minutes until it ends.")] = None,
    credential_file: Annotated[
        Path | None, typer.Option(help="Credential to exchange; unset: the administrator's of this machine.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Exchange a credential for a short-lived access token, narrowed to some scopes."""
    settings = load_settings()
    path = credential_file or settings.token_file or settings.data_path / TOKEN_FILE
    credential = read_hidden(f"the credential {path}", path.expanduser())
    request = {
        "grant": CredentialGrant(credential=credential),
        "scopes": tuple(scope or ()),
        "audience": audience,
        "lifetime_s": None if minutes is None else minutes * 60,
    }

    async def exchange(gateway: SecurityGatewayClient) -> Any:
        return await gateway.issue_token(IssueToken.model_validate(request))

    tokens = ask_anonymously(settings, exchange)
    if as_json:
        print_json(tokens.model_dump(mode="json"))
        return
    typer.echo(tokens.access_token.get_secret_value())
    say(f"{tokens.subject}, until {when(tokens.expires_at_s)}")


@app.command()
def machine(
    name: Annotated[str, typer.Argument(help="Name of the machine.")],
    label: Label = "",
    output: Out = None,
    days: Days = None,
    as_json: AsJson = False,
) -> None:
    """Make the credential of a machine; `zejzl token enrol` does it without carrying a secret about."""
    _create(f"machine:{name}", output, days, as_json, label=label)


@app.command()
def agent(
    name: Annotated[str, typer.Argument(help="Name of the agent.")],
    label: Label = "",
    output: Out = None,
    days: Days = None,
    as_json: AsJson = False,
) -> None:
    """Make the credential of an agent; it may act for the agent of this name alone."""
    _create(f"agent:{name}", output, days, as_json, label=label)


@app.command()
def program(
    name: Annotated[str, typer.Argument(help="Name of the outside program.")],
    role: Roles = None,
    scope: Scopes = None,
    label: Label = "",
    signing: Annotated[bool, typer.Option("--signing", help="For signed requests, not for tokens.")] = False,
    calls_per_minute: Annotated[int | None, typer.Option(min=1, help="Its own limit.")] = None,
    output: Out = None,
    days: Days = None,
    as_json: AsJson = False,
) -> None:
    """Make the credential (API key) of an outside program."""
    _create(
        f"program:{name}",
        output,
        days,
        as_json,
        roles=tuple(role or ()),
        scopes=tuple(scope or ()),
        label=label,
        is_signing=signing,
        calls_per_minute=calls_per_minute,
    )


@app.command("list")
def list_(
    subject: Annotated[str | None, typer.Option(help="Of one subject, such as agent:NLUAgent.")] = None,
    label: Annotated[str, typer.Option(help="Part of the label.")] = "",
    active: Annotated[bool, typer.Option("--active", help="Those that count alone.")] = False,
    pending: Annotated[
        bool, typer.Option("--pending", help="Machines that wait for approval alone.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List credentials, without their secrets."""
    if active and pending:
        raise typer.BadParameter("give --active or --pending: what waits does not count yet")

    async def read(gateway: SecurityGatewayClient) -> list[Credential]:
        async def page(cursor: str) -> tuple[Sequence[Credential], str]:
            found = await gateway.list_credentials(
                ListCredentials(
                    subject=subject, label=label, is_active_only=active, limit=MAX_PAGE, cursor=cursor
                )
            )
            return found.credentials, found.next_cursor

        return await all_pages(page)

    found = [each for each in ask(read) if each.is_pending or not pending]
    if as_json:
        print_json([credential.model_dump(mode="json") for credential in found])
        return
    show_table(
        "credentials",
        ("id", "subject", "label", "roles", "made", "ends", "last used", "state"),
        [_row(each) for each in found],
    )


@app.command()
def revoke(
    credential: Annotated[str, typer.Option(help="Id of a credential: it and its tokens end.")] = "",
    token: Annotated[str, typer.Option(help="Id (jti) of one access token.")] = "",
    session: Annotated[str, typer.Option(help="Id of a login.")] = "",
    subject: Annotated[str, typer.Option(help="Everything issued to this subject until now.")] = "",
    everything: Annotated[
        bool, typer.Option("--everything", help="All tokens issued until now, yours too.")
    ] = False,
    reason: Annotated[str, typer.Option(help="For the audit trail.")] = "",
) -> None:
    """Revoke by exactly one of credential, token, session, subject or everything; it counts within a second."""
    if sum(map(bool, (credential, token, session, subject, everything))) != 1:
        raise typer.BadParameter(
            "give exactly one of --credential, --token, --session, --subject, --everything"
        )
    request = {
        "token_id": token or None,
        "session": session or None,
        "subject": subject or None,
        "everything_before_s": time.time() if everything else None,
        "reason": reason,
    }

    async def end(gateway: SecurityGatewayClient) -> Any:
        if credential:
            return await gateway.revoke_credential(RevokeCredential(credential_id=credential, reason=reason))
        return await gateway.revoke_tokens(RevokeTokens.model_validate(request))

    done = ask(end)
    say(f"revoked; {done.ended_sessions} sessions and {done.ended_credentials} credentials ended")


app.command()(enrolment.enrol)
app.command()(enrolment.approve)


def _create(subject: str, output: Path | None, days: float | None, as_json: bool, **more: object) -> None:
    request = {"subject": subject, "lifetime_s": None if days is None else days * _DAY_S, **more}
    if output is not None:
        _require_new(output)
    made = ask(lambda gateway: gateway.create_credential(CreateCredential.model_validate(request)))
    secret, known = made.secret.get_secret_value(), made.credential
    if output is not None:
        try:
            write_private_file(output, secret + "\n")
        except ClusterError as error:  # its text is lost, so it is of no use to anybody
            remedy = f"Revoke it with `zejzl token revoke --credential {known.credential_id}`, and try again."
            raise ClusterError(error.message, remedy) from None
    if as_json:
        shown = {"file": str(output)} if output is not None else {"secret": secret}
        print_json({"credential": known.model_dump(mode="json"), **shown})
        return
    if output is None:
        typer.echo(secret)
    where = f" in {output}" if output is not None else "; it is not shown again"
    until = f", until {when(known.expires_at_s)}" if known.expires_at_s else ""
    say(f"{subject}: credential {known.credential_id}{where}{until}")


def _require_new(file: Path) -> None:
    """Refuse, before anything is made, a file that is there or cannot be written."""
    if file.exists():
        raise InvalidInput(f"{file} is there already.", "Name a new file, or remove that one first.")
    if not os.access(file.parent, os.W_OK | os.X_OK):
        raise InvalidInput(f"{file} cannot be written.", "Name a file in a directory of yours.")


def _row(each: Credential) -> tuple[str, ...]:
    state = "active" if each.is_active else each.ended_because or "ended"
    return (
        each.credential_id,
        each.subject,
        each.label,
        ", ".join((*each.roles, *each.scopes)),
        when(each.created_at_s),
        when(each.expires_at_s),
        when(each.last_used_at_s),
        "pending" if each.is_pending else state,
    )
