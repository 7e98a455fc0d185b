"""``zejzl secrets``: what agents and services need to know and nobody else may."""

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from zejzl_ray.cli.console import print_json, say
from zejzl_ray.cli.gateway import AsJson, ask, read_hidden, show_table, when
from zejzl_ray.cluster.private_file import write_private_file
from zejzl_ray.contracts.secrets import GetSecret, ListSecrets, RevokeSecret, RotateSecret, SetSecret

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
    say(f"{done.name}: version {done.version}, for {', '.join(done.subjects)}")


@app.command()
def get(
    name: Name,
    file: Annotated[
        Path | None, typer.Option("--output", help="Write the value there, mode 0600; unset: print it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read a secret that is for you; nobody else's can be read, whatever rights you have."""
    found = ask(lambda gateway: gateway.get_secret(GetSecret(name=name)))
    value = found.value.get_secret_value()
    if file is not None:
        write_private_file(file, value)
        say(f"{found.name}: version {found.version} in {file}")
    elif as_json:
        print_json(found.model_dump(mode="json"))
    else:
        if sys.stdout.isatty():
            say("The value stays on this screen and in its history; --output writes it to a file.", "yellow")
        typer.echo(value)


@app.command("list")
def list_(
    subject: Annotated[str | None, typer.Option("--for", help="Those of one subject alone.")] = None,
    as_json: AsJson = False,
) -> None:
    """List secrets, without their values."""
    found = ask(lambda gateway: gateway.list_secrets(ListSecrets(subject=subject)))
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
    say(f"{done.name}: version {done.version}")


@app.command()
def revoke(name: Name) -> None:
    """Remove a secret; nobody reads it any more."""
    ask(lambda gateway: gateway.revoke_secret(RevokeSecret.model_validate({"name": name})))
    say(f"{name}: revoked")
