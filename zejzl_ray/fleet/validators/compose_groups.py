"""Compose groups that list agents which are not there."""

from collections.abc import Iterable

from zejzl_ray.fleet.drafts import FleetContext
from zejzl_ray.fleet.finding import Finding, warning
from zejzl_ray.fleet.validators.names import resolved_names


class ComposeGroupMembers:
    """``docker_groups`` lists agents by name; one that is retired or misspelled is in no container."""

    name = "unknown-member"

    def check(self, context: FleetContext) -> Iterable[Finding]:
        """Return one warning for each listed name that nobody has."""
        meaning = resolved_names(context)
        for machine in context.machines:
            for field in machine.places:
                section, _, rest = field.partition(":")
                group, _, member = rest.partition(":")
                if section == "docker_groups" and member and member not in meaning:
                    yield warning(
                        "unknown-member",
                        f"docker_groups.{group} lists {member}, which nobody declares",
                        machine.where(field),
                        remedy="Remove it from the list, or declare it.",
                        path=f"docker_groups.{group}.agents",
                        subject=f"{group} -> {member}",
                    )
