"""Where one Redis of the cluster listens."""

from typing import Final
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field

from zejzl_ray.contracts.base import Contract
from zejzl_ray.errors import InvalidInput

REDIS_PORT: Final = 6380
_PORT_OF_URL: Final = 6379  # what every client of Redis takes for a URL that names none


class RedisAddress(Contract):
    """Host and port; no user and no password."""

    host: str = Field(min_length=1, pattern=r"^[^\s/@]+$")
    port: int = Field(default=REDIS_PORT, ge=1, le=65535)

    def __str__(self) -> str:
        """Return ``host:port``, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_redis_address(text: str) -> RedisAddress:
    """Return the address in ``host``, ``host:port`` or a URL.

    Where no port is named it is 6380, the one of this project; in a URL 6379, where the services look for it too.

    Raises:
        InvalidInput: there is none in it; the text is not repeated, it may hold a password.
    """
    try:
        parts = urlsplit(text if "://" in text else f"//{text}")
        host, port = parts.hostname, parts.port
        if host:
            return RedisAddress(host=host, port=port or (_PORT_OF_URL if "://" in text else REDIS_PORT))
    except ValueError:
        pass
    raise InvalidInput("This is no address of a Redis.", "Write HOST or HOST:PORT.")


def with_address(url: str, address: RedisAddress) -> str:
    """Return the URL of a store with another host and port, and without user and password; its options stay."""
    return urlunsplit(urlsplit(url)._replace(netloc=str(address)))
