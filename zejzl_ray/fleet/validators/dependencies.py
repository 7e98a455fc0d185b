"""Dependencies on nobody, and on oneself."""

from collections.abc import Iterable
from typing import Final

from zejzl_ray.fleet.drafts import Draft, FleetContext
from zejzl_ray.fleet.finding import Finding
from zejzl_ray.fleet.model import AgentDeclaration, ServiceDeclaration
from zejzl_ray.fleet.suggest import did_you_mean
from zejzl_ray.fleet.validators.names import resolved_names

_NEAR: Final = 0.8  # names of agents share long endings: below, the near one is another agent
_MOST_SUGGESTIONS: Final = 100  # looking for a near name among thousands takes milliseconds


class UnknownDependencies:
    """Every dependency names an agent, a service or an alias of the loaded files, and not its owner."""

    name = "unknown-dependency"

    def check(self, context: FleetContext) -> Iterable[Finding]:
        """Return one finding for each bad dependency."""
        meaning = resolved_names(context)
        unknown = 0
        drafts: tuple[Draft[AgentDeclaration] | Draft[ServiceDeclaration], ...] = (
            *context.running_agents,
            *context.services,
        )
        for draft in drafts:
            for dependency in draft.declaration.dependencies:
                at = f"dependencies.{dependency}"
                if dependency not in meaning:
                    unknown += 1
                    yield draft.error(
                        "unknown-dependency",
                        at,
                        f"{draft.name} depends on {dependency}, which nobody declares",
                        did_you_mean(
                            dependency,
                            meaning if unknown <= _MOST_SUGGESTIONS else (),
                            "Declare it, load the file that does, or remove the line.",
                            cutoff=_NEAR,
                        ),
                        subject=f"{draft.name} -> {dependency}",
                    )
                elif meaning[dependency] == draft.name:
                    yield draft.error(
                        "self-dependency", at, f"{draft.name} depends on itself", "Remove the line."
                    )
