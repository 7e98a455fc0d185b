"""Who waits for whom in this process, for the search for deadlocks."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from zejzl_ray.bus.handling import Handling, stack_of
from zejzl_ray.bus.hands import Hand
from zejzl_ray.bus.local_mail import LocalMail
from zejzl_ray.bus.mailbox import Mailbox
from zejzl_ray.bus.message import MOST_LETTERS
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
        self._answered = 0

    def next_report(self, now_s: float, *, has_stacks: bool = False) -> ReportWaits | None:
        """Return what to report now; None when there is nothing, and there was nothing the last time."""
        pending = [each for each in self._local.pending if _is_tellable(each)]
        is_told = any(now_s - each.since_s >= self._min_age_s for each in pending)
        if not is_told and self._was_empty:
            return None
        self._was_empty = not is_told
        self._sequence += 1
        # All that wait, once one of them waits long: the circle may be closed by a young one.
        waits = pending[:MAX_WAITS] if is_told else []
        return ReportWaits(
            host=self._local.host or "local",
            boot=self._local.boot,
            sequence=self._sequence,
            answered=self._answered,
            at_s=now_s,
            agents=tuple(self._agents(waits, now_s, has_stacks=has_stacks)),
            pending=tuple(_pending(each) for each in waits),
            has_stacks=has_stacks,
        )

    def answered(self, report: ReportWaits) -> None:
        """Learn that the answer to a report has come."""
        self._answered = report.sequence

    def _agents(self, waits: Sequence[PendingRequest], now_s: float, *, has_stacks: bool) -> list[AgentWaits]:
        by_hand: dict[Hand | None, list[PendingRequest]] = defaultdict(list)
        for each in waits:
            by_hand[_living(each.hand)].append(each)
        found = []
        for agent in dict.fromkeys(each.message.from_agent for each in waits):
            box = self._local.find(agent)
            slots = self._local.handlings.slots(agent)
            if slots is None:
                handled = self._by_hand(agent, by_hand, now_s, has_stacks=has_stacks)
                has_receiver = box is None or _has_reader(box, by_hand)
            else:
                at_work = self._local.handlings.of(agent)
                handled = [_handled(each, has_stacks=has_stacks) for each in at_work]
                has_receiver = len(at_work) < slots
            queued = [] if box is None else [each.correlation_id for each in box if not each.is_reply]
            found.append(
                AgentWaits(
                    agent=agent,
                    slots=slots or 1,
                    has_receiver=has_receiver,
                    handled=tuple(handled[:MAX_WAITS]),
                    queued=tuple(each for each in queued if each and len(each) <= MOST_LETTERS)[:MAX_WAITS],
                )
            )
        return found

    def _by_hand(
        self,
        agent: str,
        by_hand: dict[Hand | None, list[PendingRequest]],
        now_s: float,
        *,
        has_stacks: bool,
    ) -> list[Handled]:
        """What an agent without a runner does: each task that took a request answers it when its own are answered.

        What was taken by a task that has ended, as ``wait_for`` makes one, waits for all that the agent has asked.
        """
        took: dict[Hand | None, list[str]] = defaultdict(list)
        for correlation_id, hand in self._local.taken(agent).items():
            took[_living(hand)].append(correlation_id)
        handled: list[Handled] = []
        own = [each for waits in by_hand.values() for each in waits if each.message.from_agent == agent]
        for hand in dict.fromkeys([*took, *(_living(each.hand) for each in own)]):
            waits = own if hand is None else by_hand.get(hand, [])
            task = None if hand is None else hand.task
            awaits = tuple(each.message.correlation_id or "" for each in waits)
            for request_id in took.get(hand) or [""]:
                handled.append(
                    Handled(
                        slot=len(handled),
                        request_id=request_id,
                        message_id="",
                        since_s=min((each.since_s for each in waits), default=now_s),
                        awaits=awaits,
                        stack=stack_of(task) if has_stacks and task is not None else "",
                    )
                )
        return handled


def _living(hand: Hand | None) -> Hand | None:
    return None if hand is None or hand.task is None else hand


def _has_reader(box: Mailbox, by_hand: dict[Hand | None, list[PendingRequest]]) -> bool:
    """Tell whether somebody reads a mailbox, now or as soon as he has done something that is no request."""
    reader = _living(box.reader)
    return box.has_receiver or (reader is not None and reader not in by_hand)


def _is_tellable(pending: PendingRequest) -> bool:
    message = pending.message
    names = (message.correlation_id or "", message.from_agent, message.to_agent)
    return all(0 < len(name) <= MOST_LETTERS for name in names)


def _handled(handling: Handling, *, has_stacks: bool) -> Handled:
    message = handling.message
    is_open = message.correlation_id is not None and not message.is_reply and not handling.is_answered
    return Handled(
        slot=handling.slot,
        request_id=(message.correlation_id or "")[:MOST_LETTERS] if is_open else "",
        message_id=message.id[:MOST_LETTERS],
        since_s=handling.since_s,
        awaits=tuple(handling.awaits)[:MAX_WAITS],
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
