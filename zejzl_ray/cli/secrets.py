"""``zejzl secrets``: what agents and services need to know and nobody else may."""

from pathlib import Path
from typing import Annotated, Final

import typer

from zejzl_ray.cli.console import errors, print_json
from zejzl_ray.cli.gateway import AsJson, ask, read_hidden, show_table, when
from zejzl_ray.contracts.secrets import ListSecrets, RevokeSecret, RotateSecret, SetSecret

app: Final = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)

Name = Annotated[str, typer.Argument(help="Name of the secret, as references name it.")]
ValueFile = Annotated[
    Path | None, typer.Option("--file", help="File with the value; unset: asked for, or standard input.")
]
_DAY_S: Final = 86_400.0


@app.command("set")
def set_(
    name: Name,
    to: Annotated[
        list[str], typer.Option("--for", help="Who may read it, such as agent:NLUAgent; may be repeated.")
    ],
    file: ValueFile = None,
    rotate_days: Annotated[
        float | None, typer.Option(min=0.01, help="After so many days the list says it is due.")
    ] = None,
) -> None:
    """Store a secret, or a new version of it, for some subjects."""
    request = {
        "name": name,
        "subjects": tuple(to),
        "value": read_hidden(f"Value of {name}", file, is_new=True),
        "rotate_every_s": None if rotate_days is None else rotate_days * _DAY_S,
    }
    done = ask(lambda gateway: gateway.set_secret(SetSecret.model_validate(request)))
    errors.print(f"{done.name}: version {done.version}, for {', '.join(done.subjects)}", highlight=False)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List secrets, without their values."""
    found = ask(lambda gateway: gateway.list_secrets(ListSecrets()))
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    show_table(
        "secrets",
        ("name", "for", "version", "set", "by", "state"),
        [
            (
                each.name,
                ", ".join(each.subjects),
                str(each.version),
                when(each.set_at_s),
                each.set_by,
                "revoked" if each.is_revoked else "due" if each.is_due else "good",
            )
            for each in found.secrets
        ],
    )


@app.command()
def rotate(name: Name, file: ValueFile = None) -> None:
    """Replace a secret's value; who may read it stays."""
    value = read_hidden(f"New value of {name}", file, is_new=True)
    done = ask(
        lambda gateway: gateway.rotate_secret(RotateSecret.model_validate({"name": name, "value": value}))
    )
    errors.print(f"{done.name}: version {done.version}", highlight=False)


@app.command()
def revoke(name: Name) -> None:
    """Remove a secret; nobody reads it any more."""
    ask(lambda gateway: gateway.revoke_secret(RevokeSecret.model_validate({"name": name})))
    errors.print(f"{name}: revoked", highlight=False)
