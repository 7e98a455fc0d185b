"""The real gateway behind the commands: a new one for each call, on a store that outlives them."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.unit.security.gateway_bench import ADMIN, Bench
from zejzl_ray.cli import gateway as cli_gateway
from zejzl_ray.cli import login as cli_login
from zejzl_ray.cli.main import app
from zejzl_ray.contracts.access import NOBODY, AuthenticatedCall, Principal
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.errors import ZejzlError
from zejzl_ray.log import configure_logging
from zejzl_ray.sdk.async_client import AsyncClient
from zejzl_ray.settings import Settings


class GatewayBehindCommands:
    """A ``Caller`` to the gateway, under a name that the test sets; what is sent goes over JSON as on the wire.

    Attributes:
        principal: who calls operations that are not public.
        trouble: raised by the next calls, in turn.
        asked: operation and request of each call.
        before: run before each call.
    """

    def __init__(self) -> None:
        self.bench = Bench()
        self.principal: Principal = ADMIN
        self.trouble: list[ZejzlError] = []
        self.asked: list[tuple[str, Any]] = []
        self.before: Callable[[], None] = lambda: None
        self.closed = 0

    async def call(self, operation: Operation, request: Contract, call: CallContext) -> Contract:
        self.before()
        self.asked.append((operation.name, request))
        if self.trouble:
            raise self.trouble.pop(0)
        principal = NOBODY if operation.is_public else self.principal
        checked = AuthenticatedCall(request_id=call.request_id, principal=principal)
        sent = operation.request.model_validate_json(request.model_dump_json())
        async with self.bench.gateway() as service:
            reply: Contract = await getattr(service, operation.name)(sent, checked)
        return operation.reply.model_validate_json(reply.model_dump_json())

    async def close(self) -> None:
        self.closed += 1

    def do(self, operation: Operation, request: Contract) -> Any:
        """Call as the test itself, before or after a command."""
        return asyncio.run(self.call(operation, request, CallContext()))

    def requests(self, operation: str) -> list[Any]:
        return [request for name, request in self.asked if name == operation]


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data directory of this machine; nothing else is set."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"ZEJZL_{name.upper()}", raising=False)
    monkeypatch.setenv("ZEJZL_DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "data").mkdir(mode=0o700)
    return tmp_path / "data"


@pytest.fixture
def gateway(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> GatewayBehindCommands:
    configure_logging("ERROR")  # what the gateway logs is not what the command says
    caller = GatewayBehindCommands()
    monkeypatch.setattr(cli_gateway, "connect_async", lambda: AsyncClient(caller))
    monkeypatch.setattr(cli_gateway, "anonymous_caller", lambda settings: caller)
    monkeypatch.setattr(cli_login, "connect_as_logged_in", lambda settings: AsyncClient(caller))
    return caller


@pytest.fixture
def run() -> Callable[..., Result]:
    """Run a command; ``typed`` is its standard input, which is no terminal."""

    def run(*arguments: str, typed: str = "") -> Result:
        return CliRunner().invoke(app, arguments, input=typed)

    return run
