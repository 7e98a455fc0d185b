"""A small fleet, built by hand."""

import pytest

from zejzl_ray.fleet.model import Fleet
from zejzl_ray.testing.fleets import agent, fleet_of


@pytest.fixture
def old_fleet() -> Fleet:
    """A few of the fifteen, and some that wait for them."""
    return fleet_of(
        agent("ServiceRegistry", port=7100, health_port=8100, config={"backend": "memory"}),
        agent("SystemDigitalTwin", "ServiceRegistry", port=7120, group="core_services"),
        agent("RequestCoordinator", "SystemDigitalTwin", port=26002),
        agent("Responder", "RequestCoordinator", "SystemDigitalTwin", "Voice", port=5637),
        agent("Voice", port=5562),
        agent("HealthMonitor", "PerformanceMonitor", machine="pc2", port=7114),
        agent("PerformanceMonitor", machine="pc2", port=7103),
        agent("Utils", "HealthMonitor", machine="pc2", port=7118),
    )
