"""Reading a file that may be anything: any encoding, broken, huge, or no text at all."""

import ast
import io
import stat
import tokenize
import warnings
from pathlib import Path
from typing import Final

from zejzl_ray.agent_audit.finding import Finding, Level
from zejzl_ray.agent_audit.module import Module

UNREADABLE: Final = "cannot-be-read"
MAX_FILE_BYTES: Final = 1024 * 1024


def read_module(path: Path, shown: str, max_bytes: int = MAX_FILE_BYTES) -> Module | Finding:
    """Return a file as a module, or the finding that says why it cannot be one.

    Args:
        path: the file.
        shown: how reports name it.
        max_bytes: a longer file is not looked at.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return _unreadable(shown, "This is no regular file.", "Name a file or a folder.")
        with path.open("rb") as stream:
            data = stream.read(max_bytes + 1)
    except OSError as error:
        return _unreadable(
            shown,
            f"The file cannot be read: {error.strerror or error}.",
            "Check that it exists and its rights.",
        )
    if len(data) > max_bytes:
        return _unreadable(
            shown,
            f"The file has more than {max_bytes} bytes and was not looked at.",
            "Split it, or move the data out of the code.",
        )
    return parse_module(data, shown)


def parse_module(data: bytes, shown: str) -> Module | Finding:
    """Return source as a module, or the finding that says why it is no Python."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
    except SyntaxError as error:
        return _unreadable(shown, f"The encoding is not known: {error.msg}.", "Write it in UTF-8.")
    try:
        text = io.TextIOWrapper(io.BytesIO(data), encoding, newline=None).read()  # as tokenize.open does
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return _unreadable(shown, f"A byte here is no {encoding}.", "Write it in UTF-8.", line)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes are Python's to tell, not ours
            tree = ast.parse(text)
    except SyntaxError as error:
        line, column = max(1, error.lineno or 1), max(1, error.offset or 1)
        return _unreadable(
            shown,
            f"This is no Python that can be parsed: {error.msg}.",
            "Correct it; nothing else of the file was looked at.",
            line,
            column,
        )
    except (ValueError, RecursionError, MemoryError) as error:
        told = "it nests too deep" if not isinstance(error, ValueError) else str(error)
        return _unreadable(
            shown, f"This cannot be parsed: {told}.", "Correct it, or move the data out of the code."
        )
    return Module(shown, text, tree)


def _unreadable(shown: str, message: str, remedy: str, line: int = 1, column: int = 1) -> Finding:
    return Finding(shown, line, column, UNREADABLE, Level.ERROR, message, remedy, line)
