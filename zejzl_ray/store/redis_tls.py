"""What a Redis URL needs for TLS; imports no Redis client."""

from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit


def with_tls_files(url: str, *, authority: Path | None, certificate: Path | None, key: Path | None) -> str:
    """Return the URL with what TLS needs, where the URL asks for TLS and does not name it itself.

    Args:
        url: one of the three kinds; a URL without TLS comes back as it is.
        authority: which the server's certificate must be of; None leaves the system's authorities.
        certificate: shown to a server that asks for one; None shows none.
        key: of that certificate.
    """
    parts = urlsplit(url)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    if parts.scheme != "rediss" and not (parts.scheme == "redis+sentinel" and ("ssl", "true") in pairs):
        return url
    given = {name for name, _ in pairs}
    wanted = {"ssl_ca_certs": authority, "ssl_certfile": certificate, "ssl_keyfile": key}
    if given & {"ssl_certfile", "ssl_keyfile"}:  # a pair belongs together
        wanted = {"ssl_ca_certs": authority}
    added = [(name, str(path)) for name, path in wanted.items() if path is not None and name not in given]
    return urlunsplit(parts._replace(query=urlencode(pairs + added)))
