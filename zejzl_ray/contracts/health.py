"""Health of a service, the same for all five."""

from enum import StrEnum

from pydantic import Field

from zejzl_ray.contracts.base import Contract


class GetHealth(Contract):
    """Ask a service how it is."""


class CheckStatus(StrEnum):
    """Outcome of one check."""

    OK = "ok"
    DEGRADED = "degraded"
    FAILED = "failed"


class Check(Contract):
    """One named check and its reason."""

    name: str
    status: CheckStatus
    reason: str = ""


class ServiceHealth(Contract):
    """How a service is, and why.

    ``is_alive``: it answers. ``is_ready``: it can do its work; every check that is not ok says why.
    """

    service: str
    is_alive: bool = True
    is_ready: bool
    checks: tuple[Check, ...] = ()
    machine: str = ""
    node_id: str = ""
    pid: int = 0
    started_at_s: float = Field(default=0.0, description="wall time at which this process began to serve")
    epoch: int = Field(default=0, description="grows at every restart of the service")
    version: str = ""
