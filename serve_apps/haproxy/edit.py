"""Edits the configuration that Ray Serve generates for HAProxy: what should be closed is closed.

What changes: the statistics and metrics pages, which listen on all interfaces, go; only the front listens, on
loopback and with TLS on the address that the user chose; ``/-/`` paths are refused; headers that steer Serve
from outside are dropped; the source address and a valid request id are set; bodies without a length or above
the limit are refused before Serve reads them; every answer of the proxy or of Serve itself becomes a problem
document.

An unexpected file is refused instead of passed on: a new version of Ray must not open a door unnoticed.
"""

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from serve_apps.haproxy.replies import (
    LENGTH_REQUIRED,
    NOT_FOUND,
    NOT_READY,
    REPLIES,
    REQUEST_ID_VARIABLE,
    TOO_LARGE,
)

MARK: Final = "# edited by zejzl-ray"
_HOST: Final = re.compile(r"[A-Za-z0-9_.:*-]{1,255}")
_BIND: Final = re.compile(r"\s*bind\s+(?P<host>\S*):(?P<port>\d+)(?P<rest>.*)")
_ALL_ADDRESSES: Final = frozenset({"0.0.0.0", "::", "*"})  # noqa: S104  # nosec B104  # compares, does not bind
_REMOVED: Final = ("frontend prometheus", "listen stats")
_FRONT: Final = "frontend http_frontend"
# headers with which a caller could steer Serve or lie about where it is
_DROPPED_HEADERS: Final = (
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "x-request-timeout-seconds",
    "x-request-disconnect-disabled",
    "serve_multiplexed_model_id",
    "serve-multiplexed-model-id",
)
# TLS 1.2 with forward secrecy and authenticated encryption, and 1.3; no tickets, whose key would outlive a session
_TLS: Final = (
    "ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets",
    "ssl-default-bind-ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256",
)
_REQUEST_ID: Final = "^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$"


class TemplateChanged(Exception):
    """The generated file does not look as expected; the proxy must not start with it."""


@dataclass(frozen=True, slots=True)
class ProxyEdits:
    """What the user chose.

    Attributes:
        bind_host: address on which the front listens; replicas stay on loopback whatever it is.
        certificate: file with certificate and key; must be there where ``bind_host`` is not loopback.
        is_loopback_encrypted: speak HTTPS on loopback too; otherwise the tools of this machine use HTTP there. On
            all addresses at once it is HTTPS in any case.
        max_body_bytes: larger announced bodies are refused.
    """

    bind_host: str = "127.0.0.1"
    certificate: Path | None = None
    is_loopback_encrypted: bool = False
    max_body_bytes: int = 8 * 2**20


@dataclass(slots=True)
class _Section:
    head: str
    lines: list[str]


def edit_config(text: str, edits: ProxyEdits) -> str:
    """Return the edited file; a file that is edited already comes back unchanged.

    Raises:
        TemplateChanged: something that must be edited is not there, or something would still listen
        elsewhere.
    """
    if text.startswith(MARK):
        return text
    if not _HOST.fullmatch(edits.bind_host):
        raise TemplateChanged(
            f"The address {edits.bind_host!r} cannot stand in a bind line; use an IP address."
        )
    if edits.certificate is None and (edits.is_loopback_encrypted or not is_loopback(edits.bind_host)):
        raise TemplateChanged(f"The front would listen on {edits.bind_host} without a certificate.")
    sections = list(_sections(text))
    heads = [section.head for section in sections]
    for head in ("global", "defaults", "backend default_backend", _FRONT, *_REMOVED):
        if heads.count(head) != 1:
            raise TemplateChanged(
                f"The section {head!r} stands {heads.count(head)} times in the generated file, not once."
            )
    kept = [section for section in sections if section.head not in _REMOVED]
    for section in kept:
        if section.head == "global":
            _edit_global(section)
        elif section.head == "defaults":
            _edit_defaults(section)
        elif section.head == _FRONT:
            _edit_front(section, edits)
        elif section.head == "backend default_backend":
            _edit_default_backend(section)
    _check_binds(kept, edits.bind_host)
    return "\n".join([MARK, *(line for section in kept for line in (section.head, *section.lines))]) + "\n"


def _sections(text: str) -> Iterator[_Section]:
    current: _Section | None = None
    for line in text.splitlines():
        if line and not line[0].isspace() and not line.startswith("#"):
            if current is not None:
                yield current
            current = _Section(line.strip(), [])
        elif current is not None:
            current.lines.append(line)
        elif line.strip() and not line.startswith("#"):
            raise TemplateChanged("The generated file begins with a line outside any section.")
    if current is not None:
        yield current


