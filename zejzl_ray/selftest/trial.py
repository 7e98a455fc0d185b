"""What is tried with one operation, and what came of it, as data."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from pydantic import SecretStr

from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.errors import ZejzlError
from zejzl_ray.ids import new_id

PREFIX = "selftest-"


class Who(StrEnum):
    """In whose name a trial calls."""

    CALLER = "caller"  # who runs the self-test
    PROGRAM = "program"  # made by the self-test, without rights over others
    PERSON = "person"  # made by the self-test, logged in


class Outcome(StrEnum):
    """What came of a trial; only the first two are well."""

    OK = "ok"
    REFUSED = "refused as expected"
    FAILED = "failed"
    LEFT_OUT = "left out"
    ABSENT = "nobody there"  # no host of agents runs: well


class Call(Protocol):
    """How trials reach operations."""

    async def __call__(self, operation: Operation, request: Contract, token: SecretStr | None) -> Contract:
        """Run the operation; ``token`` None: in the name of who runs the self-test."""
        ...


class Lacks(ZejzlError):
    """What an earlier trial should have left is not there."""

    code = "lacks"


@dataclass(slots=True)
class Bench:
    """What trials know of one another.

    Attributes:
        call: the way to operations.
        now_s: wall time of the start.
        name: begins every name that is made.
        target: the machine or the host of agents that is being tried; empty for services.
        kept: what earlier trials left.
    """

    call: Call
    now_s: float
    name: str = field(default_factory=lambda: new_id(PREFIX.rstrip("-")))
    target: str = ""
    kept: dict[str, Any] = field(default_factory=dict)

    @property
    def program(self) -> str:
        """The subject of the program."""
        return f"program:{self.name}"

    @property
    def person(self) -> str:
        """The user's name."""
        return self.name

    @property
    def secret(self) -> str:
        """The name of the secret: the same each time, since a revoked one stays in the list."""
        return f"{PREFIX}secret"

    def need(self, what: str) -> Any:
        """Return what an earlier trial left.

        Raises:
            Lacks: it left nothing.
        """
        if what not in self.kept:
            raise Lacks(f"the trial before did not give the {what}.")
        return self.kept[what]

    def token_of(self, who: Who) -> SecretStr | None:
        """Return whose token a call takes."""
        return None if who is Who.CALLER else SecretStr(self.need(f"token of the {who}"))


Prepare = Callable[[Bench], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Trial:
    """How one operation is tried.

    Attributes:
        key: ``service.name``.
        how: in words, for the table.
        request: what is sent.
        who: in whose name.
        refused: codes of errors that are the right answer; empty: it must succeed.
        keep: takes from the answer what later trials need.
        prepare: calls that must come before, of other operations.
    """

    key: str
    how: str
    request: Callable[[Bench], Contract]
    who: Who = Who.CALLER
    refused: tuple[str, ...] = ()
    keep: Callable[[Bench, Any], None] | None = None
    prepare: Prepare | None = None

    @property
    def is_without_right(self) -> bool:
        """Whether it would hurt if it were let through."""
        return self.who is Who.PROGRAM and "forbidden" in self.refused


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one trial; ``ms`` from the call to its answer."""

    service: str
    operation: str
    outcome: Outcome
    how: str
    ms: float = 0.0
    detail: str = ""

    @property
    def is_well(self) -> bool:
        """Whether it is as it should be."""
        return self.outcome not in {Outcome.FAILED, Outcome.LEFT_OUT}


def without_right(key: str, request: Callable[[Bench], Contract]) -> Trial:
    """Return the trial of an operation that would hurt: called by a program that may not, and so refused."""
    return Trial(key, "by a program without the right", request, who=Who.PROGRAM, refused=("forbidden",))
