"""What a firewall between the machines of a cluster has to let through, as far as one machine's settings say."""

from typing import Final
from urllib.parse import urlsplit

from pydantic import Field

from zejzl_ray.cluster.node_ports import GCS_PORT, RAY_PORTS, node_ports
from zejzl_ray.cluster.redis_address import REDIS_PORT
from zejzl_ray.contracts.base import Contract
from zejzl_ray.settings import Settings

EVERY: Final = "every machine"
HEAD: Final = "the head"
_SSH_PORT: Final = 22


class FirewallPort(Contract):
    """One port, or a range, of one or all machines; TCP."""

    first: int = Field(
        ge=0, le=65535, description="0: any free one, so the whole machine has to be let through"
    )
    last: int = Field(ge=0, le=65535)
    at: str = Field(description="whose port it is")
    caller: str = Field(description="who has to reach it; everybody else need not")
    what: str
    setting: str = Field(default="", description="environment variable that moves it")

    @property
    def shown(self) -> str:
        """The port or range, for a person."""
        if not self.first:
            return "any"
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


def firewall_ports(settings: Settings) -> tuple[FirewallPort, ...]:
    """Return every port that another machine has to reach; all else of the system stays on loopback.

    Raises:
        SettingsInvalid: two settings name one port.
    """
    ports = node_ports(settings)
    found = [_one(_SSH_PORT, EVERY, "the head, and whoever runs `ray up`", "ssh, of the system")]
    for port in RAY_PORTS:
        number = settings.ray_port or GCS_PORT if port.name == "gcs" else getattr(ports, port.name)
        if port.is_inner or (number is None and port.name == "metrics"):
            continue
        first, last = number if isinstance(number, tuple) else (number or 0, number or 0)
        found.append(
            FirewallPort(
                first=first, last=last, at=HEAD if port.is_heads else EVERY, caller=port.caller,
                what=port.what, setting=port.setting,
            )
        )  # fmt: skip
    first, last = settings.mail_range or (0, 0)
    found.append(
        FirewallPort(
            first=first, last=last, at=EVERY, caller="all machines", what="mail of hosts of agents",
            setting="ZEJZL_MAIL_PORTS",
        )
    )  # fmt: skip
    return (*found, *_beside(settings))


def _beside(settings: Settings) -> list[FirewallPort]:
    found = []
    parts = urlsplit(settings.resolved_store_url())
    if parts.scheme in ("redis", "rediss") and parts.hostname:
        number = parts.port or REDIS_PORT
        found.append(_one(number, parts.hostname, "all machines", "Redis, the store", "ZEJZL_STORE_URL"))
    if settings.is_exposed:
        found.append(
            _one(settings.http_port, HEAD, "callers of the ingress", "the ingress", "ZEJZL_HTTP_PORT")
        )
    return found


def _one(port: int, at: str, caller: str, what: str, setting: str = "") -> FirewallPort:
    return FirewallPort(first=port, last=port, at=at, caller=caller, what=what, setting=setting)
