"""What the registry keeps in its store, under which keys, and how it reads it back.

====================  ===============================================================================
``meta``              format, revision, number of the last command and of the last log entry
``agent/<name>``      the record, as JSON
``machine/<name>``    the machine with the report that last changed its hardware
``request/<slot>``    the answer of a command and a digest of its content; the slots are a ring
``renewals``          agent name -> when it was last seen, written in batches
``confirmed``         nothing: a commit shows that the store still takes those of this epoch
log ``changes``       one entry a commit: its changes, each with the record that it replaced
====================  ===============================================================================

No record is stored twice: what an agent was after a change is what the next change of it replaced, or what it is
now. A bulk registration so writes its records once. A change leaves out what it replaced when the change that
made it is no longer in the log.

The version of ``meta`` guards every commit: one that arrives late is refused instead of undoing newer ones.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from pydantic import ValidationError

from zejzl_ray.commands.repeats import Answer, RequestKey
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.machines import Machine
from zejzl_ray.contracts.orchestrator import OPERATIONS, Agent, AgentState
from zejzl_ray.errors import StoreError
from zejzl_ray.orchestrator.changes import Change
from zejzl_ray.orchestrator.history import LogSpan
from zejzl_ray.orchestrator.records import changed
from zejzl_ray.store.protocol import LogEntry, Op, Put, Store

FORMAT: Final = 3
META: Final = "meta"
RENEWALS: Final = "renewals"
CONFIRMED: Final = "confirmed"
CHANGES_LOG: Final = "changes"
_AGENT: Final = "agent/"
_MACHINE: Final = "machine/"
_REQUEST: Final = "request/"
_PAGE: Final = 1000
# An entry of a bulk registration is large: few of them at a time.
_LOG_PAGE: Final = 100

REPLY_TYPES: Final[dict[str, type[Contract]]] = {operation.name: operation.reply for operation in OPERATIONS}


@dataclass(frozen=True, slots=True)
class Meta:
    """Counters that must not go back.

    Attributes:
        revision: of the last change.
        requests: number of the last remembered command.
        log_index: of the last entry of the change log.
        version: of the key ``meta`` in the store; 0 before the first commit.
    """

    revision: int = 0
    requests: int = 0
    log_index: int = 0
    version: int = 0


@dataclass(slots=True)
class Loaded:
    """Everything that was stored."""

    meta: Meta
    agents: list[Agent] = field(default_factory=list)
    machines: list[Machine] = field(default_factory=list)
    seen: dict[str, float] = field(default_factory=dict)
    log: list[tuple[LogSpan, list[Change]]] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)


def agent_key(name: str) -> str:
    """Return the key of an agent's record."""
    return _AGENT + name


def encode_agent(agent: Agent) -> bytes:
    """Return a record as JSON, the same as pydantic writes, in a third of the time."""
    return orjson.dumps(agent.__dict__)


def encode_change(change: Change, replaced: bytes | None) -> dict[str, Any]:
    """Return a change as one element of a log entry.

    Args:
        change: what to write.
        replaced: the encoded record after the agent's change before this one; None when that is not in the log.
    """
    entry: dict[str, Any] = {"kind": change.kind, "name": change.name, "revision": change.revision}
    if change.caused_by:
        entry["by"] = change.caused_by
    if change.from_state is not None:
        entry["from"] = change.from_state.value
    if change.agent is None:
        entry["reason"] = change.reason
    if replaced is not None:
        entry["replaced"] = orjson.Fragment(replaced)
    return entry


def encode_log_entry(at_s: float, changes: Sequence[dict[str, Any]]) -> bytes:
    """Return a log entry: all changes of one commit."""
    return orjson.dumps({"at_s": at_s, "changes": changes})


def encode_meta(meta: Meta) -> bytes:
    """Return the counters as JSON; the version is the store's."""
    return orjson.dumps(
        {"format": FORMAT, "revision": meta.revision, "requests": meta.requests, "log_index": meta.log_index}
    )


def put_answer(number: int, key: RequestKey, reply: Contract, window: int) -> Put:
    """Return the operation that stores an answer in its slot of the ring."""
    value = orjson.dumps(
        {
            "number": number,
            "id": key.request_id,
            "operation": key.operation,
            "target": key.target,
            "digest": key.digest,
            "reply": orjson.Fragment(reply.__pydantic_serializer__.to_json(reply)),
        }
    )
    return Put(f"{_REQUEST}{number % window:05d}", value)


def put_machine(machine: Machine) -> Put:
    """Return the operation that stores a machine."""
    return Put(_MACHINE + machine.name, machine.model_dump_json().encode())