def _replace(section: _Section, start: str, replacement: list[str]) -> None:
    """Replace all lines that begin with ``start``; there must be at least one."""
    positions = [number for number, line in enumerate(section.lines) if line.strip().startswith(start)]
    if not positions:
        raise TemplateChanged(f"No line {start!r} in the section {section.head!r} of the generated file.")
    for number in reversed(positions):
        del section.lines[number]
    section.lines[positions[0] : positions[0]] = replacement


def _edit_global(section: _Section) -> None:
    socket = next((line for line in section.lines if line.strip().startswith("stats socket")), "")
    if " mode 666 " not in socket:
        raise TemplateChanged("No 'stats socket ... mode 666' in the global section of the generated file.")
    _replace(
        section, "stats socket", [socket.replace(" mode 666 ", " mode 600 "), *(f"    {row}" for row in _TLS)]
    )


def _edit_defaults(section: _Section) -> None:
    _replace(
        section,
        "errorfile",
        [f"    http-error status {reply.status} {reply.arguments()}" for reply in REPLIES],
    )
    # 10 s for the head of a request: slow senders must not hold connections; and only failures are logged
    section.lines += ["    timeout http-request 10s", "    option dontlog-normal"]


def _edit_default_backend(section: _Section) -> None:
    _replace(
        section,
        "http-request return",
        [f"    http-request return status {NOT_READY.status} {NOT_READY.arguments()}"],
    )


def _edit_front(section: _Section, edits: ProxyEdits) -> None:
    binds = [match for line in section.lines if (match := _BIND.fullmatch(line))]
    if len(binds) != 1:
        raise TemplateChanged(f"The HTTP front has {len(binds)} bind lines, not one.")
    port = binds[0]["port"]
    # HTTP/1.1 only: with HTTP/2 a body may come without a length
    tail = f"proto h1{binds[0]['rest']}"
    # without alpn HAProxy offers HTTP/2, which browsers and curl then speak
    encrypted = f" ssl crt {edits.certificate} alpn http/1.1"
    lines = []
    if not is_loopback(edits.bind_host):
        lines.append(f"    bind {edits.bind_host}:{port}{encrypted} {tail}")
    if (
        edits.bind_host not in _ALL_ADDRESSES
    ):  # which hold loopback already, and Serve wants no port bound twice
        inner = edits.bind_host if is_loopback(edits.bind_host) else "127.0.0.1"
        lines.append(f"    bind {inner}:{port}{encrypted if edits.is_loopback_encrypted else ''} {tail}")
    _replace(section, "bind", [*lines, *_front_rules(edits)])


def _front_rules(edits: ProxyEdits) -> list[str]:
    rules = [
        "unique-id-format %[uuid]",
        "http-request del-header x-request-id if { req.fhdr_cnt(x-request-id) gt 1 } "
        f"|| !{{ req.fhdr(x-request-id) -m reg '{_REQUEST_ID}' }}",
        "http-request set-header x-request-id %[unique-id] if !{ req.fhdr(x-request-id) -m found }",
        f"http-request set-var({REQUEST_ID_VARIABLE}) req.fhdr(x-request-id)",
        *(f"http-request del-header {header}" for header in _DROPPED_HEADERS),
        "http-request set-header x-forwarded-for %[src]",
        # decoded first: Serve answers these paths in every spelling, and without a token
        f"http-request return status 404 {NOT_FOUND.arguments()} if {{ path,url_dec -m beg -i /-/ }}",
        f"http-request return status 411 {LENGTH_REQUIRED.arguments()} "
        "if { req.hdr(transfer-encoding) -m found }",
        f"http-request return status 413 {TOO_LARGE.arguments()} "
        f"if {{ req.hdr_val(content-length) gt {edits.max_body_bytes} }}",
        *(
            f"http-response return status {shown.status} {shown.arguments()} "
            f"if {{ status {reply.status} }} !{{ res.hdr(content-type) -m beg application/problem+json }}"
            for reply in REPLIES
            for shown in (NOT_READY if reply is NOT_FOUND else reply,)
        ),
        "http-response del-header server",
        f"http-after-response set-header x-request-id %[var({REQUEST_ID_VARIABLE})] "
        f"if {{ var({REQUEST_ID_VARIABLE}) -m found }}",
    ]
    return ["    " + rule for rule in rules]


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches the address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _check_binds(sections: list[_Section], bind_host: str) -> None:
    for section in sections:
        for line in section.lines:
            if line.split()[:1] != ["bind"]:
                continue
            match = _BIND.fullmatch(line)
            host = match["host"].strip("[]") if match else ""
            is_asked = section.head == _FRONT and host == bind_host.strip("[]") and " ssl crt " in line
            if not is_loopback(host) and not is_asked:
                raise TemplateChanged(f"The section {section.head!r} would listen on {line.strip()!r}.")
