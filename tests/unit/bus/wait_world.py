"""Agents on hosts that call one another, step by step and in any order; and what is truly stuck among them.

Everything takes its time: mail, replies, reports and their answers are under way until they are let arrive, reports may
be lost, and may come long after their host gave them up.
"""

import random
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from zejzl_ray.bus.deadlock_finder import DeadlockFinder, DeadlockPolicy
from zejzl_ray.contracts.waits import AgentWaits, Deadlock, Handled, Pending, ReportWaits

OUTSIDE = "outside"
T = TypeVar("T")


@dataclass(eq=False)
class Call:
    """A request: where it is, and who waits for it."""

    id: str
    sender: "Worker | None"  # the handler that waits; None: asked from outside
    host: str
    target: str
    begun: float
    place: str = "under way"  # under way, queued, handled, replied, done


@dataclass(eq=False)
class Worker:
    """A handler that runs: rounds of calls that it makes one after the other, each round at once."""

    agent: "Agent"
    slot: int
    call: Call
    rounds: list[list[str]]
    awaits: list[Call] = field(default_factory=list)
    is_answered: bool = False


@dataclass(eq=False)
class Agent:
    name: str
    host: str
    slots: int
    mailbox: deque[Call] = field(default_factory=deque)
    workers: dict[int, Worker] = field(default_factory=dict)


@dataclass(eq=False)
class Host:
    name: str
    sequence: int = 0
    answered: int = 0
    waits_for_answer: ReportWaits | None = None


