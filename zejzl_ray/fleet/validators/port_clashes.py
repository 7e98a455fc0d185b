"""Two owners of one port on one machine."""

from collections.abc import Iterable

from zejzl_ray.fleet.drafts import FleetContext
from zejzl_ray.fleet.finding import Finding
from zejzl_ray.fleet.validators.binds import Bind, binds_by_machine, clashes, finding_at, report_at
from zejzl_ray.fleet.validators.names import listed


class PortClashes:
    """Ports, health ports and error buses of one machine, and the services that can run there."""

    name = "port-clash"

    def check(self, context: FleetContext) -> Iterable[Finding]:
        """Return one finding for each port and set of owners."""
        reported: set[tuple[int, frozenset[str]]] = set()
        for machine, binds in binds_by_machine(context).items():
            for group in clashes(binds):
                key = (group[0].port, frozenset(bind.name for bind in group))
                if key in reported or all(bind.source is None for bind in group):
                    continue
                reported.add(key)
                yield _finding(machine, group)


def _finding(machine: str, group: tuple[Bind, ...]) -> Finding:
    at = report_at(group)
    others = [bind for bind in group if bind is not at]
    where = f" on {machine}" if machine else ""
    who = listed([bind.owner_and_place for bind in others], " and ")
    return finding_at(
        at,
        "port-clash",
        f"port {at.port}{where} is taken twice: by {at.owner}, and by {who}",
        "Give one of them another port.",
        tuple(bind.place for bind in others if bind.source is not None),
    )
