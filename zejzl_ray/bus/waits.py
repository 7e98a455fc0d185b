"""Who waits for whom in this process, for the search for deadlocks."""

from collections import defaultdict
from typing import Final

from zejzl_ray.bus.handling import Handling
from zejzl_ray.bus.local_mail import LocalMail
from zejzl_ray.bus.requests import PendingRequest
from zejzl_ray.contracts.waits import MAX_WAITS, AgentWaits, Handled, Pending, ReportWaits

MIN_AGE_S: Final = 0.4  # nobody is told of requests that are younger; nearly all are answered before


class WaitsReporter:
    """Makes the reports of one process; one that has nothing to tell is left out, except the first such.

    Args:
        local: the mail of the process.
        min_age_s: how long a request has to wait to be told.
    """

    def __init__(self, local: LocalMail, *, min_age_s: float = MIN_AGE_S) -> None:
        self._local = local
        self._min_age_s = min_age_s
        self._sequence = 0
        self._was_empty = True
        self._answered: int | None = None

    def next_report(self, now_s: float, *, has_stacks: bool = False) -> ReportWaits | None:
        """Return what to report now; None when there is nothing, and there was nothing the last time."""
        waiting = [each for each in self._local.pending if now_s - each.since_s >= self._min_age_s]
        if not waiting and self._was_empty:
            return None
        self._was_empty = not waiting
        self._sequence += 1
        # All that wait, once one of them waits long: the circle may be closed by a young one.
        waits = tuple(self._local.pending)[:MAX_WAITS] if waiting else ()
        return ReportWaits(
            host=self._local.host or "local",
            boot=self._local.boot,
            sequence=self._sequence,
            answered=self._answered,
            at_s=now_s,
            agents=tuple(self._agents(waits, has_stacks=has_stacks)),
            pending=tuple(_pending(each) for each in waits),
            has_stacks=has_stacks,
        )

    def answered(self, report: ReportWaits) -> None:
        """Learn that the answer to a report has come."""
        self._answered = report.sequence

    def _agents(self, waits: tuple[PendingRequest, ...], *, has_stacks: bool) -> list[AgentWaits]:
        by_agent: dict[str, list[PendingRequest]] = defaultdict(list)
        for each in waits:
            by_agent[each.message.from_agent].append(each)
        found = []
        for agent, requests in by_agent.items():
            box = self._local.find(agent)
            slots = self._local.handlings.slots(agent)
            if slots is None:
                handled = self._by_hand(agent, requests)
                has_receiver = box is None or box.has_receiver
            else:
                at_work = self._local.handlings.of(agent)
                handled = [_handled(each, has_stacks=has_stacks) for each in at_work]
                has_receiver = len(at_work) < slots
            queued = (
                []
                if box is None
                else [each.correlation_id for each in box if each.correlation_id and not each.is_reply]
            )
            found.append(
                AgentWaits(
                    agent=agent,
                    slots=slots or 1,
                    has_receiver=has_receiver,
                    handled=tuple(handled),
                    queued=tuple(queued[:MAX_WAITS]),
                )
            )
        return found

    def _by_hand(self, agent: str, requests: list[PendingRequest]) -> list[Handled]:
        """An agent without a runner is taken to do one thing: what it took it answers when its own requests are answered."""
        awaits = tuple(each.message.correlation_id or "" for each in requests)
        since_s = min(each.since_s for each in requests)
        taken = self._local.taken(agent) or ("",)
        return [
            Handled(slot=number, request_id=request_id, message_id="", since_s=since_s, awaits=awaits)
            for number, request_id in enumerate(taken)
        ]


def _handled(handling: Handling, *, has_stacks: bool) -> Handled:
    message = handling.message
    is_open = message.correlation_id is not None and not message.is_reply and not handling.is_answered
    return Handled(
        slot=handling.slot,
        request_id=message.correlation_id or "" if is_open else "",
        message_id=message.id,
        since_s=handling.since_s,
        awaits=tuple(handling.awaits),
        stack=handling.stack() if has_stacks else "",
    )


def _pending(pending: PendingRequest) -> Pending:
    message = pending.message
    return Pending(
        correlation_id=message.correlation_id or "",
        from_agent=message.from_agent,
        to_agent=message.to_agent,
        since_s=pending.since_s,
        slot=pending.slot,
    )
