"""The commands of one commit: decided on a draft, encoded as they come."""

from collections.abc import Callable
from typing import Any, Final

from zejzl_ray.commands.repeats import Answer, RepeatWindow, RequestKey, require_same
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.machines import Machine
from zejzl_ray.contracts.orchestrator import Agent
from zejzl_ray.errors import PayloadTooLarge
from zejzl_ray.orchestrator.draft import Decision, Draft
from zejzl_ray.orchestrator.persistence import (
    agent_key,
    decode_reply,
    encode_agent,
    encode_change,
    put_answer,
    put_machine,
)
from zejzl_ray.orchestrator.quiet_gc import BULK, held_back
from zejzl_ray.orchestrator.registry import Registry
from zejzl_ray.store.protocol import Delete, Op, Put

_MAX_OPS: Final = 50_000

Decide = Callable[["Batch"], Decision]


class Batch:
    """What one commit will store.

    Args:
        registry: the committed state.
        repeats: answers of committed commands.
        requests: number of the last remembered command.
        repeat_window: slots of the ring in which answers are stored.
        max_bytes: size of one command's changes at most, and size from which the batch is full.
        now_s: wall time of all decisions in this batch.
    """

    def __init__(
        self,
        registry: Registry,
        repeats: RepeatWindow,
        *,
        requests: int,
        repeat_window: int,
        max_bytes: int,
        now_s: float,
    ) -> None:
        self.draft = Draft(registry)
        self.now_s = now_s
        self.requests = requests
        self.ops: list[Op] = []
        self.log_changes: list[dict[str, Any]] = []
        self.renewed: list[str] = []
        self.machines: dict[str, Machine] = {}
        self.answers: dict[str, Answer] = {}
        self._history = registry.history
        # name -> record after its last change in this batch
        self._logged: dict[str, Agent | None] = {}
        self._repeats = repeats
        self._repeat_window = repeat_window
        self._max_bytes = max_bytes
        self._size_bytes = 0

    @property
    def is_full(self) -> bool:
        """Whether no further command fits in."""
        return self._size_bytes >= self._max_bytes or len(self.ops) >= _MAX_OPS

    def run(self, decide: Decide, key: RequestKey | None = None) -> Contract:
        """Decide a command and take it into the batch; a repeated one gets the answer that it got before.

        Args:
            decide: decides on this batch and changes nothing.
            key: None for what the registry does by itself; nobody repeats that.

        Raises:
            Conflict: the request id was used for another command.
            PayloadTooLarge: the changes are too large for one commit.
            ZejzlError: what ``decide`` raises; the batch is as it was.
        """
        if key is not None and (answer := self._find(key)) is not None:
            return decode_reply(answer)
        decision = decide(self)
        self._take(decision)
        if key is not None:
            self.requests += 1
            self.ops.append(put_answer(self.requests, key, decision.reply, self._repeat_window))
            self.answers[key.request_id] = Answer(key, decision.reply)
        return decision.reply

    def _find(self, key: RequestKey) -> Answer | None:
        answer = self.answers.get(key.request_id)
        if answer is None:
            return self._repeats.find(key)
        require_same(answer.key, key)
        return answer

    def _take(self, decision: Decision) -> None:
        size_bytes = 0
        ops: list[Op] = []
        log_changes: list[dict[str, Any]] = []
        logged: dict[str, Agent | None] = {}
        with held_back(len(decision.changes) > BULK):
            for change in decision.changes:
                name, agent = change.name, change.agent
                replaced = None
                if change.from_state is not None and (before := self._last_logged(name, logged)) is not None:
                    replaced = encode_agent(before)
                    size_bytes += len(replaced)
                log_changes.append(encode_change(change, replaced))
                logged[name] = agent
                if agent is None:
                    ops.append(Delete(agent_key(name)))
                else:
                    record = encode_agent(agent)
                    size_bytes += len(record)
                    ops.append(Put(agent_key(name), record))
        if size_bytes > self._max_bytes:
            raise PayloadTooLarge(
                f"The command changes {size_bytes} bytes of records and history; one commit takes {self._max_bytes}.",
                "Send fewer agents at a time.",
            )
        if decision.machine is not None:
            ops.append(put_machine(decision.machine))
            self.machines[decision.machine.name] = decision.machine
        self.ops += ops
        self.ops += decision.ops
        self.log_changes += log_changes
        self._logged.update(logged)
        self.renewed += decision.renewed
        self._size_bytes += size_bytes
        self.draft.record(decision)

    def _last_logged(self, name: str, logged: dict[str, Agent | None]) -> Agent | None:
        """Return the record after the last change of an agent that the log holds; ``logged`` is the newest part.

        It is not the registry's record, which signs of life renew between changes.
        """
        for newer in (logged, self._logged):
            if name in newer:
                return newer[name]
        change = self._history.last(name)
        return change.agent if change is not None else None
