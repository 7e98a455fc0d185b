"""Mail between agents of hosts on two machines: all of it arrives, and what must not arrive does not."""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Any

import pytest
import ray

from actors.identities import ensure_identities
from tests.cluster.eventually import eventually
from tests.cluster.mail_stage import Host, Stage, answers, forget_agents
from tests.cluster.system import System
from zejzl_ray.cluster.names import agent_host_name
from zejzl_ray.contracts import agent_host as wire
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.services import BY_SERVICE
from zejzl_ray.contracts.tokens import RevokeTokens
from zejzl_ray.errors import Forbidden, NotFound, Unauthenticated, ZejzlError
from zejzl_ray.sdk.async_client import AsyncClient
from zejzl_ray.sdk.connect import connect_async
from zejzl_ray.settings import Settings

TALKERS = {
    "mailA": ("mainpc", ("MailA1", "MailA2", "MailA3")),
    "mailB": ("pc2", ("MailB1", "MailB2", "MailB3")),
    "mailC": ("pc2", ("MailC1", "MailC2", "MailC3")),
}
EVERYBODY = [name for _, names in TALKERS.values() for name in names]
# host -> those who write down what they get; the host that is first has MailMover, the other one stands by
NOTERS = {
    "mailA": (),
    "mailB": ("MailMover", "MailNoterB", "MailVault"),
    "mailC": ("MailMover", "MailNoterC"),
}
SUBSCRIBERS = 3  # MailMover, MailNoterB, MailNoterC
MESSAGES = 100_000
DEAD_HEARD_S = 1.0  # the bar for a killed process
FROZEN_HEARD_S = 7.0  # for one that is stopped: 2 s for the question whether it lives, 5 s for the answer
SLACK = 3  # a busy machine gets this many times the time; the test prints what it was
OPERATIONS = BY_SERVICE[wire.SERVICE]


