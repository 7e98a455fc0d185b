import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from serve_apps.config import IngressConfig
from serve_apps.watch import Watchers
from tests.unit.serve_apps.fake_registry import FakeRegistry
from tests.unit.serve_apps.running import QUICK, TOKEN, Ingress, StartIngress
from zejzl_ray.contracts.orchestrator import WatchBatch
from zejzl_ray.contracts.problems import Problem
from zejzl_ray.errors import Overloaded, RevisionCompacted, ServiceUnavailable

PATH = "/v1/watch/agents"


class Stream:
    """A client of the event stream, on the ASGI side."""

    def __init__(self) -> None:
        self.status = 0
        self.text = ""
        self.is_complete = False
        self._gone = asyncio.Event()
        self._arrived = asyncio.Event()

    async def receive(self) -> Any:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.status = message.get("status", self.status)
        self.text += message.get("body", b"").decode()
        self.is_complete = message["type"] == "http.response.body" and not message.get("more_body", False)
        self._arrived.set()

    def leave(self) -> None:
        self._gone.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                self._arrived.clear()
                await self._arrived.wait()

    def events(self) -> list[tuple[str, str, str]]:
        """Return (id, event, agent's name) of what has arrived."""
        found = []
        for block in self.text.split("\n\n"):
            lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
            if "id" in lines:
                found.append((lines["id"], lines["event"], json.loads(lines["data"])["name"]))
        return found


@asynccontextmanager
async def streaming(ingress: Ingress, query: str = "", **headers: str) -> AsyncIterator[Stream]:
    stream = Stream()
    given = {"authorization": f"Bearer {TOKEN}", "accept": "text/event-stream", **headers}
    scope = {
        "type": "http",
        "method": "GET",
        "path": PATH,
        "raw_path": PATH.encode(),
        "query_string": query.encode(),
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in given.items()],
        "http_version": "1.1",
        "scheme": "http",
        "server": ("ingress", 80),
        "root_path": "",
    }
    task = asyncio.create_task(ingress.app(scope, stream.receive, stream.send))
    try:
        yield stream
    finally:
        stream.leave()
        await asyncio.wait_for(task, 5)


async def test_a_poll_returns_changes_that_are_there_at_once(ingress: Ingress) -> None:
    ingress.registry.put("Coder")
    ingress.registry.put("Tester")
    await ingress.settle()
    answer = await ingress.client.get(PATH, params={"from_revision": 1})
    batch = WatchBatch.model_validate_json(answer.content)
    assert [(event.name, event.revision) for event in batch.events] == [("Tester", 2)]
    assert batch.revision == 2


async def test_a_poll_waits_for_the_next_change(ingress: Ingress) -> None:
    waiting = asyncio.create_task(ingress.client.get(PATH, params={"timeout_s": 10}))
    await asyncio.sleep(0)
    ingress.registry.put("Coder")
    batch = WatchBatch.model_validate_json((await waiting).content)
    assert [event.name for event in batch.events] == ["Coder"]


async def test_a_poll_ends_empty_after_its_time(ingress: Ingress) -> None:
    answer = await ingress.client.get(PATH, params={"timeout_s": 0.01})
    assert answer.json() == {"events": [], "revision": 0}


async def test_a_page_of_changes_goes_on_from_its_last_revision(ingress: Ingress) -> None:
    for number in range(4):
        ingress.registry.put(f"A{number}")
    await ingress.settle()
    first = (await ingress.client.get(PATH, params={"limit": 3})).json()
    assert first["revision"] == 3
    second = (await ingress.client.get(PATH, params={"limit": 3, "from_revision": 3})).json()
    assert [event["name"] for event in second["events"]] == ["A3"]
    assert second["revision"] == 4


async def test_older_changes_are_asked_for_in_the_service(start_ingress: StartIngress) -> None:
    registry = FakeRegistry()
    registry.put("Before")
    ingress = await start_ingress(registry=registry)
    await ingress.settle()
    answer = await ingress.client.get(PATH, params={"from_revision": 0})
    assert [event["name"] for event in answer.json()["events"]] == ["Before"]
    registry.floor = 1
    gone = await ingress.client.get(PATH, params={"from_revision": 0})
    assert gone.status_code == 410
    assert Problem.model_validate_json(gone.content).code == "revision_compacted"


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
async def test_a_revision_from_the_future_is_refused(ingress: Ingress, accept: str) -> None:
    query = {"from_revision": 9, "timeout_s": 0}
    answer = await ingress.client.get(PATH, params=query, headers={"accept": accept})
    assert answer.status_code == 410
    assert "query.from_revision: 9" in answer.json()["detail"]


