"""``zejzl auth``: who am I, may X do Y and why, the policy, the signing keys, security events."""

from typing import Annotated, Final

import typer
from rich.text import Text

from zejzl_ray.cli import master_key, policy
from zejzl_ray.cli.console import output, print_json, printable, say
from zejzl_ray.cli.gateway import AsJson, ask, show_table, when
from zejzl_ray.cli.users import session_table
from zejzl_ray.cluster.security_gateway import SecurityGatewayClient
from zejzl_ray.contracts.policy import ExplainAccess
from zejzl_ray.contracts.services import OPERATIONS
from zejzl_ray.contracts.tokens import (
    EndSession,
    ListOwnSessions,
    ListSigningKeys,
    RotateKeys,
    SigningKeys,
    WhoAmI,
)
from zejzl_ray.contracts.trust import ListSecurityEvents, ThreatLevel

app: Final = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(policy.app, name="policy", help="Check the policy file, show and replace the policy in force.")
app.command("rotate-master-key")(master_key.rotate_master_key)


@app.command()
def whoami(as_json: AsJson = False) -> None:
    """Show under which name this machine calls, and what that allows."""
    who = ask(lambda gateway: gateway.who_am_i(WhoAmI()))
    if as_json:
        print_json(who.model_dump(mode="json"))
        return
    typer.echo(who.subject)
    for grant in who.grants:
        typer.echo(f"  {grant}")


@app.command()
def sessions(
    end: Annotated[str, typer.Option(help="Id of a session of yours to end.")] = "", as_json: AsJson = False
) -> None:
    """List your own logins, or end one; those of others are under `zejzl users sessions`."""
    if end:
        ask(lambda gateway: gateway.end_own_session(EndSession(session=end)))
        say(f"session {end} ended")
        return
    found = ask(lambda gateway: gateway.list_own_sessions(ListOwnSessions()))
    if as_json:
        print_json([session.model_dump(mode="json") for session in found.sessions])
        return
    session_table(found.sessions)


@app.command()
def explain(
    subject: Annotated[str, typer.Argument(help="Such as user:ada or agent:NLUAgent.")],
    operation: Annotated[str, typer.Argument(help="Such as core_orchestrator.register_agent, or a scope.")],
    target: Annotated[str, typer.Option(help="Name of the thing that it is done to.")] = "",
    as_json: AsJson = False,
) -> None:
    """Say whether a subject may do something, and why; changes nothing. Exit code 1 when it may not."""
    request = {"subject": subject, "operation": operation, "target": target}
    answer = ask(lambda gateway: gateway.explain_access(ExplainAccess.model_validate(request)))
    if as_json:
        print_json(answer.model_dump(mode="json"))
    else:
        word = Text("yes", "bold green") if answer.is_allowed else Text("no", "bold red")
        output.print(Text.assemble(word, f"  {answer.subject}  {answer.operation}  {answer.scope}"))
        for reason in answer.reasons:
            mark = Text("  + ", "green") if reason.is_passed else Text("  - ", "red")
            output.print(Text.assemble(mark, printable(reason.text)))
    if not answer.is_allowed:
        raise typer.Exit(1)


@app.command()
def operations(as_json: AsJson = False) -> None:
    """List every operation with the scope that it wants."""
    if as_json:
        print_json(
            [{"operation": each.key, "scope": each.scope, "own": each.own_scope} for each in OPERATIONS]
        )
        return
    rows = [(each.key, each.scope or "(public)", each.own_scope) for each in OPERATIONS]
    show_table("operations", ("operation", "scope", "or, for one's own"), rows)


@app.command()
def keys(
    rotate: Annotated[bool, typer.Option("--rotate", help="Begin a rotation.")] = False,
    immediate: Annotated[
        bool, typer.Option("--immediate", help="Old keys, and all tokens that they signed, are gone at once.")
    ] = False,
    reason: Annotated[str, typer.Option(help="For the audit trail.")] = "",
    as_json: AsJson = False,
) -> None:
    """List the signing keys, or rotate them."""

    async def work(gateway: SecurityGatewayClient) -> SigningKeys:
        if rotate or immediate:
            return await gateway.rotate_keys(RotateKeys(is_immediate=immediate, reason=reason))
        return await gateway.list_signing_keys(ListSigningKeys())

    found = ask(work)
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    show_table(
        "signing keys",
        ("id", "state", "made", "signs from", "retired", "gone"),
        [
            (
                each.kid,
                each.state,
                when(each.created_at_s),
                when(each.signs_from_s),
                when(each.retired_at_s),
                when(each.gone_at_s),
            )
            for each in found.keys
        ],
    )


@app.command()
def events(
    level: Annotated[ThreatLevel, typer.Option(help="Least level.")] = ThreatLevel.LOW,
    limit: Annotated[int, typer.Option("-n", min=1, max=1000, help="How many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the last security events, newest first."""
    found = ask(
        lambda gateway: gateway.list_security_events(ListSecurityEvents(least_level=level, limit=limit))
    )
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    show_table(
        "security events",
        ("last", "level", "kind", "who", "address", "count", "what"),
        [
            (
                when(each.last_at_s),
                each.level.value,
                each.kind,
                each.subject,
                each.address,
                str(each.count),
                each.description,
            )
            for each in found.events
        ],
    )
