"""What a rule is."""

from collections.abc import Iterable
from typing import Final, Protocol, runtime_checkable

from zejzl_ray.fleet.drafts import FleetContext
from zejzl_ray.fleet.finding import Finding

GROUP: Final = "zejzl_ray.fleet_validators"


@runtime_checkable
class Validator(Protocol):
    """One rule. ``name`` is a stable kebab-case name, used in the finding about a rule that fails."""

    @property
    def name(self) -> str:
        """Name of the rule."""

    def check(self, context: FleetContext) -> Iterable[Finding]:
        """Return what is wrong; the order does not matter. It must not change anything."""
