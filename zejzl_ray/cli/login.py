"""``zejzl login`` and ``zejzl logout``: a person's session on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from zejzl_ray.cli.console import say
from zejzl_ray.cli.gateway import ask_anonymously, finish, read_hidden, when
from zejzl_ray.clock import SystemClock
from zejzl_ray.cluster.secret_file import make_private_directory
from zejzl_ray.cluster.security_gateway import SecurityGatewayClient
from zejzl_ray.contracts.tokens import EndSession, IssueToken, PasswordGrant
from zejzl_ray.errors import InvalidInput, ZejzlError
from zejzl_ray.sdk.connect import connect_as_logged_in
from zejzl_ray.sdk.login_session import (
    SESSION_FILE,
    SavedLogin,
    forget_login,
    keep_login,
    read_login,
    saved_login,
)
from zejzl_ray.settings import load_settings


def login(
    user: Annotated[str, typer.Argument(help="Your name; with or without `user:`.")],
    password_file: Annotated[
        Path | None, typer.Option(help="File with the password; unset: asked for, or standard input.")
    ] = None,
) -> None:
    """Log in; later commands of this machine run under your name until `zejzl logout`.

    A token file that ZEJZL_TOKEN_FILE names still goes first.
    """
    settings = load_settings()
    name = user.removeprefix("user:")
    password = read_hidden(f"Password of {name}", password_file)
    path = settings.data_path / SESSION_FILE
    make_private_directory(settings.data_path)

    async def log_in(gateway: SecurityGatewayClient) -> SavedLogin:
        request = IssueToken(grant=PasswordGrant(user=name, password=password))
        saved = saved_login(await gateway.issue_token(request), SystemClock().now_s())
        await keep_login(path, saved)
        return saved

    saved = ask_anonymously(settings, log_in)
    until = f", until {when(saved.refresh_expires_at_s)} at the latest" if saved.refresh_expires_at_s else ""
    say(f"logged in as {saved.subject}{until}")
    if settings.token_file is not None:
        say("ZEJZL_TOKEN_FILE is set: commands use that token, not this login.", "yellow")


def logout() -> None:
    """End the session of this machine; its tokens count no more."""
    settings = load_settings()
    path = settings.data_path / SESSION_FILE
    saved = read_login(path)
    if saved is None:
        raise InvalidInput("Nobody is logged in here.", "There is nothing to end.")
    session = saved.session

    async def log_out() -> ZejzlError | None:
        trouble = None
        async with connect_as_logged_in(settings) as client:
            try:
                await client.security.end_own_session(EndSession(session=session))
            except ZejzlError as error:
                trouble = error
        await forget_login(path)
        return trouble

    trouble = finish(log_out())
    if trouble is not None:
        say(f"The gateway could not be told, so the session ends by itself: {trouble}", "yellow")
    say(f"logged out {saved.subject}")
