"""``zejzl trust``: scores of agents and machines, why they are so, and the way back."""

from typing import Annotated, Final

import typer

from zejzl_ray.cli.console import print_json, printable, say
from zejzl_ray.cli.gateway import AsJson, ask, show_table, when
from zejzl_ray.cluster.security_gateway import SecurityGatewayClient
from zejzl_ray.contracts.trust import (
    GetTrust,
    GetTrustHistory,
    ListTrust,
    ResetTrust,
    Trust,
    TrustHistory,
)

app: Final = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)

Subject = Annotated[str, typer.Argument(help="Such as agent:NLUAgent or machine:pc2.")]


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option("-n", min=1, max=1000, help="How many.")] = 20, as_json: AsJson = False
) -> None:
    """List scores, lowest first."""
    found = ask(lambda gateway: gateway.list_trust(ListTrust(limit=limit)))
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    show_table(
        "trust",
        ("subject", "score", "level", "success", "speed", "samples", "way back"),
        [_row(each) for each in found.trust],
    )


@app.command()
def show(subject: Subject, as_json: AsJson = False) -> None:
    """Show one score with its last changes."""

    async def read(gateway: SecurityGatewayClient) -> tuple[Trust, TrustHistory]:
        found = await gateway.get_trust(GetTrust(subject=subject))
        return found, await gateway.get_trust_history(GetTrustHistory(subject=subject))

    found, history = ask(read)
    if as_json:
        print_json({**found.model_dump(mode="json"), "history": history.model_dump(mode="json")["points"]})
        return
    word = "" if found.is_known else ", never seen: this is where everybody begins"
    typer.echo(f"{found.subject}: {found.score:.2f}, {found.standing.level}{word}")
    if found.way_back:
        typer.echo(printable(found.way_back))
    rows = [(when(each.at_s), f"{each.score:.2f}", each.level, each.reason) for each in history.points]
    show_table("last changes", ("when", "score", "level", "why"), rows)


@app.command()
def reset(subject: Subject, reason: Annotated[str, typer.Option(help="For the audit trail.")]) -> None:
    """Forget what was seen of a subject: it begins anew."""
    request = {"subject": subject, "reason": reason}
    found = ask(lambda gateway: gateway.reset_trust(ResetTrust.model_validate(request)))
    say(f"{found.subject}: {found.score:.2f}, {found.standing.level}")


def _row(each: Trust) -> tuple[str, ...]:
    return (
        each.subject,
        f"{each.score:.2f}",
        each.standing.level,
        f"{each.success_share:.0%}",
        f"{each.speed:.0%}",
        f"{each.samples:.1f}",
        each.way_back,
    )
