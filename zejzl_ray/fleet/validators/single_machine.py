"""Ports that clash when all machines of the fleet run on one computer."""

from collections import defaultdict
from collections.abc import Iterable

from zejzl_ray.fleet.drafts import FleetContext
from zejzl_ray.fleet.finding import Finding, Place
from zejzl_ray.fleet.validators.binds import Bind, binds_by_machine, report_at
from zejzl_ray.fleet.validators.names import listed


class SingleMachineClashes:
    """One warning for all of them: it matters only where one computer plays several machines."""

    name = "port-clash-single-machine"

    def check(self, context: FleetContext) -> Iterable[Finding]:
        """Return the warning, or nothing where no two machines use one port."""
        by_port: dict[int, list[tuple[str, Bind]]] = defaultdict(list)
        for machine, binds in binds_by_machine(context).items():
            for bind in binds:
                if not bind.is_service and not _is_floating(bind):  # there is one of each, wherever it runs
                    by_port[bind.port].append((machine, bind))
        found: dict[int, list[Bind]] = {}
        for port, binds_here in by_port.items():
            clashing = [
                bind
                for machine, bind in binds_here
                if any(
                    machine != there and bind is not other and bind.is_clash(other)
                    for there, other in binds_here
                )
            ]
            if clashing:
                found[port] = list({id(bind): bind for bind in clashing}.values())
        if found:
            yield _finding(found)


def _is_floating(bind: Bind) -> bool:
    return bind.source is not None and getattr(bind.source.declaration, "machine", bind) is None


def _finding(found: dict[int, list[Bind]]) -> Finding:
    ports = sorted(found)
    shown = [f"{port} ({listed([bind.owner_and_place for bind in found[port]])})" for port in ports]
    at = report_at(found[ports[0]])
    related: tuple[Place, ...] = tuple(bind.place for port in ports for bind in found[port] if bind is not at)
    source = at.source
    assert source is not None  # report_at chooses one that is written down
    return source.warning(
        "port-clash-single-machine",
        at.field,
        f"{len(ports)} port{'s are' if len(ports) > 1 else ' is'} used on more than one machine, "
        f"so that these machines cannot share one computer: {listed(shown, '; ')}",
        "Change one of each, or run the machines on computers of their own.",
        subject=",".join(str(port) for port in ports),
        related=related,
    )
