"""Short ways to say who waits for whom."""

from zejzl_ray.contracts.waits import AgentWaits, Handled, Pending, ReportWaits


def handling(request: str, *awaits: str, slot: int = 0, message: str = "", stack: str = "") -> Handled:
    """A handler of ``request`` that waits for others."""
    return Handled(
        slot=slot,
        request_id=request,
        message_id=message or f"m-{request}",
        since_s=1.0,
        awaits=awaits,
        stack=stack,
    )


def agent(
    name: str,
    *handled: Handled,
    queued: tuple[str, ...] = (),
    slots: int = 1,
    has_receiver: bool | None = None,
) -> AgentWaits:
    """An agent; it has a receiver where a slot is free, unless it is said."""
    is_free = len(handled) < slots if has_receiver is None else has_receiver
    return AgentWaits(agent=name, slots=slots, has_receiver=is_free, handled=handled, queued=queued)


def asks(
    correlation_id: str, sender: str, receiver: str, since_s: float = 1.0, slot: int | None = 0
) -> Pending:
    """A request without a reply."""
    return Pending(
        correlation_id=correlation_id, from_agent=sender, to_agent=receiver, since_s=since_s, slot=slot
    )


def report(
    host: str,
    agents: tuple[AgentWaits, ...],
    pending: tuple[Pending, ...],
    sequence: int = 1,
    *,
    boot: str = "b1",
    answered: int | None = None,
    has_stacks: bool = False,
) -> ReportWaits:
    """What a host reports."""
    return ReportWaits(
        host=host,
        boot=boot,
        sequence=sequence,
        answered=answered,
        at_s=100.0,
        agents=agents,
        pending=pending,
        has_stacks=has_stacks,
    )


def ring(names: tuple[str, ...], *, one_host: bool = False) -> tuple[ReportWaits, ...]:
    """Agents that wait for one another in a circle: each handles a start request and asks the next one.

    Request ``rAB`` goes from A to B and waits in B's mailbox, since B is busy; that of the last name is the youngest.
    """
    hosts = []
    for at, name in enumerate(names):
        after, before = names[(at + 1) % len(names)], names[at - 1]
        hosts.append(
            (
                agent(name, handling(f"start{name}", f"r{name}{after}"), queued=(f"r{before}{name}",)),
                asks(f"r{name}{after}", name, after, since_s=10.0 + at),
            )
        )
    if one_host:
        return (report("h", tuple(each[0] for each in hosts), tuple(each[1] for each in hosts)),)
    return tuple(report(f"h{name}", (who,), (what,)) for name, (who, what) in zip(names, hosts, strict=True))


def again(reports: tuple[ReportWaits, ...], sequence: int) -> tuple[ReportWaits, ...]:
    """The same, told later."""
    return tuple(each.model_copy(update={"sequence": sequence}) for each in reports)
