"""The program that Ray Serve runs as HAProxy: edits the generated file, then becomes the real HAProxy."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from serve_apps.haproxy.edit import ProxyEdits, TemplateChanged, edit_config

BINARY_VARIABLE: Final = "ZEJZL_HAPROXY_BINARY"
BIND_HOST_VARIABLE: Final = "ZEJZL_HAPROXY_BIND_HOST"
MAX_BODY_VARIABLE: Final = "ZEJZL_HAPROXY_MAX_BODY_BYTES"


def prepare(arguments: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """Edit the file named by ``-f`` in place and return the command line of the real program.

    In place, since Serve finds its own HAProxy processes by that path in their command lines. A reader sees
    the old or the new file, never a part.

    Raises:
        TemplateChanged: the file must not be used.
        OSError: it cannot be read or written.
    """
    binary = environment.get(BINARY_VARIABLE, "")
    if not binary:
        raise TemplateChanged(f"{BINARY_VARIABLE} does not name the real HAProxy.")
    defaults = ProxyEdits()
    edits = ProxyEdits(
        bind_host=environment.get(BIND_HOST_VARIABLE) or defaults.bind_host,
        max_body_bytes=int(environment.get(MAX_BODY_VARIABLE) or defaults.max_body_bytes),
    )
    for position, argument in enumerate(arguments[:-1]):
        if argument == "-f":
            path = Path(arguments[position + 1])
            edited = edit_config(path.read_text(encoding="utf-8"), edits)
            draft = path.with_name(f"{path.name}.{os.getpid()}.draft")
            draft.write_text(edited, encoding="utf-8")
            draft.replace(path)
    return [binary, *arguments]


def main() -> None:
    """Run as a program; returns only by failing."""
    try:
        command = prepare(sys.argv[1:], os.environ)
        os.execv(command[0], command)  # noqa: S606  # the point of a wrapper: same pid, no shell
    except (TemplateChanged, OSError, ValueError) as error:
        sys.stderr.write(f"zejzl-ray does not start HAProxy: {error} Is this version of Ray supported?\n")
        sys.exit(1)
