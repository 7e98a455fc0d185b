"""What a supervisor is told when it starts."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from zejzl_ray.cluster.launcher_config import LauncherConfig
from zejzl_ray.cluster.node_start import NodeStart
from zejzl_ray.contracts.base import Contract


class SupervisedPlan(Contract):
    """One node, and at the head also whom to tell of a stop and what to run once it is up."""

    node: NodeStart
    launcher: LauncherConfig | None = None
    services: tuple[str, ...] | None = None
    leftovers: tuple[Path, ...] = Field(
        default=(), description="directories to remove when the node has ended"
    )
    settings: dict[str, str] = Field(
        default_factory=dict, description="ZEJZL_* variables of whoever started it, none of them a secret"
    )
    overrides: dict[str, str] = Field(
        default_factory=dict, description="ZEJZL_* variables that count whatever the environment says"
    )
    environment: dict[str, str] = Field(default_factory=dict, description="laid over that of Ray's processes")

    def variables(self, environment: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the variables that count: an environment over the plan's settings, and its overrides over both."""
        return {**self.settings, **(environment or {}), **self.overrides}
