import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import SecretStr

from zejzl_ray import errors
from zejzl_ray.auth.authorised_caller import AuthorisedCaller
from zejzl_ray.auth.credential_text import new_credential
from zejzl_ray.contracts.caller import Caller
from zejzl_ray.contracts.tokens import Tokens
from zejzl_ray.sdk.async_client import AsyncClient
from zejzl_ray.sdk.connect import (
    anonymous_caller,
    connect,
    connect_as_logged_in,
    connect_async,
    is_auth_off,
)
from zejzl_ray.sdk.http_caller import HttpCaller
from zejzl_ray.sdk.login_session import saved_login, write_login
from zejzl_ray.settings import Settings

ACCESS = "a.b.c"  # has the looks of a signed token


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"ZEJZL_{name.upper()}", raising=False)
    monkeypatch.setenv("ZEJZL_DATA_DIR", str(tmp_path))
    monkeypatch.delitem(sys.modules, "ray", raising=False)


class FakeAccess:
    def __init__(self, namespace: str, credential: SecretStr, clock: Any) -> None:
        self.caller = (namespace, credential)


@pytest.fixture
def logged_in(tmp_path: Path) -> Path:
    tokens = Tokens(
        access_token=SecretStr(ACCESS),
        subject="user:ada",
        scopes=(),
        audience="zejzl",
        issued_at_s=0,
        expires_at_s=900,
        session="s1",
        refresh_token=SecretStr("zr_x"),
    )
    write_login(tmp_path / "session", saved_login(tokens, 0.0))
    (tmp_path / "token").write_text("from-file")
    return tmp_path


