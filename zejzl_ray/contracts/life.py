"""The end of a service on the wire."""

from zejzl_ray.contracts.base import Contract


class StopService(Contract):
    """Write what is pending and stop serving. Safe to repeat."""


class Stopped(Contract):
    """It serves no more; what was acknowledged is stored."""
