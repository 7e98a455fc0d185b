"""``zejzl token``: access tokens, and the credentials of machines, agents and programs."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final

import typer

from zejzl_ray.cli.console import errors, print_json
from zejzl_ray.cli.gateway import AsJson, ask, read_hidden, show_table, when
from zejzl_ray.cluster.credential_file import write_private_file
from zejzl_ray.contracts.tokens import (
    CreateCredential,
    CredentialGrant,
    CredentialPage,
    DecideEnrolment,
    IssueToken,
    ListCredentials,
    NewCredential,
    RevokeCredential,
    RevokeTokens,
)
from zejzl_ray.errors import InvalidInput
from zejzl_ray.settings import load_settings

app: Final = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)

_DAY_S: Final = timedelta(days=1).total_seconds()
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
    path = credential_file or settings.token_file or settings.data_path / "token"
    credential = read_hidden(f"the credential {path}", path)
    tokens = ask(
        lambda gateway: gateway.issue_token(
            IssueToken(
                grant=CredentialGrant(credential=credential),
                scopes=tuple(scope or ()),
                audience=audience,
                lifetime_s=None if minutes is None else minutes * 60,
            )
        )
    )
    if as_json:
        print_json(tokens.model_dump(mode="json"))
        return
    typer.echo(tokens.access_token.get_secret_value())
    errors.print(f"{tokens.subject}, until {when(tokens.expires_at_s)}", highlight=False)


@app.command()
def machine(
    name: Annotated[str, typer.Argument(help="Name of the machine.")], output: Out = None, days: Days = None
) -> None:
    """Make the credential of a machine."""
    _create(f"machine:{name}", output, days)


@app.command()
def agent(
    name: Annotated[str, typer.Argument(help="Name of the agent.")], output: Out = None, days: Days = None
) -> None:
    """Make the credential of an agent; it may act for the agent of this name alone."""
    _create(f"agent:{name}", output, days)


@app.command()
def program(
    name: Annotated[str, typer.Argument(help="Name of the outside program.")],
    role: Roles = None,
    scope: Scopes = None,
    label: Annotated[str, typer.Option(help="What it is for.")] = "",
    signing: Annotated[bool, typer.Option("--signing", help="For signed requests, not for tokens.")] = False,
    calls_per_minute: Annotated[int | None, typer.Option(min=1, help="Its own limit.")] = None,
    output: Out = None,
    days: Days = None,
) -> None:
    """Make the credential (API key) of an outside program."""
    _create(
        f"program:{name}",
        output,
        days,
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
    as_json: AsJson = False,
) -> None:
    """List credentials, without their secrets."""

    async def all_pages(gateway):  # type: ignore[no-untyped-def]  # the client's type is ask's
        found, cursor = [], ""
        while True:
            request = ListCredentials(subject=subject, label=label, is_active_only=active, cursor=cursor)
            page: CredentialPage = await gateway.list_credentials(request)
            found += page.credentials
            cursor = page.next_cursor
            if not cursor:
                return found

    found = ask(all_pages)
    if as_json:
        print_json([credential.model_dump(mode="json") for credential in found])
        return
    show_table(
        "credentials",
        ("id", "subject", "label", "roles", "made", "ends", "last used", "state"),
        [
            (
                each.credential_id,
                each.subject,
                each.label,
                ", ".join((*each.roles, *each.scopes)),
                when(each.created_at_s),
                when(each.expires_at_s),
                when(each.last_used_at_s),
                "pending"
                if each.is_pending
                else "active"
                if each.is_active
                else each.ended_because or "ended",
            )
            for each in found
        ],
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
    if credential:
        done = ask(
            lambda gateway: gateway.revoke_credential(
                RevokeCredential(credential_id=credential, reason=reason)
            )
        )
    else:
        import time

        request = {
            "token_id": token or None,
            "session": session or None,
            "subject": subject or None,
            "everything_before_s": time.time() if everything else None,
            "reason": reason,
        }
        done = ask(lambda gateway: gateway.revoke_tokens(RevokeTokens.model_validate(request)))
    errors.print(
        f"revoked; {done.ended_sessions} sessions and {done.ended_credentials} credentials ended",
        highlight=False,
    )


@app.command()
def approve(
    machine: Annotated[str, typer.Argument(help="Name of the machine that waits.")],
    code: Annotated[str, typer.Option(help="The code that the machine shows.")],
    refuse: Annotated[bool, typer.Option("--refuse", help="Send it away.")] = False,
) -> None:
    """Let a machine in that has asked with `zejzl token enrol`; compare the code on both screens."""
    request = {"machine": machine, "code": code, "is_approved": not refuse}
    state = ask(lambda gateway: gateway.decide_enrolment(DecideEnrolment.model_validate(request)))
    errors.print(f"{machine}: {state.state}", highlight=False)


def _create(subject: str, output: Path | None, days: float | None, **more: object) -> None:
    request = {"subject": subject, "lifetime_s": None if days is None else days * _DAY_S, **more}
    if output is not None and output.exists():
        raise InvalidInput(f"{output} is there already.", "Name a new file, or remove that one first.")
    made: NewCredential = ask(
        lambda gateway: gateway.create_credential(CreateCredential.model_validate(request))
    )
    secret = made.secret.get_secret_value()
    if output is None:
        typer.echo(secret)
    else:
        write_private_file(output, secret + "\n")
    errors.print(
        f"{subject}: credential {made.credential.credential_id}"
        + (f" in {output}" if output else "; it is not shown again")
        + (f", until {when(made.credential.expires_at_s)}" if made.credential.expires_at_s else ""),
        highlight=False,
    )
