"""What every service gets from one place: its store, health, metrics, start and orderly stop."""

from zejzl_ray.shell.bare_service import BareService
from zejzl_ray.shell.presence import Presence
from zejzl_ray.shell.service_shell import Identity, Service, ServiceShell

__all__ = ["BareService", "Identity", "Presence", "Service", "ServiceShell"]
