"""``zejzl login`` and ``zejzl logout``: a person's session on this machine."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from zejzl_ray.cli.console import errors
from zejzl_ray.cli.gateway import ask, invalid, read_hidden, when
from zejzl_ray.cluster.secret_file import make_private_directory
from zejzl_ray.cluster.security_gateway import SecurityGatewayClient
from zejzl_ray.contracts.tokens import EndSession, IssueToken, PasswordGrant, Tokens
from zejzl_ray.errors import InvalidInput, ZejzlError
from zejzl_ray.sdk.connect import anonymous_caller
from zejzl_ray.sdk.login_session import SESSION_FILE, read_login, saved_login, write_login
from zejzl_ray.settings import load_settings


def login(
    user: Annotated[str, typer.Argument(help="Your name; with or without `user:`.")],
    password_file: Annotated[
        Path | None, typer.Option(help="File with the password; unset: asked for, or standard input.")
    ] = None,
) -> None:
    """Log in; later commands of this machine run under your name until `zejzl logout`."""
    settings = load_settings()
    name = user.removeprefix("user:")
    password = read_hidden(f"Password of {name}", password_file)

    async def run() -> Tokens:
        caller = anonymous_caller(settings)
        try:
            request = IssueToken(grant=PasswordGrant(user=name, password=password))
            return await SecurityGatewayClient(caller).issue_token(request)
        finally:
            await caller.close()

    try:
        tokens = asyncio.run(run())
    except ValidationError as error:
        raise invalid(error) from None
    make_private_directory(settings.data_path)
    saved = saved_login(tokens)
    write_login(settings.data_path / SESSION_FILE, saved)
    errors.print(
        f"logged in as {saved.subject}, until {when(saved.refresh_expires_at_s)} at the latest",
        highlight=False,
    )


def logout() -> None:
    """End the session of this machine; its tokens count no more."""
    path = load_settings().data_path / SESSION_FILE
    saved = read_login(path)
    if saved is None:
        raise InvalidInput("Nobody is logged in here.")
    try:
        ask(lambda gateway: gateway.end_own_session(EndSession(session=saved.session)))
    except ZejzlError as error:
        errors.print(f"the gateway could not be told: {error}", style="yellow", markup=False)
    path.unlink(missing_ok=True)
    errors.print(f"logged out {saved.subject}", highlight=False)
