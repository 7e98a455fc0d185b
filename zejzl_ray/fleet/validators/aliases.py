"""Other names that mean two things."""

from collections.abc import Iterable

from zejzl_ray.fleet.drafts import Draft, FleetContext
from zejzl_ray.fleet.finding import Finding
from zejzl_ray.fleet.model import AgentDeclaration, ServiceDeclaration
from zejzl_ray.fleet.topology import SERVICE_NAMES


class AliasClashes:
    """An alias must not be the name or the alias of somebody else.

    A service that replaces an agent which is still declared is a warning: both run during a migration.
    """

    name = "alias-clash"

    def check(self, context: FleetContext) -> Iterable[Finding]:
        """Return one finding for each alias that is taken."""
        agents = {draft.name: draft for draft in reversed(context.agents)}
        taken: dict[str, Draft[AgentDeclaration] | Draft[ServiceDeclaration]] = {}
        for draft in context.running_agents:
            for alias in draft.declaration.aliases:
                if alias in agents or alias in SERVICE_NAMES:
                    yield _clash(draft, alias, "is already a name", agents.get(alias))
                elif taken.setdefault(alias, draft) is not draft:
                    yield _clash(draft, alias, f"is an alias of {taken[alias].name} too", taken[alias])
        for service in context.services:
            for alias in service.declaration.aliases:
                if alias in agents:
                    yield service.warning(
                        "agent-replaced",
                        f"aliases.{alias}",
                        f"{service.name} replaces {alias}, which is still declared and keeps the name",
                        "Remove the agent when the migration is over.",
                        subject=alias,
                        related=(agents[alias].where("name", "declared here"),),
                    )
                elif alias in SERVICE_NAMES:
                    yield _clash(service, alias, "is already a name", None)
                elif taken.setdefault(alias, service) is not service:
                    yield _clash(service, alias, f"is an alias of {taken[alias].name} too", taken[alias])


def _clash(
    draft: Draft[AgentDeclaration] | Draft[ServiceDeclaration],
    alias: str,
    why: str,
    other: Draft[AgentDeclaration] | Draft[ServiceDeclaration] | None,
) -> Finding:
    related = () if other is None else (other.where(f"aliases.{alias}", other.name),)
    return draft.error(
        "alias-clash",
        f"aliases.{alias}",
        f"the alias {alias} of {draft.name} {why}",
        "Choose another alias.",
        subject=alias,
        related=related,
    )
