"""The end of a service on the wire."""

from typing import Annotated

from pydantic import Field

from zejzl_ray.contracts.base import Contract


class StopService(Contract):
    """Write what is pending and stop serving. Safe to repeat."""

    timeout_s: Annotated[float, Field(ge=0, le=3600)] | None = Field(
        default=None, description="how long that is waited for; null: as long as for any other call"
    )


class Stopped(Contract):
    """It serves no more; what was acknowledged is stored."""
