"""Talking to the gateway from a command: one loop, one client, one answer."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer
from pydantic import SecretStr, ValidationError
from pydantic_core import ErrorDetails
from rich.table import Table
from rich.text import Text

from zejzl_ray.cli.console import output, printable
from zejzl_ray.cluster.security_gateway import SecurityGatewayClient
from zejzl_ray.errors import InvalidInput
from zejzl_ray.sdk.connect import anonymous_caller, connect_async
from zejzl_ray.settings import Settings

T = TypeVar("T")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_MAX_SECRET_BYTES: Final = 64 * 1024
_NAME: Final = "a name begins with a letter and has letters, digits, _ . and -"
_SUBJECT: Final = "a subject is user, agent, machine, service or program with a name, such as agent:NLUAgent"
_ROLE: Final = "a role is written in small letters, digits, _ and -"
# What a text has to look like, by the field of the request that holds it.
_SHAPES: Final = {
    "subject": _SUBJECT,
    "subjects": _SUBJECT,
    "user": _NAME,
    "machine": _NAME,
    "name": _NAME,
    "roles": _ROLE,
    "scopes": "a scope is service:resource:action, each a word in small letters or *",
    "audience": "an audience is zejzl or the name of a service",
    "session": "an id has letters, digits, _ and -",
    "token_id": "an id has letters, digits, _ and -",
    "credential_id": "an id has letters, digits, _ and -",
}


def ask(work: Callable[[SecurityGatewayClient], Awaitable[T]]) -> T:
    """Run some calls to the gateway under the name that this machine calls with, and return what they gave.

    Raises:
        InvalidInput: what was typed does not fit the call; names the place.
        ZejzlError: as the gateway said.
    """

    async def run() -> T:
        async with connect_async() as client:
            return await work(client.security)

    return finish(run())


def ask_anonymously(settings: Settings, work: Callable[[SecurityGatewayClient], Awaitable[T]]) -> T:
    """Run some calls that anybody may make, and return what they gave; errors as ``ask``."""

    async def run() -> T:
        caller = anonymous_caller(settings)
        try:
            return await work(SecurityGatewayClient(caller))
        finally:
            await caller.close()

    return finish(run())


def finish(work: Coroutine[Any, Any, T]) -> T:
    """Run some calls to their end, in a loop of their own; errors as ``ask``."""
    try:
        return asyncio.run(work)
    except ValidationError as error:
        raise invalid(error) from None


def invalid(error: ValidationError) -> InvalidInput:
    """Return a refusal that names every place and repeats no value."""
    problems = "; ".join(
        f"{'.'.join(str(step) for step in problem['loc']) or 'input'}: {_told(problem)}"
        for problem in error.errors(include_input=False, include_url=False)
    )
    return InvalidInput(f"{problems}.", "See --help.")


async def all_pages(read: Callable[[str], Awaitable[tuple[Sequence[T], str]]]) -> list[T]:
    """Return everything that a listing gives, page by page.

    Args:
        read: takes the cursor, and returns a page and the cursor of the next one, empty after the last.
    """
    found: list[T] = []
    cursor = ""
    while True:
        items, next_cursor = await read(cursor)
        found += items
        if next_cursor in {"", cursor}:
            return found
        cursor = next_cursor


def read_hidden(prompt: str, file: Path | None, *, is_new: bool = False) -> SecretStr:
    """Return a secret: from a file, from standard input when that is no terminal, else asked for without an echo.

    Never from an argument: arguments stand in the process list and in the shell's history. One line end at the end
    of a file is not part of the secret.

    Args:
        prompt: what is asked for.
        file: None asks.
        is_new: ask twice, since nobody knows it yet.

    Raises:
        InvalidInput: empty, too long, not text, or the file cannot be read.
    """
    try:
        if file is not None:
            with file.open("rb") as opened:
                content = opened.read(_MAX_SECRET_BYTES + 1)
        elif not is_interactive():
            content = sys.stdin.buffer.read(_MAX_SECRET_BYTES + 1)
        else:
            content = typer.prompt(prompt, hide_input=True, confirmation_prompt=is_new, err=True).encode()
        text = content.decode().removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise InvalidInput(f"{file or 'standard input'} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise InvalidInput(f"{prompt}: what was given is no UTF-8 text.") from None
    if not text or len(content) > _MAX_SECRET_BYTES:
        raise InvalidInput(f"{prompt}: empty, or longer than {_MAX_SECRET_BYTES} bytes.")
    return SecretStr(text)


def is_interactive() -> bool:
    """Return whether somebody can be asked."""
    return sys.stdin.isatty()


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table of plain words on standard output."""
    table = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(
            *(Text(printable(cell)) for cell in row)
        )  # Text: brackets in foreign words are no markup
    output.print(table)


def when(at_s: float | None) -> str:
    """Return a wall time in UTC; empty for none."""
    if at_s is None:
        return ""
    try:
        return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M:%S}Z"
    except (ValueError, OverflowError, OSError):  # of a machine whose clock went mad
        return str(at_s)


def _told(problem: ErrorDetails) -> str:
    shapes = [_SHAPES[step] for step in problem["loc"] if isinstance(step, str) and step in _SHAPES]
    return shapes[-1] if shapes and problem["type"] == "string_pattern_mismatch" else problem["msg"]
