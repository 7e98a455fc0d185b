"""Where the command line writes: results on standard output, progress and errors on standard error."""

import sys
from typing import Any

import orjson
from rich.console import Console

_WIDE = 160  # columns when nobody looks: a file or a pipe must not cut names

output = Console(width=None if sys.stdout.isatty() else _WIDE)
errors = Console(stderr=True)


def print_json(value: Any) -> None:
    """Write a value as indented JSON on standard output, uncoloured."""
    sys.stdout.write(
        orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode() + "\n"
    )


def say(text: str, style: str = "") -> None:
    """Print a sentence about what was done, on standard error."""
    errors.print(printable(text), style=style, markup=False, highlight=False, soft_wrap=True)


def printable(text: str) -> str:
    """Return the text without what a terminal would obey: strangers name machines, labels and reasons."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