def put_renewals(agents: Iterable[Agent]) -> Op:
    """Return the operation that stores when agents were last seen."""
    return Put(
        RENEWALS, orjson.dumps({a.name: a.last_seen_at_s for a in agents if a.last_seen_at_s is not None})
    )


def put_confirmation() -> Op:
    """Return an operation that changes nothing that anybody reads."""
    return Put(CONFIRMED, b"")


def decode_reply(answer: Answer) -> Contract:
    """Return the answer as a model."""
    if isinstance(answer.reply, Contract):
        return answer.reply
    return REPLY_TYPES[answer.key.operation].model_validate_json(answer.reply)


async def load(store: Store, repeat_window: int) -> Loaded:
    """Read everything back.

    Raises:
        StoreError: something stored cannot be read by this version; names the key.
        StoreUnavailable: the store cannot be reached.
    """
    loaded = Loaded(await _load_meta(store))
    at = META
    try:
        async for key, value in _scan(store, _AGENT):
            at = key
            loaded.agents.append(changed(Agent.model_validate_json(value)))
        async for key, value in _scan(store, _MACHINE):
            at = key
            loaded.machines.append(Machine.model_validate_json(value))
        at = RENEWALS
        if (renewals := await store.get(RENEWALS)) is not None:
            loaded.seen = orjson.loads(renewals.value)
        entries: list[LogEntry] = []
        after = 0
        while page := await store.read_log(CHANGES_LOG, after=after, limit=_LOG_PAGE):
            entries += page
            after = page[-1].index
        # Backwards: a change says what was before it.
        records = {agent.name: agent for agent in loaded.agents}
        for entry in reversed(entries):
            at = f"log {CHANGES_LOG}, entry {entry.index}"
            loaded.log.append(_decode_entry(entry, records))
        loaded.log.reverse()
        numbered: list[tuple[int, Answer]] = []
        async for key, value in _scan(store, _REQUEST):
            at = key
            numbered.append(_decode_answer(value))
    except (ValidationError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"The registry's store holds something unreadable at {at}: {type(error).__name__}.",
            "Start the version that wrote it, or restore the store from its backup.",
        ) from error
    numbered.sort(key=lambda each: each[0])
    loaded.answers = [answer for _, answer in numbered[-repeat_window:]]
    return loaded


async def _load_meta(store: Store) -> Meta:
    stored = await store.get(META)
    if stored is None:
        return Meta()
    try:
        values = orjson.loads(stored.value)
        if values["format"] != FORMAT:
            raise StoreError(
                f"The registry's store has format {values['format']}; this version reads {FORMAT}.",
                "Start the version that wrote it.",
            )
        return Meta(values["revision"], values["requests"], values["log_index"], stored.version)
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"The registry's store holds something unreadable at {META}: {type(error).__name__}.",
            "Restore the store from its backup.",
        ) from error


async def _scan(store: Store, prefix: str) -> Any:
    after = ""
    while page := await store.scan(prefix, after=after, limit=_PAGE):
        for key, stored in page:
            after = key
            yield key, stored.value


def _decode_entry(entry: LogEntry, records: dict[str, Agent]) -> tuple[LogSpan, list[Change]]:
    """Return the changes of an entry, and turn ``records`` from what was after them into what was before."""
    values = orjson.loads(entry.value)
    changes = [_decode_change(each, values["at_s"], records) for each in reversed(values["changes"])]
    changes.reverse()
    return LogSpan(entry.index, len(changes)), changes


def _decode_change(values: dict[str, Any], at_s: float, records: dict[str, Agent]) -> Change:
    name, revision, from_state = values["name"], values["revision"], values.get("from")
    agent = records.pop(name, None)
    if agent is None:
        if "reason" not in values:
            raise ValueError(f"no record of {name} at revision {revision}")
    elif agent.revision != revision:
        raise ValueError(f"the record of {name} is of revision {agent.revision}, not {revision}")
    if (replaced := values.get("replaced")) is not None:
        records[name] = changed(Agent.model_validate(replaced))
    return Change(
        values["kind"],
        name,
        revision,
        at_s,
        values.get("by", ""),
        AgentState(from_state) if from_state is not None else None,
        agent,
        values.get("reason", ""),
    )


def _decode_answer(value: bytes) -> tuple[int, Answer]:
    values = orjson.loads(value)
    key = RequestKey(values["id"], values["operation"], values["target"], values["digest"])
    return values["number"], Answer(key, orjson.dumps(values["reply"]))