async def test_a_stream_sends_changes_as_they_happen(ingress: Ingress) -> None:
    async with streaming(ingress) as stream:
        await stream.until(lambda: stream.status == 200)
        ingress.registry.put("Coder")
        await stream.until(lambda: len(stream.events()) == 1)
        ingress.registry.remove("Coder")
        await stream.until(lambda: len(stream.events()) == 2)
    assert stream.events() == [("1", "agent_registered", "Coder"), ("2", "agent_deregistered", "Coder")]
    assert stream.is_complete


async def test_a_stream_resumes_after_the_last_event_id(ingress: Ingress) -> None:
    for number in range(3):
        ingress.registry.put(f"A{number}")
    await ingress.settle()
    async with streaming(ingress, "from_revision=0", last_event_id="2") as stream:
        await stream.until(lambda: bool(stream.events()))
    assert stream.events() == [("3", "agent_registered", "A2")]


async def test_a_last_event_id_that_is_no_revision_is_refused(ingress: Ingress) -> None:
    headers = {"accept": "text/event-stream", "last-event-id": "x"}
    answer = await ingress.client.get(PATH, headers=headers)
    assert answer.status_code == 422
    assert "header.Last-Event-ID" in answer.json()["detail"]


async def test_a_silent_stream_gets_comments(ingress: Ingress) -> None:
    async with streaming(ingress) as stream:
        await stream.until(lambda: stream.text.count(": keep-alive\n\n") >= 2)


async def test_a_stream_ends_when_the_replica_stops(ingress: Ingress) -> None:
    async with streaming(ingress) as stream:
        await stream.until(lambda: stream.status == 200)
        await ingress.replica.stop()
        await stream.until(lambda: stream.is_complete)


@pytest.mark.parametrize("failure", [RevisionCompacted("Too old."), ServiceUnavailable("Away.")])
async def test_a_stream_that_cannot_go_on_without_a_gap_says_so_and_ends(
    start_ingress: StartIngress, failure: Exception
) -> None:
    ingress = await start_ingress(config=QUICK.model_copy(update={"kept_events": 1}))
    await ingress.settle()
    async with streaming(ingress) as stream:
        await stream.until(lambda: stream.status == 200)
        # more changes in one batch than are kept, and the history cannot be had
        for number in range(5):
            ingress.registry.put(f"A{number}")
        watch = ingress.registry.on_watch_agents

        async def only_the_replica(request: Any) -> Any:
            if request.timeout_s == 0:
                raise failure
            return await watch(request)

        ingress.registry.on_watch_agents = only_the_replica  # type: ignore[method-assign]  # a fake of a fake
        await stream.until(lambda: stream.is_complete)
    assert "event: problem\ndata: {" in stream.text
    assert stream.events() == []


async def test_more_watchers_than_the_limit_are_refused(start_ingress: StartIngress) -> None:
    ingress = await start_ingress(config=IngressConfig(poll_s=0.02, max_watchers=1))
    await ingress.settle()
    async with streaming(ingress) as stream:
        await stream.until(lambda: stream.status == 200)
        refused = await ingress.client.get(PATH)
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        assert refused.json()["code"] == "overloaded"
    assert (await ingress.client.get(PATH, params={"timeout_s": 0})).status_code == 200


def test_a_place_is_given_back_when_a_watch_fails() -> None:
    watchers = Watchers(1)
    with pytest.raises(KeyError), watchers.one():
        raise KeyError
    with watchers.one(), pytest.raises(Overloaded), watchers.one():
        pass
    assert watchers.count == 0


async def test_a_stream_ends_when_its_token_counts_no_more(ingress: Ingress) -> None:
    async with streaming(ingress) as stream:
        await stream.until(lambda: stream.status == 200)
        ingress.door.is_revoked = True
        ingress.registry.put("Late")
        await stream.until(lambda: stream.is_complete)
    assert "event: problem\ndata: {" in stream.text
    assert "token_revoked" in stream.text
    assert stream.events() == []


async def test_a_poll_that_waited_is_not_answered_when_its_token_counts_no_more(ingress: Ingress) -> None:
    ingress.door.is_revoked = True
    answer = await ingress.client.get("/v1/watch/agents", params={"timeout_s": 0})
    assert answer.status_code == 401
