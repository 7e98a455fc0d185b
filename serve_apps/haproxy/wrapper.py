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
CERTIFICATE_VARIABLE: Final = "ZEJZL_HAPROXY_CERTIFICATE"
KEY_VARIABLE: Final = "ZEJZL_HAPROXY_KEY"
LOOPBACK_TLS_VARIABLE: Final = "ZEJZL_HAPROXY_LOOPBACK_TLS"
BUNDLE_NAME: Final = "ingress.pem"


def prepare(arguments: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """Edit the file named by ``-f`` in place and return the command line of the real program.

    In place, since Serve finds its own HAProxy processes by that path in their command lines. A reader sees
    the old or the new file, never a part. Certificate and key are written beside it as one file, anew each
    time: Serve starts HAProxy again whenever its configuration changes, and it then takes a renewed one.

    Raises:
        TemplateChanged: the file must not be used.
        OSError: it cannot be read or written.
    """
    binary = environment.get(BINARY_VARIABLE, "")
    if not binary:
        raise TemplateChanged(f"{BINARY_VARIABLE} does not name the real HAProxy.")
    defaults = ProxyEdits()
    sources = [environment.get(name, "") for name in (CERTIFICATE_VARIABLE, KEY_VARIABLE)]
    for position, argument in enumerate(arguments[:-1]):
        if argument == "-f":
            path = Path(arguments[position + 1])
            bundle = path.with_name(BUNDLE_NAME) if all(sources) else None
            if bundle is not None:
                _write_private(bundle, bundle_of(*(Path(source).read_bytes() for source in sources)))
            edits = ProxyEdits(
                bind_host=environment.get(BIND_HOST_VARIABLE) or defaults.bind_host,
                certificate=bundle,
                is_loopback_encrypted=environment.get(LOOPBACK_TLS_VARIABLE) == "1",
                max_body_bytes=int(environment.get(MAX_BODY_VARIABLE) or defaults.max_body_bytes),
            )
            _write_private(path, edit_config(path.read_text(encoding="utf-8"), edits).encode())
    return [binary, *arguments]


def bundle_of(certificate: bytes, key: bytes) -> bytes:
    """Return certificate and key as one file for HAProxy, without empty lines."""
    return b"".join(line + b"\n" for line in (certificate + b"\n" + key).split(b"\n") if line.strip())


def _write_private(path: Path, content: bytes) -> None:
    """Replace a file at once; mode 0600 from the first byte on."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.draft")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    draft.replace(path)


def main() -> None:
    """Run as a program; returns only by failing."""
    try:
        command = prepare(sys.argv[1:], os.environ)
        os.execv(command[0], command)  # noqa: S606  # nosec B606  # the point of a wrapper: same pid, no shell
    except (TemplateChanged, OSError, ValueError) as error:
        sys.stderr.write(f"zejzl-ray does not start HAProxy: {error} Is this version of Ray supported?\n")
        sys.exit(1)