@pytest.fixture
def in_ray(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Pretend that this process is connected to Ray; collects the namespaces of the callers that are made."""
    made: list[Any] = []
    ray, actor_caller = ModuleType("ray"), ModuleType("actor_caller")
    access = ModuleType("gateway_access")
    ray.is_initialized = lambda: True  # type: ignore[attr-defined] # a stand-in for Ray
    actor_caller.ActorCaller = made.append  # type: ignore[attr-defined] # same
    access.GatewayAccess = FakeAccess  # type: ignore[attr-defined] # same
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "zejzl_ray.cluster.actor_caller", actor_caller)
    monkeypatch.setitem(sys.modules, "zejzl_ray.cluster.gateway_access", access)
    return made


def goes_to(client: AsyncClient) -> tuple[str, str]:
    assert isinstance(client._caller, HttpCaller)
    assert client._token is not None
    return str(client._caller._url), client._token.get_secret_value()


def test_an_address_and_a_token_are_all_it_needs() -> None:
    client = connect_async("http://pc2:7000", token="t", timeout_s=3.0)
    assert goes_to(client) == ("http://pc2:7000", "t")
    assert client.timeout_s == 3.0


def test_without_an_address_it_takes_this_machine_and_the_token_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("from-file\n")
    monkeypatch.setenv("ZEJZL_HTTP_PORT", "7123")
    assert goes_to(connect_async()) == ("http://127.0.0.1:7123", "from-file")


def test_the_environment_names_address_and_token_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").write_text("mine")
    monkeypatch.setenv("ZEJZL_ADDRESS", "http://pc2:7001")
    monkeypatch.setenv("ZEJZL_TOKEN_FILE", str(tmp_path / "mine"))
    assert goes_to(connect_async()) == ("http://pc2:7001", "mine")


def test_an_argument_stands_before_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other").write_text("other")
    monkeypatch.setenv("ZEJZL_ADDRESS", "http://pc2:7001")
    monkeypatch.setenv("ZEJZL_TOKEN_FILE", str(tmp_path / "missing"))
    client = connect_async("http://mainpc:1", token_file=tmp_path / "other")
    assert goes_to(client) == ("http://mainpc:1", "other")
    assert goes_to(connect_async(token=SecretStr("given")))[1] == "given"


def test_the_blocking_client_is_built_the_same_way() -> None:
    with connect("http://pc2:7000", token="t") as client:
        assert goes_to(client._client) == ("http://pc2:7000", "t")


def test_a_missing_token_file_is_named_with_what_writes_it(tmp_path: Path) -> None:
    with pytest.raises(errors.Unauthenticated, match="zejzl up") as caught:
        connect_async()
    assert str(tmp_path / "token") in caught.value.message


def test_a_token_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(errors.Unauthenticated, match="cannot be read"):
        connect_async("http://x", token_file=tmp_path)


@pytest.mark.parametrize("content", [b"", b" \n", b"x" * 70_000])
def test_a_file_without_a_token_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(errors.Unauthenticated, match="holds no token"):
        connect_async()


def test_a_file_that_is_no_text_is_refused_and_not_repeated(tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(b"\xff\xfe\x00secret")
    with pytest.raises(errors.Unauthenticated) as caught:
        connect_async()
    assert "secret" not in str(caught.value)


def test_inside_ray_it_calls_actors_and_needs_no_token(in_ray: list[Any]) -> None:
    client = connect_async()
    assert in_ray == ["zejzl"]
    assert client._token is None


def test_inside_ray_a_token_file_that_is_there_is_used(
    in_ray: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text(ACCESS)
    monkeypatch.setenv("ZEJZL_NAMESPACE", "other")
    client = connect_async("ray")
    assert in_ray == ["other"]
    assert client._token == SecretStr(ACCESS)


def test_inside_ray_a_credential_is_exchanged_by_the_client_itself(in_ray: list[Any]) -> None:
    credential = new_credential()
    client = connect_async(token=credential)
    way: Any = client._caller
    assert way == ("zejzl", credential)
    assert (client._token, in_ray) == (None, [])


def test_inside_ray_something_that_is_no_token_is_refused_and_not_repeated(in_ray: list[Any]) -> None:
    with pytest.raises(errors.InvalidInput, match="no token") as caught:
        connect_async(token="hunter2")
    assert "hunter2" not in str(caught.value)


def test_inside_ray_a_token_file_that_was_named_must_be_there(in_ray: list[Any], tmp_path: Path) -> None:
    with pytest.raises(errors.Unauthenticated, match="nowhere"):
        connect_async("ray://", token_file=tmp_path / "nowhere")


def test_inside_ray_an_http_address_is_still_http(in_ray: list[Any]) -> None:
    assert goes_to(connect_async("http://pc2:7000", token="t"))[0] == "http://pc2:7000"
    assert in_ray == []


def test_actor_handles_outside_ray_are_refused() -> None:
    with pytest.raises(errors.ServiceUnavailable, match=r"not connected to Ray.*ray\.init"):
        connect_async("ray", token="t")


def test_an_address_of_ray_client_is_refused(in_ray: list[Any]) -> None:
    with pytest.raises(errors.InvalidInput, match="ray://head:10001"):
        connect_async("ray://head:10001", token="t")


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan")])
def test_a_limit_must_be_positive(timeout_s: float) -> None:
    with pytest.raises(errors.InvalidInput, match="timeout_s"):
        connect_async("http://x", token="t", timeout_s=timeout_s)


def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEJZL_HTTP_PORT", "seven")
    with pytest.raises(errors.SettingsInvalid, match="ZEJZL_HTTP_PORT"):
        connect_async()


def way_of(client: AsyncClient) -> Caller:
    return client._caller


def test_a_login_goes_before_the_token_file_and_after_everything_that_is_named(
    logged_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = connect_async("http://pc2:7000")
    assert isinstance(way_of(client), AuthorisedCaller)
    assert client._token is None
    assert goes_to(connect_async(token="given"))[1] == "given"
    (logged_in / "named").write_text("named")
    assert goes_to(connect_async(token_file=logged_in / "named"))[1] == "named"
    monkeypatch.setenv("ZEJZL_TOKEN_FILE", str(logged_in / "named"))
    assert goes_to(connect_async())[1] == "named"
    assert goes_to(connect_async(token="given"))[1] == "given"
    assert isinstance(way_of(connect_as_logged_in(Settings())), AuthorisedCaller)


def test_after_a_logout_it_is_the_token_file_again(logged_in: Path) -> None:
    (logged_in / "session").unlink()
    assert goes_to(connect_async())[1] == "from-file"


def test_inside_ray_a_login_is_not_used(logged_in: Path, in_ray: list[Any]) -> None:
    (logged_in / "token").write_text(ACCESS)
    assert connect_async()._token == SecretStr(ACCESS)


@pytest.mark.parametrize(
    ("address", "tls", "expected"),
    [
        ("", "auto", "http://127.0.0.1:7000"),
        ("", "on", "https://127.0.0.1:7000"),
        ("ray", "auto", "http://127.0.0.1:7000"),
        ("ray://", "auto", "http://127.0.0.1:7000"),
        ("http://pc2:1", "on", "http://pc2:1"),
    ],
)
def test_who_has_no_token_goes_to_the_ingress(address: str, tls: Any, expected: str) -> None:
    caller = anonymous_caller(Settings(address=address, http_tls=tls))
    assert isinstance(caller, HttpCaller)
    assert (str(caller._url), caller._token) == (expected, None)


def test_the_own_ingress_is_called_over_https_where_it_speaks_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEJZL_HTTP_TLS", "on")
    assert goes_to(connect_async(token="t"))[0] == "https://127.0.0.1:7000"


@pytest.mark.parametrize("said", [True, False, None])
def test_an_ingress_is_asked_whether_authentication_is_off(
    monkeypatch: pytest.MonkeyPatch, said: bool | None
) -> None:
    class Ingress:
        is_auth_off = said
        is_closed = False

        def __init__(self, address: str, token: object, timeout_s: float, ca_file: object) -> None:
            assert (address, token) == ("http://pc2:7000", None)

        async def call(self, operation: Any, request: Any, call: Any) -> None:
            assert operation.is_public
            raise errors.ServiceUnavailable("away")

        async def close(self) -> None:
            Ingress.is_closed = True

    monkeypatch.setattr("zejzl_ray.sdk.connect.HttpCaller", Ingress)
    assert is_auth_off("http://pc2:7000", Settings()) is said
    assert Ingress.is_closed


def test_a_client_tells_what_the_last_answer_said(
    monkeypatch: pytest.MonkeyPatch, logged_in: Path, in_ray: list[Any]
) -> None:
    monkeypatch.setattr(HttpCaller, "is_auth_off", True)
    assert connect_async("http://x", token="t").is_auth_off
    assert connect_async("http://x").is_auth_off
    assert not connect_async("ray", token=ACCESS).is_auth_off
    with connect("http://x", token="t") as client:
        assert client.is_auth_off
