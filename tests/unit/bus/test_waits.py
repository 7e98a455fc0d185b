"""What a process tells of who waits for whom, for agents with runners and without, and what follows from it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Any

from tests.unit.bus.virtual_time import clock, in_virtual_time, settle
from zejzl_ray.bus.deadlock_finder import DeadlockFinder
from zejzl_ray.bus.deadlock_monitor import LocalDeadlockMonitor
from zejzl_ray.bus.handling import Handling, current
from zejzl_ray.bus.hands import hand_at_work, own_hand
from zejzl_ray.bus.message import Message
from zejzl_ray.bus.post_office import PostOffice
from zejzl_ray.bus.waits import WaitsReporter
from zejzl_ray.contracts.waits import AgentWaits, ReportWaits
from zejzl_ray.errors import ZejzlError

LONG_S = 1000.0


def office_of(*agents: str, host: str = "") -> PostOffice:
    office = PostOffice(clock=clock(), host=host)
    for agent in agents:
        office.open_mailbox(agent)
    return office


def ask(office: PostOffice, sender: str, to: str, **fields: Any) -> "asyncio.Task[Message]":
    return asyncio.create_task(office.request(Message(sender, to, "question", {}, **fields), LONG_S))


async def start(office: PostOffice, *agents: str) -> None:
    for agent in agents:
        await office.send(Message("outside", agent, "start", {}))


def report_of(office: PostOffice, **options: Any) -> ReportWaits:
    report = WaitsReporter(office.local, min_age_s=0.0).next_report(office.clock.now_s(), **options)
    assert report is not None
    return report


def agent_of(report: ReportWaits, name: str) -> AgentWaits:
    return next(agent for agent in report.agents if agent.agent == name)


def is_stuck(office: PostOffice) -> bool:
    """Tell whether one who looks twice at this moment finds a circle."""
    reporter, finder = WaitsReporter(office.local, min_age_s=0.0), DeadlockFinder()
    for _ in range(2):
        now_s = office.clock.now_s()
        report = reporter.next_report(now_s)
        assert report is not None
        found = finder.observe(report, now_s).found
        reporter.answered(report)
        if found:
            return True
    return False


class Runner:
    """An agent with a runner of so many slots, each of which handles a request by ``handle``."""

    def __init__(
        self, office: PostOffice, name: str, slots: int, handle: Callable[[Message], Awaitable[object]]
    ) -> None:
        office.open_mailbox(name)
        office.handlings.open(name, slots)
        self._office, self._name, self._handle = office, name, handle
        self.tasks = [asyncio.create_task(self._serve(slot)) for slot in range(slots)]

    async def _serve(self, slot: int) -> None:
        while True:
            message = await self._office.receive(self._name, LONG_S)
            task = asyncio.current_task()
            handling = Handling(self._name, slot, message, since_s=self._office.clock.now_s(), task=task)
            self._office.handlings.begin(handling)
            token = current.set(handling)
            try:
                await self._handle(message)
                if message.correlation_id:
                    await self._office.respond(message, {})
            except ZejzlError:
                pass
            finally:
                current.reset(token)
                self._office.handlings.end(handling)


@in_virtual_time
async def test_outside_of_tasks_nobody_works_for_anybody() -> None:
    found: list[object] = []
    asyncio.get_running_loop().call_soon(
        lambda: found.extend([own_hand(), hand_at_work()]), context=Context()
    )
    await settle()
    assert found == [None, None]


# --- reports ---------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_nothing_is_told_of_requests_that_are_answered_soon() -> None:
    office = office_of("a", "b")
    reporter = WaitsReporter(office.local)
    assert reporter.next_report(office.clock.now_s()) is None
    request = ask(office, "a", "b")
    await asyncio.sleep(0.3)
    assert reporter.next_report(office.clock.now_s()) is None
    young = ask(office, "b", "a")
    await asyncio.sleep(0.15)
    report = reporter.next_report(office.clock.now_s())
    assert report is not None
    assert {pending.from_agent for pending in report.pending} == {"a", "b"}
    assert (report.host, report.boot, report.sequence) == ("local", office.boot, 1)
    for task in (request, young):
        task.cancel()
    await settle()
    empty = reporter.next_report(office.clock.now_s())
    assert empty is not None
    assert (empty.sequence, empty.pending, empty.agents) == (2, (), ())
    assert reporter.next_report(office.clock.now_s()) is None


@in_virtual_time
async def test_a_report_says_which_answer_had_come() -> None:
    office = office_of("a", "b", host="h7")
    request = ask(office, "a", "b")
    await settle()
    reporter = WaitsReporter(office.local, min_age_s=0.0)
    reports = []
    for _ in range(3):
        report = reporter.next_report(office.clock.now_s())
        assert report is not None
        reports.append(report)
        if report.sequence == 2:
            reporter.answered(report)
    assert [(report.sequence, report.answered) for report in reports] == [(1, 0), (2, 0), (3, 2)]
    assert {report.host for report in reports} == {"h7"}
    request.cancel()


@in_virtual_time
async def test_requests_in_a_mailbox_are_told_and_replies_and_other_mail_are_not() -> None:
    office = office_of("a", "b")
    asked = ask(office, "b", "a")
    await settle()
    waiting = ask(office, "a", "b", correlation_id="mine")
    await office.send(Message("x", "b", "note", {}))
    await office.send(Message("x", "b", "answer", {}, correlation_id="never asked", is_reply=True))
    await settle()
    report = report_of(office)
    assert agent_of(report, "b").queued == ("mine",)
    assert [pending.to_agent for pending in report.pending] == ["a", "b"]
    for task in (asked, waiting):
        task.cancel()


@in_virtual_time
async def test_names_and_ids_that_no_report_can_hold_are_left_out() -> None:
    office = office_of("a", "b")
    long = "x" * 300
    strange = ask(office, long, "b")
    normal = ask(office, "a", "b")
    await office.send(Message("x", "a", "note", {}, correlation_id="y" * 300))
    await settle()
    report = report_of(office)
    assert [pending.from_agent for pending in report.pending] == ["a"]
    assert agent_of(report, "a").queued == ()
    for task in (strange, normal):
        task.cancel()


# --- agents with runners ---------------------------------------------------------------------------------------------


@in_virtual_time
async def test_agents_with_runners_that_ask_one_another_are_found_and_told_with_their_stacks() -> None:
    office = office_of()

    async def ask_b(message: Message) -> None:
        await office.request(Message("a", "b", "question", {}), LONG_S)

    async def ask_a(message: Message) -> None:
        await office.request(Message("b", "a", "question", {}), LONG_S)

    runners = [Runner(office, "a", 1, ask_b), Runner(office, "b", 1, ask_a)]
    await start(office, "a", "b")
    await settle()
    assert is_stuck(office)
    report = report_of(office, has_stacks=True)
    handled = agent_of(report, "a").handled
    assert [(each.slot, len(each.awaits), each.request_id) for each in handled] == [(0, 1, "")]
    assert "ask_b" in handled[0].stack
    assert agent_of(report, "a").queued == (report.pending[1].correlation_id,)
    assert not agent_of(report, "a").has_receiver
    for runner in runners:
        runner.tasks[0].cancel()


@in_virtual_time
async def test_a_free_slot_is_no_deadlock() -> None:
    office = office_of()

    async def ask_b(message: Message) -> None:
        if message.message_type == "start":
            await office.request(Message("a", "b", "question", {}), LONG_S)

    async def ask_a(message: Message) -> None:
        if message.message_type == "question":
            await office.request(Message("b", "a", "back", {}), LONG_S)

    runners = [Runner(office, "a", 2, ask_b), Runner(office, "b", 1, ask_a)]
    await start(office, "a")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for _ in range(20):
        if len(office.pending):
            assert not is_stuck(office)
        await asyncio.sleep(0)
    assert len(office.pending) == 0
    for runner in runners:
        for task in runner.tasks:
            task.cancel()


@in_virtual_time
async def test_a_handler_that_has_answered_holds_up_nobody() -> None:
    office = office_of("x")
    handling = Handling("a", 0, Message("x", "a", "q", {}, correlation_id="c"), is_answered=True)
    office.open_mailbox("a")
    office.handlings.open("a", 1)
    office.handlings.begin(handling)
    request = ask(office, "a", "x")
    await settle()
    assert [each.request_id for each in agent_of(report_of(office), "a").handled] == [""]
    handling.is_answered = False
    assert [each.request_id for each in agent_of(report_of(office), "a").handled] == ["c"]
    request.cancel()


# --- agents without runners ------------------------------------------------------------------------------------------


@in_virtual_time
async def test_agents_without_runners_that_ask_one_another_are_found() -> None:
    office = office_of("a", "b", "c")

    async def ask_when_told(me: str, other: str) -> None:
        await office.receive(me, LONG_S)
        await office.request(Message(me, other, "question", {}), LONG_S)

    agents = [asyncio.create_task(ask_when_told(*names)) for names in (("a", "b"), ("b", "c"))]
    await start(office, "a")
    await settle()
    assert len(office.pending) == 2
    assert not is_stuck(office)  # nobody knows what c will do
    agents.append(asyncio.create_task(ask_when_told("c", "a")))
    await settle()
    assert is_stuck(office)
    for agent in agents:
        agent.cancel()


@in_virtual_time
async def test_a_request_that_was_taken_is_in_the_hands_of_the_task_that_took_it() -> None:
    office = office_of("a", "b")

    async def answer_after_asking() -> None:
        request = await office.receive("b", LONG_S)
        await office.request(Message("b", "a", "question", {}), LONG_S)
        await office.respond(request, {})

    responder = asyncio.create_task(answer_after_asking())
    asker = ask(office, "a", "b")
    await settle()
    assert is_stuck(office)  # nobody reads the mail of a
    report = report_of(office, has_stacks=True)
    handled = agent_of(report, "b").handled
    assert [each.request_id for each in handled] == [report.pending[0].correlation_id]
    assert "answer_after_asking" in handled[0].stack
    for task in (responder, asker):
        task.cancel()


@in_virtual_time
async def test_a_task_that_works_on_a_request_holds_up_only_what_it_waits_for_itself() -> None:
    """Each agent asks in one task and answers slowly in another: nobody is stuck, however long it takes."""
    office = office_of("a", "b")

    async def answer_slowly(me: str) -> None:
        while True:
            request = await office.receive(me, LONG_S)
            await asyncio.sleep(50.0)
            await office.respond(request, {})

    answering = [asyncio.create_task(answer_slowly(agent)) for agent in ("a", "b")]
    asking = [ask(office, "a", "b"), ask(office, "b", "a")]
    monitor = LocalDeadlockMonitor(office)
    for _ in range(80):
        await asyncio.sleep(0.5)
        assert await monitor.look() == ()
    await asyncio.gather(*asking)
    for task in answering:
        task.cancel()


@in_virtual_time
async def test_a_reader_that_is_busy_with_other_mail_comes_back() -> None:
    office = office_of("a", "b")

    async def serve(me: str) -> None:
        while True:
            message = await office.receive(me, LONG_S)
            if message.correlation_id:
                await office.respond(message, {})
            else:
                await asyncio.sleep(50.0)

    serving = asyncio.create_task(serve("a"))
    await settle()
    await start(office, "a")

    async def answer_after_asking() -> None:
        request = await office.receive("b", LONG_S)
        await office.request(Message("b", "a", "question", {}), LONG_S)
        await office.respond(request, {})

    responder = asyncio.create_task(answer_after_asking())
    asker = ask(office, "a", "b")
    await asyncio.sleep(10.0)
    assert not is_stuck(office)
    serving.cancel()
    await settle()
    assert is_stuck(office)
    for task in (responder, asker):
        task.cancel()


@in_virtual_time
async def test_tasks_that_were_started_to_ask_work_for_the_one_that_started_them() -> None:
    office = office_of("a", "b", "c")

    async def ask_both() -> None:
        request = await office.receive("a", LONG_S)
        await asyncio.gather(ask(office, "a", "b"), ask(office, "a", "c"))
        await office.respond(request, {})

    async def ask_back(me: str) -> None:
        request = await office.receive(me, LONG_S)
        await office.request(Message(me, "a", "question", {}), LONG_S)
        await office.respond(request, {})

    tasks = [asyncio.create_task(work) for work in (ask_both(), ask_back("b"), ask_back("c"))]
    outside = ask(office, "x", "a")
    await settle()
    assert is_stuck(office)
    taken = agent_of(report_of(office), "a").handled
    assert [len(each.awaits) for each in taken] == [2]
    for task in (*tasks, outside):
        task.cancel()


@in_virtual_time
async def test_what_a_task_took_that_has_ended_is_taken_to_wait_for_all_that_its_agent_asks() -> None:
    """``wait_for`` receives in a task of its own, which has ended when the mail is there."""
    office = office_of("a", "b")

    async def answer_after_asking(me: str, other: str) -> None:
        request = await asyncio.create_task(office.receive(me, LONG_S))
        await office.request(Message(me, other, "question", {}), LONG_S)
        await office.respond(request, {})

    agents = [asyncio.create_task(answer_after_asking(*names)) for names in (("a", "b"), ("b", "a"))]
    outside = [ask(office, "x", "a"), ask(office, "y", "b")]
    await settle()
    assert is_stuck(office)
    for task in (*agents, *outside):
        task.cancel()


@in_virtual_time
async def test_a_request_that_was_answered_is_in_nobodys_hands() -> None:
    office = office_of("a", "b", "c")

    async def answer_and_ask() -> None:
        request = await office.receive("b", LONG_S)
        await office.respond(request, {})
        await office.request(Message("b", "c", "question", {}), LONG_S)

    responder = asyncio.create_task(answer_and_ask())
    await ask(office, "a", "b")
    await settle()
    assert [each.request_id for each in agent_of(report_of(office), "b").handled] == [""]
    responder.cancel()


@in_virtual_time
async def test_who_has_no_mailbox_here_is_told_as_one_that_waits_only() -> None:
    office = office_of("b")
    request = ask(office, "script", "b")
    await settle()
    told = agent_of(report_of(office), "script")
    assert told.has_receiver
    assert told.queued == ()
    request.cancel()


@in_virtual_time
async def test_only_the_last_thousand_requests_that_were_never_answered_are_remembered() -> None:
    office = office_of("b")
    for number in range(1001):
        await office.send(Message("a", "b", "q", {}, correlation_id=f"c{number}"))
        await office.receive("b")
    taken = office.local.taken("b")
    assert len(taken) == 1000
    assert "c0" not in taken
    office.close_mailbox("b")
    assert office.local.taken("b") == {}