class World:
    """The system and its hub.

    Args:
        rng: decides everything.
        policy: of the hub.
        has_timeouts: requests may also be given up.
    """

    def __init__(self, rng: random.Random, policy: DeadlockPolicy, *, has_timeouts: bool) -> None:
        self._rng = rng
        self._has_timeouts = has_timeouts
        # Roots at once; and whether nobody asks one who waits for it: then only two roots can make a circle.
        self._most_roots = rng.choice((1, 2, 12))
        self._is_polite = rng.random() < 0.7
        # Requests that are given up are what makes circles that never were: their mail stays where it is.
        self._impatience = rng.choice((0.1, 0.5, 1.0))
        self._mail_speed = rng.choice((1, 2, 4))  # against that of reports
        self.hosts = [Host(f"h{number}") for number in range(rng.choice((1, 2, 3, 4)))]
        self.agents = {
            f"A{number}": Agent(f"A{number}", rng.choice(self.hosts).name, rng.choice((1, 1, 2)))
            for number in range(rng.randint(2, 5))
        }
        self.calls: dict[str, Call] = {}
        self.finder = DeadlockFinder(policy)
        self.found: list[Deadlock] = []
        self.stuck_once: list[frozenset[str]] = []
        self._reports: list[tuple[Host, ReportWaits]] = []
        self._answers: list[tuple[Host, ReportWaits, tuple[str, ...]]] = []
        self._count = 0
        self.is_winding_down = False

    # --- what may happen -----------------------------------------------------------------------------------------

    def step(self, *, may_begin: bool) -> None:
        """Let one thing happen; without ``may_begin`` what is begun comes to an end, if it can."""
        self.is_winding_down = not may_begin
        mail = [self.deliver, self.take_mail, self.work, self.reply]
        actions = [*mail * self._mail_speed, self.report, self.report, self.hear, self.answer]
        if may_begin:
            actions.append(self.begin)
            if self._has_timeouts:
                actions.append(self.give_up)
        self._rng.choice(actions)()
        self._note()

    def begin(self) -> None:
        if sum(call.sender is None for call in self.calls.values()) < self._most_roots:
            self._ask(None, OUTSIDE, self._rng.choice(list(self.agents)))

    def deliver(self) -> None:
        if call := self._any(call for call in self.calls.values() if call.place == "under way"):
            call.place = "queued"
            self.agents[call.target].mailbox.append(call)

    def take_mail(self) -> None:
        ready = [each for each in self.agents.values() if each.mailbox and len(each.workers) < each.slots]
        if agent := self._any(ready):
            call = agent.mailbox.popleft()
            if call.place == "done":  # given up by who asked
                return
            call.place = "handled"
            slot = next(number for number in range(agent.slots) if number not in agent.workers)
            number = 0 if self.is_winding_down else self._rng.choice((0, 0, 1, 1, 2))
            rounds = [self._round(call) for _ in range(number)]
            agent.workers[slot] = Worker(agent, slot, call, [each for each in rounds if each])

    def work(self) -> None:
        ready = [each for each in self._workers() if not each.awaits]
        if worker := self._any(ready):
            if worker.rounds:
                for target in worker.rounds.pop(0):
                    self._ask(worker, worker.agent.host, target)
            elif not worker.is_answered:
                worker.is_answered = True
                if worker.call.place != "done":
                    worker.call.place = "replied"
                if not self.is_winding_down and self._rng.random() < 0.2:  # goes on after its answer
                    worker.rounds += filter(None, [self._round(worker.call)])
            else:
                del worker.agent.workers[worker.slot]

    def reply(self) -> None:
        if call := self._any(call for call in self.calls.values() if call.place == "replied"):
            self._finish(call)

    def give_up(self) -> None:
        if self._rng.random() < self._impatience and (call := self._any(self.calls.values())):
            self._finish(call)

    def report(self) -> None:
        host = self._rng.choice(self.hosts)
        if host.waits_for_answer is not None and self._rng.random() > 0.1:  # sometimes it gives an answer up
            return
        host.sequence += 1
        host.waits_for_answer = self._snapshot(host)
        if self._rng.random() < 0.95:
            self._reports.append((host, host.waits_for_answer))

    def hear(self) -> None:
        if self._reports:
            host, report = self._reports.pop(self._rng.randrange(len(self._reports)))
            verdict = self.finder.observe(report, 0.0)
            self.found += verdict.found
            fail = tuple(each.correlation_id for each in verdict.answer.fail)
            self._answers.append((host, report, fail))

    def answer(self) -> None:
        if self._answers:
            host, report, fail = self._answers.pop(self._rng.randrange(len(self._answers)))
            if host.waits_for_answer is not report:
                return  # given up before
            host.waits_for_answer, host.answered = None, report.sequence
            for correlation_id in fail:
                if (call := self.calls.get(correlation_id)) is not None and call.host == host.name:
                    self._finish(call)

    # --- what is true --------------------------------------------------------------------------------------------

    def truly_stuck(self) -> frozenset[str]:
        """Return the requests that cannot come to an end, whatever happens; from the whole state at one moment."""
        moving: set[str] = {call.id for call in self.calls.values() if call.place in ("under way", "replied")}
        while True:
            more = {
                call.id
                for call in self.calls.values()
                if call.id not in moving and self._can_move(call, moving)
            }
            if not more:
                return frozenset(self.calls.keys() - moving)
            moving |= more

    def _can_move(self, call: Call, moving: set[str]) -> bool:
        agent = self.agents[call.target]
        if call.place == "handled":
            return any(
                worker.call is call and self._goes_on(worker, moving) for worker in agent.workers.values()
            )
        return len(agent.workers) < agent.slots or any(
            self._goes_on(worker, moving) for worker in agent.workers.values()
        )

    @staticmethod
    def _goes_on(worker: Worker, moving: set[str]) -> bool:
        return not worker.awaits or any(call.id in moving for call in worker.awaits)

    def _note(self) -> None:
        stuck = self.truly_stuck()
        if stuck and (not self.stuck_once or self.stuck_once[-1] != stuck):
            self.stuck_once.append(stuck)

    # --- how it is done ------------------------------------------------------------------------------------------

    def _round(self, call: Call) -> list[str]:
        names = set(self.agents)
        above: Call | None = call
        while above is not None and self._is_polite:
            names.discard(above.target)
            above = above.sender.call if above.sender else None
        return [self._rng.choice(sorted(names)) for _ in range(self._rng.choice((1, 1, 2))) if names]

    def _ask(self, sender: Worker | None, host: str, target: str) -> None:
        self._count += 1
        call = Call(f"r{self._count}", sender, host, target, float(self._count))
        self.calls[call.id] = call
        if sender is not None:
            sender.awaits.append(call)

    def _finish(self, call: Call) -> None:
        call.place = "done"
        del self.calls[call.id]
        if call.sender is not None:
            call.sender.awaits.remove(call)

    def _workers(self) -> list[Worker]:
        return [worker for agent in self.agents.values() for worker in agent.workers.values()]

    def _any(self, things: Iterable[T]) -> T | None:
        found = list(things)
        return self._rng.choice(found) if found else None

    def _snapshot(self, host: Host) -> ReportWaits:
        mine = [agent for agent in self.agents.values() if agent.host == host.name]
        return ReportWaits(
            host=host.name,
            boot="b",
            sequence=host.sequence,
            answered=host.answered,
            at_s=float(self._count),
            agents=tuple(
                AgentWaits(
                    agent=agent.name,
                    slots=agent.slots,
                    has_receiver=len(agent.workers) < agent.slots,
                    handled=tuple(
                        Handled(
                            slot=worker.slot,
                            request_id="" if worker.is_answered else worker.call.id,
                            message_id=f"m-{worker.call.id}",
                            since_s=worker.call.begun,
                            awaits=tuple(call.id for call in worker.awaits),
                        )
                        for worker in agent.workers.values()
                    ),
                    queued=tuple(call.id for call in agent.mailbox),
                )
                for agent in mine
            ),
            pending=tuple(
                Pending(
                    correlation_id=call.id,
                    from_agent=call.sender.agent.name if call.sender else OUTSIDE,
                    to_agent=call.target,
                    since_s=call.begun,
                    slot=call.sender.slot if call.sender else None,
                )
                for call in self.calls.values()
                if call.host == host.name
            ),
        )