@pytest.fixture(scope="module")
def stage(ray_cluster: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    settings = Settings(data_dir=ray_cluster.data_dir, namespace=ray_cluster.info["namespace"])
    made = Stage(tmp_path_factory.mktemp("mail"), settings, ensure_identities(ray_cluster.data_dir), {})
    for name, (machine, talkers) in TALKERS.items():
        agents = [made.agent(talker, "Talker") for talker in talkers]
        agents += [
            made.agent(
                noter,
                "Vault" if noter == "MailVault" else "Noter",
                mail_scope="secret" if noter == "MailVault" else "",
            )
            for noter in NOTERS[name]
        ]
        made.start(name, machine, tuple(agents))
    try:
        yield made
    finally:
        for host in made.hosts.values():
            host.end()
        forget_agents(
            ray_cluster, {*EVERYBODY, *(name for names in NOTERS.values() for name in names), "MailImpostor"}
        )


@pytest.fixture
async def admin(ray_cluster: System) -> AsyncIterator[AsyncClient]:
    async with connect_async("ray", token_file=ray_cluster.data_dir / "token") as client:
        yield client


async def test_nine_agents_on_two_machines_exchange_100_000_messages(stage: Stage) -> None:
    for host, (_, talkers) in TALKERS.items():
        for _, others in TALKERS.values():
            await answers(stage, talkers[-1], others[-1], host)
    count = MESSAGES // len(EVERYBODY) + 1
    began_s = time.monotonic()
    talking: list[Awaitable[Any]] = []
    for host, (_, talkers) in TALKERS.items():
        for talker in talkers:
            told = {"to": [name for name in EVERYBODY if name != talker], "count": count}
            talking.append(stage.hosts[host].do("ask", talker, talker, "talk", told, 100.0, limit_s=110))
    assert {error for error, _ in await asyncio.gather(*talking)} == {""}

    async def metrics() -> dict[str, Any]:
        return {
            name: counts
            for host in TALKERS
            for name, counts in (await stage.hosts[host].do("metrics")).items()
            if name in EVERYBODY
        }

    async def has_all() -> bool:
        got = sum(counts.get("got", 0) for counts in (await metrics()).values())
        return bool(got >= count * len(EVERYBODY))

    await eventually(has_all, within_s=60, what="all messages have arrived")
    print(f"{count * len(EVERYBODY):,} messages in {time.monotonic() - began_s:.1f} s")  # noqa: T201
    await asyncio.sleep(0.5)  # what came twice would come now
    found = await metrics()
    assert sum(counts["sent"] for counts in found.values()) == count * len(EVERYBODY) >= MESSAGES
    assert sum(counts["got"] for counts in found.values()) == count * len(EVERYBODY)
    assert {name: counts["wrong"] for name, counts in found.items() if counts.get("wrong")} == {}
    assert [await stage.hosts[host].do("letters") for host in TALKERS] == [{}, {}, {}]


async def test_a_topic_reaches_its_subscribers_on_other_machines(stage: Stage) -> None:
    await answers(stage, "MailA1", "MailNoterB")
    await answers(stage, "MailA1", "MailNoterC")

    async def reaches_all() -> bool:
        count: int = await stage.hosts["mailA"].do("publish", "MailA1", "mail.first.news")
        return bool(count == SUBSCRIBERS)

    await eventually(reaches_all, within_s=20, what="all subscribers are known")
    await stage.hosts["mailA"].do("publish", "MailA1", "mail.second.news")
    await stage.hosts["mailA"].do("publish", "MailA1", "mail.second.other")

    async def have_it() -> bool:
        seen = [Counter(topic for _, topic in stage.noted(name)) for name in ("MailNoterB", "MailNoterC")]
        return all(each["mail.second.news"] == 1 and not each["mail.second.other"] for each in seen)

    await eventually(have_it, within_s=10, what="both have it, and nothing else")


async def test_mail_in_the_name_of_another_hosts_agent_is_refused(stage: Stage) -> None:
    host = stage.hosts["mailA"]
    refused = await host.do("tell", "MailC1", "MailNoterB", "note", {})
    await host.gets_letter(refused, "unproved", "host mailA does not speak for MailC1")
    assert refused not in dict(stage.noted("MailNoterB"))


async def test_who_lacks_the_scope_of_a_mailbox_is_refused(stage: Stage) -> None:
    host = stage.hosts["mailA"]
    await answers(stage, "MailA1", "MailB1")
    for kept in (False, True):
        refused = await host.do("tell", "MailA1", "MailVault", "note", {}, kept=kept)
        await host.gets_letter(refused, "refused", "MailA1 lacks the scope mail:secret:write")
        assert stage.noted("MailVault") == []
    neighbour = await stage.hosts["mailB"].do("tell", "MailB1", "MailVault", "note", {})
    await stage.notes("MailVault", neighbour)  # of the same process


async def test_a_host_with_the_credential_of_another_is_refused(stage: Stage) -> None:
    agent = stage.agent("MailImpostor", "Talker")
    host = stage.start("mailD", "mainpc", (agent,), subject=f"service:{wire.SUBJECT_PREFIX}mailC")
    found: list[str] = []

    async def is_sent() -> bool:
        try:
            found.append(await host.do("tell", "MailImpostor", "MailNoterB", "note", {}))
        except ZejzlError:  # it does not know the other one yet
            return False
        return True

    await eventually(is_sent, within_s=60, what="it knows where the other one is")
    await host.gets_letter(found[0], "refused", "service:host.mailC is not the host mailD")
    assert found[0] not in dict(stage.noted("MailNoterB"))
    host.end()
    del stage.hosts["mailD"]


async def test_who_has_proved_nothing_can_bring_no_mail(stage: Stage, admin: AsyncClient) -> None:
    receiver = OPERATIONS["deliver_mail"].at(agent_host_name("mailB"))
    handle = ray.get_actor(agent_host_name("mailB"), stage.settings.namespace)
    batch = wire.DeliverMail(connection="0" * 32, frame=b"")
    unproved = Host("mailB", handle)
    with pytest.raises(Unauthenticated):
        await unproved.do("deliver_mail", batch, CallContext())
    with pytest.raises((Forbidden, NotFound)):  # an administrator has no connection either
        await admin.call(receiver, batch)


async def test_an_agent_without_a_proof_cannot_write_to_another_host(stage: Stage) -> None:
    host = stage.start("mailE", "mainpc", (stage.agent("MailNobody", "Talker", is_proved=False),))
    found: list[str] = []

    async def is_sent() -> bool:
        try:
            found.append(await host.do("tell", "MailNobody", "MailNoterB", "note", {}))
        except ZejzlError:
            return False
        return True

    await eventually(is_sent, within_s=60, what="it knows where the other one is")
    await host.gets_letter(found[0], "unproved", "host mailE does not speak for MailNobody")
    host.end()
    del stage.hosts["mailE"]


async def test_a_killed_receiver_is_heard_of_at_once_and_kept_mail_is_handled_when_it_is_back(
    stage: Stage,
) -> None:
    host = stage.hosts["mailA"]
    for receiver in ("MailB1", "MailB2", "MailB3", "MailNoterB"):
        await answers(stage, "MailA1", receiver)
    asked = [
        asyncio.ensure_future(host.do("ask", "MailA1", f"MailB{number}", "wait", {"seconds": 60}, 60.0))
        for number in (1, 2, 3)
    ]
    await asyncio.sleep(0.5)
    pid = await stage.hosts["mailB"].do("pid")
    killed_s = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    kept = [await host.do("tell", "MailA1", "MailNoterB", "note", {}, kept=True) for _ in range(20)]
    for error, at_s in await asyncio.gather(*asked):
        assert error == "AgentUnreachable"
        assert at_s - killed_s < DEAD_HEARD_S * SLACK
        print(f"heard of it after {at_s - killed_s:.3f} s; the bar is {DEAD_HEARD_S} s")  # noqa: T201
    await answers(stage, "MailA1", "MailNoterB")
    for message_id in kept:
        await stage.notes("MailNoterB", message_id)


async def test_mail_follows_an_agent_to_another_host_or_is_undeliverable_once(
    stage: Stage, admin: AsyncClient
) -> None:
    host = stage.hosts["mailA"]
    await answers(stage, "MailA2", "MailMover")
    here = str((await admin.agent("MailMover")).metadata["agent_host"])
    there = {"mailB": "mailC", "mailC": "mailB"}[here]
    sending = asyncio.ensure_future(host.do("stream", "MailA2", "MailMover", 2500, 0.001))
    await asyncio.sleep(1)
    await admin.call(
        OPERATIONS["stop_agent"].at(agent_host_name(here)),
        wire.ControlAgent(name="MailMover", host=here),
        timeout_s=30,
    )
    sent, errors = await sending
    assert set(errors) <= {"UnknownAgent", "AgentUnreachable"}
    await answers(stage, "MailA2", "MailMover")
    assert (await admin.agent("MailMover")).metadata["agent_host"] == there
    letters: dict[str, Any] = {}

    async def is_settled() -> bool:
        letters.clear()
        for name in ("mailA", "mailB", "mailC"):
            letters.update(await stage.hosts[name].do("letters"))
        return set(sent) <= {noted for noted, _ in stage.noted("MailMover")} | letters.keys()

    await eventually(is_settled, within_s=20, what="every message is handled or undeliverable")
    noted = Counter(message_id for message_id, _ in stage.noted("MailMover") if message_id in set(sent))
    assert set(noted.values()) == {1}
    assert set(noted) & letters.keys() == set()
    kept = {message_id for message_id in sent if message_id in letters}
    assert {letters[message_id][0] for message_id in kept} <= {"unknown_agent", "mailbox_closed"}
    handled_by = {line.split()[1] for line in (stage.folder / "MailMover").read_text().splitlines()}
    assert {str(await stage.hosts[name].do("pid")) for name in (here, there)} <= handled_by


async def test_a_frozen_host_is_noticed_and_the_deadline_of_a_request_comes_first(stage: Stage) -> None:
    host = stage.hosts["mailA"]
    await answers(stage, "MailA3", "MailC1")
    waiting = asyncio.ensure_future(host.do("ask", "MailA3", "MailC1", "wait", {"seconds": 60}, 60.0))
    await asyncio.sleep(0.5)
    pid = await stage.hosts["mailC"].do("pid")
    os.kill(pid, signal.SIGSTOP)
    try:
        frozen_s = time.monotonic()
        error, at_s = await host.do("ask", "MailA3", "MailC2", "ping", {}, 0.5)
        assert error == "RequestTimedOut"
        print(f"a deadline of 0.5 s ended after {at_s - frozen_s:.2f} s")  # noqa: T201
        error, at_s = await waiting
        assert error == "AgentUnreachable"
        assert at_s - frozen_s < FROZEN_HEARD_S * SLACK
        print(f"a frozen host was noticed after {at_s - frozen_s:.2f} s; the bar is {FROZEN_HEARD_S} s")  # noqa: T201
    finally:
        os.kill(pid, signal.SIGCONT)
    await answers(stage, "MailA3", "MailC2")


async def test_mail_of_a_revoked_agent_is_refused_within_three_seconds(
    stage: Stage, admin: AsyncClient
) -> None:
    host = stage.hosts["mailA"]
    await answers(stage, "MailA2", "MailNoterC")
    sent: list[str] = []

    async def is_refused() -> bool:
        sent.append(await host.do("tell", "MailA2", "MailNoterC", "note", {}))
        letters = await host.do("letters")
        return any(letters.get(message_id, ("",))[0] == "refused" for message_id in sent)

    revoked_s = time.monotonic()
    await admin.security.revoke_tokens(RevokeTokens(subject="agent:MailA2", reason="a test"))
    await eventually(is_refused, within_s=3.0 * SLACK, what="its mail is refused")
    print(f"its mail was refused after {time.monotonic() - revoked_s:.2f} s; the bar is 3 s")  # noqa: T201
