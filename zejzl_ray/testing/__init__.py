"""Public fakes at the project's own Protocols, for the project's tests and for users' tests."""

from zejzl_ray.testing.clock import ManualClock

__all__ = ["ManualClock"]
