"""Talking to the gateway from a command: one loop, one client, one answer."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from pydantic import SecretStr, ValidationError
from rich.table import Table
from rich.text import Text

from zejzl_ray.cli.console import output
from zejzl_ray.cluster.security_gateway import SecurityGatewayClient
from zejzl_ray.errors import InvalidInput
from zejzl_ray.sdk.connect import connect_async

T = TypeVar("T")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_MAX_SECRET_BYTES = 64 * 1024


def ask(work: Callable[[SecurityGatewayClient], Awaitable[T]]) -> T:
    """Run some calls to the gateway and return what they gave.

    Raises:
        InvalidInput: what was typed does not fit the call; names the place.
        ZejzlError: as the gateway said.
    """

    async def run() -> T:
        async with connect_async() as client:
            return await work(client.security)

    try:
        return asyncio.run(run())
    except ValidationError as error:
        raise invalid(error) from None


def invalid(error: ValidationError) -> InvalidInput:
    """Return a refusal that names every place and repeats no value."""
    problems = "; ".join(
        f"{'.'.join(str(step) for step in problem['loc']) or 'input'}: {problem['msg']}"
        for problem in error.errors(include_input=False, include_url=False)
    )
    return InvalidInput(f"{problems}.", "See --help.")


def read_hidden(prompt: str, file: Path | None, *, is_new: bool = False) -> SecretStr:
    """Return a secret: from a file, from standard input when that is no terminal, else asked for without an echo.

    Never from an argument: arguments stand in the process list and in the shell's history.

    Raises:
        InvalidInput: empty, too long, not text, or the file cannot be read.
    """
    try:
        if file is not None:
            with file.open("rb") as opened:
                content = opened.read(_MAX_SECRET_BYTES + 1)
        elif not sys.stdin.isatty():
            content = sys.stdin.buffer.read(_MAX_SECRET_BYTES + 1)
        else:
            content = typer.prompt(prompt, hide_input=True, confirmation_prompt=is_new).encode()
        text = content.decode().rstrip("\r\n")
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise InvalidInput("What was given is no UTF-8 text.") from None
    if not text or len(content) > _MAX_SECRET_BYTES:
        raise InvalidInput(f"{prompt}: empty, or longer than {_MAX_SECRET_BYTES} bytes.")
    return SecretStr(text)


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table of plain words."""
    table = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # Text: brackets in foreign words are no markup
    output.print(table)


def when(at_s: float | None) -> str:
    """Return a wall time as people write it; empty for none."""
    return "" if at_s is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_s))
