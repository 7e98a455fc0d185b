"""``zejzl users``: people and their passwords."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from pydantic import SecretStr

from zejzl_ray.cli.console import print_json, say
from zejzl_ray.cli.gateway import AsJson, all_pages, ask, is_interactive, read_hidden, show_table, when
from zejzl_ray.cluster.security_gateway import SecurityGatewayClient
from zejzl_ray.contracts.people import (
    CreateUser,
    DeleteUser,
    GetUser,
    ListUsers,
    SetPassword,
    UpdateUser,
    User,
)
from zejzl_ray.contracts.tokens import MAX_PAGE, EndSession, ListSessions, Session, WhoAmI
from zejzl_ray.errors import InvalidInput

app: Final = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)

Name = Annotated[str, typer.Argument(help="Name of the person.")]
Roles = Annotated[list[str] | None, typer.Option("--role", help="Role; may be repeated.")]
PasswordFile = Annotated[
    Path | None, typer.Option(help="File with the password; unset: asked for, or standard input.")
]


@app.command()
def add(name: Name, role: Roles = None, password_file: PasswordFile = None) -> None:
    """Register a person; without a role a viewer."""
    request = {
        "user": name,
        "password": read_hidden(f"New password of {name}", password_file, is_new=True),
        "roles": tuple(role or ("viewer",)),
    }
    made = ask(lambda gateway: gateway.create_user(CreateUser.model_validate(request)))
    say(f"{made.user}: {', '.join(made.roles)}")


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List people."""

    async def read(gateway: SecurityGatewayClient) -> list[User]:
        async def page(cursor: str) -> tuple[Sequence[User], str]:
            found = await gateway.list_users(ListUsers(limit=MAX_PAGE, cursor=cursor))
            return found.users, found.next_cursor

        return await all_pages(page)

    _show(ask(read), as_json)


@app.command()
def show(name: Name, as_json: AsJson = False) -> None:
    """Show one person."""
    found = ask(lambda gateway: gateway.get_user(GetUser(user=name)))
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    _show([found], as_json=False)


@app.command()
def roles(name: Name, role: Roles = None) -> None:
    """Replace the roles of a person; tokens end where rights shrink."""
    if not role:
        raise typer.BadParameter("give at least one --role")
    _update({"user": name, "roles": tuple(role)})


@app.command()
def close(name: Name) -> None:
    """Close an account: no logins, and all sessions end."""
    _update({"user": name, "is_active": False})


@app.command("open")
def open_(name: Name) -> None:
    """Open a closed account again."""
    _update({"user": name, "is_active": True})


@app.command()
def unlock(name: Name) -> None:
    """Lift every lock-out of an account."""
    _update({"user": name, "is_unlocked": True})


@app.command()
def password(
    name: Name,
    password_file: PasswordFile = None,
    old_password_file: Annotated[
        Path | None, typer.Option(help="File with the old password, for one's own.")
    ] = None,
) -> None:
    """Change a password; other sessions of the person end."""

    async def is_own(gateway: SecurityGatewayClient) -> bool:
        return (await gateway.who_am_i(WhoAmI())).subject == f"user:{name}"

    old: SecretStr | None = None
    if old_password_file is not None or ask(is_own):
        if old_password_file is None and not is_interactive():
            raise InvalidInput(
                "One's own password wants the old one too.",
                "Give --old-password-file, or run it in a terminal.",
            )
        old = read_hidden("Old password", old_password_file)
    request = {
        "user": name,
        "old_password": old,
        "new_password": read_hidden(f"New password of {name}", password_file, is_new=True),
    }
    ask(lambda gateway: gateway.set_password(SetPassword.model_validate(request)))
    say(f"{name}: password changed")


@app.command()
def remove(name: Name) -> None:
    """Remove a person; the last administrator stays."""
    done = ask(lambda gateway: gateway.delete_user(DeleteUser.model_validate({"user": name})))
    say(f"{name}: {'removed' if done.was_there else 'was not there'}")


@app.command()
def sessions(
    name: Annotated[str | None, typer.Argument(help="Name of the person; unset: everybody.")] = None,
    end: Annotated[str, typer.Option(help="Id of a session to end.")] = "",
    as_json: AsJson = False,
) -> None:
    """List logins, or end one."""
    if end:
        ask(lambda gateway: gateway.end_session(EndSession(session=end)))
        say(f"session {end} ended")
        return

    async def read(gateway: SecurityGatewayClient) -> list[Session]:
        subject = None if name is None else f"user:{name}"

        async def page(cursor: str) -> tuple[Sequence[Session], str]:
            found = await gateway.list_sessions(ListSessions(subject=subject, limit=MAX_PAGE, cursor=cursor))
            return found.sessions, found.next_cursor

        return await all_pages(page)

    found = ask(read)
    if as_json:
        print_json([session.model_dump(mode="json") for session in found])
        return
    session_table(found)


def session_table(found: Sequence[Session]) -> None:
    """Print logins, one a row."""
    show_table(
        "sessions",
        ("id", "who", "since", "last used", "ends", "address", "state"),
        [
            (
                each.session,
                each.subject,
                when(each.created_at_s),
                when(each.last_used_at_s),
                when(each.expires_at_s),
                each.address,
                "active" if each.is_active else each.ended_because or "ended",
            )
            for each in found
        ],
    )


def _show(found: Sequence[User], as_json: bool) -> None:
    if as_json:
        print_json([user.model_dump(mode="json") for user in found])
        return
    show_table(
        "users",
        ("name", "roles", "last login", "sessions", "state"),
        [
            (
                each.user,
                ", ".join(each.roles),
                when(each.last_login_at_s),
                str(each.sessions),
                "closed" if not each.is_active else "locked out somewhere" if each.is_locked else "active",
            )
            for each in found
        ],
    )


def _update(request: dict[str, object]) -> None:
    changed = ask(lambda gateway: gateway.update_user(UpdateUser.model_validate(request)))
    state = "active" if changed.is_active else "closed"
    say(f"{changed.user}: {', '.join(changed.roles)}; {state}")
