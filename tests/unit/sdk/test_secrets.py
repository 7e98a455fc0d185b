"""A program's secrets come from files that only it may read, or from the gateway, and never from the environment."""

import os
from pathlib import Path

import pytest
from pydantic import SecretStr

from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.health import GetHealth
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.contracts.secrets import MAX_SECRET_BYTES, GetSecret, SecretValue
from zejzl_ray.errors import (
    InvalidInput,
    NotFound,
    SecretNotFound,
    ServiceUnavailable,
    SettingsInvalid,
    ZejzlError,
)
from zejzl_ray.sdk import secrets
from zejzl_ray.sdk.secrets import file_variable_of, get_secret, get_secret_async, resolve

VALUE = "correct horse battery"


class Gateway:
    """A client whose gateway has the given secrets for this program."""

    def __init__(self, **values: str) -> None:
        self._values = values
        self.asked: list[str] = []

    def call(self, operation: Operation, request: Contract) -> Contract:
        assert operation.name == "get_secret"
        assert isinstance(request, GetSecret)
        self.asked.append(request.name)
        if request.name not in self._values:
            raise NotFound("There is none for you.")
        return SecretValue(name=request.name, version=1, value=SecretStr(self._values[request.name]))


class AsyncGateway(Gateway):
    """The same for programs with a loop."""

    async def call(self, operation: Operation, request: Contract) -> Contract:  # type: ignore[override]
        return super().call(operation, request)


@pytest.fixture(autouse=True)
def run_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(secrets, "RUN_SECRETS", tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "run"


def write(path: Path, text: str | bytes = VALUE, mode: int = 0o600) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return path


def value(name: str = "db", **environ: str) -> str:
    return get_secret(name, environ=environ).get_secret_value()


def test_places_are_asked_in_order(tmp_path: Path, run_secrets: Path) -> None:
    gateway = Gateway(db="gateway")
    environ = {"ZEJZL_ENVIRONMENT": "dev"}

    def read() -> str:
        return get_secret("db", client=gateway, environ=environ).get_secret_value()

    assert read() == "gateway"
    write(tmp_path / "secrets" / "db", "dev")
    assert read() == "dev"
    write(run_secrets / "db", "run")
    assert read() == "run"
    environ["ZEJZL_SECRET_DB_FILE"] = str(write(tmp_path / "named", "named"))
    assert read() == "named"
    assert gateway.asked == ["db"]


@pytest.mark.parametrize("environment", ["", "prod", "staging", "DEV"])
def test_the_working_directory_counts_for_a_developer_alone(tmp_path: Path, environment: str) -> None:
    write(tmp_path / "secrets" / "db")
    with pytest.raises(SecretNotFound):
        value(ZEJZL_ENVIRONMENT=environment)
    assert value(ZEJZL_ENVIRONMENT="dev") == VALUE


def test_a_value_in_an_environment_variable_is_not_taken() -> None:
    with pytest.raises(SecretNotFound):
        value("DB", DB=VALUE, ZEJZL_SECRET_DB=VALUE)


def test_the_process_environment_names_files_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZEJZL_SECRET_DB_FILE", str(write(tmp_path / "named")))
    assert get_secret("db").get_secret_value() == VALUE


def test_the_variable_of_a_name_holds_letters_digits_and_underscores() -> None:
    assert file_variable_of("db-1.key") == "ZEJZL_SECRET_DB_1_KEY_FILE"


def test_a_named_file_that_is_not_there_is_an_error_and_nothing_else_is_asked(run_secrets: Path) -> None:
    write(run_secrets / "db")
    with pytest.raises(SettingsInvalid, match="ZEJZL_SECRET_DB_FILE names"):
        value(ZEJZL_SECRET_DB_FILE="/nowhere/db")


def test_an_absent_secret_says_where_was_looked_or_is_empty() -> None:
    with pytest.raises(SecretNotFound, match="no gateway was asked") as caught:
        value()
    assert "zejzl secrets set" in str(caught.value)
    assert "ZEJZL_SECRET_DB_FILE" in str(caught.value)
    with pytest.raises(SecretNotFound, match="nor has the gateway"):
        get_secret("db", client=Gateway(), environ={})
    assert not get_secret("db", client=Gateway(), is_required=False, environ={})


def test_an_absent_gateway_is_not_taken_for_an_absent_secret() -> None:
    class Away(Gateway):
        def call(self, operation: Operation, request: Contract) -> Contract:
            raise ServiceUnavailable("The gateway is away.")

    with pytest.raises(ServiceUnavailable):
        get_secret("db", client=Away(), is_required=False, environ={})


def test_an_answer_of_another_kind_is_refused() -> None:
    class Odd(Gateway):
        def call(self, operation: Operation, request: Contract) -> Contract:
            return GetHealth()

    with pytest.raises(ZejzlError, match="GetHealth and no SecretValue"):
        get_secret("db", client=Odd(), environ={})


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_file_that_others_may_use_is_refused_and_not_quoted(run_secrets: Path, mode: int) -> None:
    write(run_secrets / "db", mode=mode)
    with pytest.raises(SettingsInvalid, match="chmod 600") as caught:
        value()
    assert VALUE not in f"{caught.value}{caught.value!r}"


def test_what_is_no_ordinary_file_is_refused_and_not_waited_for(run_secrets: Path) -> None:
    run_secrets.mkdir()
    (run_secrets / "folder").mkdir(mode=0o700)
    os.mkfifo(run_secrets / "pipe", 0o600)
    for name in ("folder", "pipe"):
        with pytest.raises(SettingsInvalid, match="no ordinary file"):
            value(name)


@pytest.mark.parametrize(
    ("content", "text"),
    [(b"", "nothing"), (b"\n", "nothing"), (b"\xff", "UTF-8"), (b"x" * (MAX_SECRET_BYTES + 1), "too much"),
     (b"x" * (MAX_SECRET_BYTES + 9), "too much")],
)  # fmt: skip
def test_a_file_that_holds_no_secret_is_refused(run_secrets: Path, content: bytes, text: str) -> None:
    write(run_secrets / "db", content)
    with pytest.raises(SettingsInvalid, match=text):
        value()


def test_one_line_end_of_an_editor_is_no_part_of_the_secret(run_secrets: Path) -> None:
    for content, expected in (("a\n", "a"), ("a\r\n", "a"), (" a \n\n", " a \n"), ("a\nb\n", "a\nb")):
        write(run_secrets / "db", content)
        assert value() == expected
    write(run_secrets / "db", "x" * MAX_SECRET_BYTES + "\r\n")
    assert len(value()) == MAX_SECRET_BYTES


def test_a_file_that_cannot_be_opened_is_named(run_secrets: Path) -> None:
    run_secrets.mkdir()
    (run_secrets / "db").symlink_to("db")
    with pytest.raises(SettingsInvalid, match="Cannot read the secret file"):
        value()


def test_a_missing_folder_or_a_file_in_its_place_is_no_secret(run_secrets: Path) -> None:
    write(run_secrets)
    with pytest.raises(SecretNotFound):
        value()


@pytest.mark.parametrize("name", ["", "../db", "a/b", "/etc/passwd", "1a", "a b", "db\n", "x" * 129, "a\0"])
def test_a_name_that_could_be_a_path_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="name of a secret"):
        value(name)


def test_nothing_prints_the_secret(run_secrets: Path) -> None:
    write(run_secrets / "db")
    found = get_secret("db", environ={})
    assert VALUE not in f"{found}{found!r}{resolve('secret:db', environ={})!r}"


async def test_a_program_with_a_loop_asks_the_same_places(run_secrets: Path) -> None:
    gateway = AsyncGateway(db="gateway")
    assert (await get_secret_async("db", client=gateway, environ={})).get_secret_value() == "gateway"
    with pytest.raises(SecretNotFound):
        await get_secret_async("other", client=gateway, environ={})
    assert not await get_secret_async("other", is_required=False, environ={})
    write(run_secrets / "db")
    assert (await get_secret_async("db", client=gateway, environ={})).get_secret_value() == VALUE


# --- references ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("secret:db_1", "one"),
        ("redis://:${secret:db_1}@host/${secret:B.2-x}", "redis://:one@host/two"),
        ("no reference", "no reference"),
        ("my secret:db_1", "my secret:db_1"),
        ("${DB_1} $secret:db_1 ${secret:}", "${DB_1} $secret:db_1 ${secret:}"),
        ("", ""),
    ],
)
def test_references_are_replaced_and_nothing_else(text: str, expected: str) -> None:
    gateway = Gateway(**{"db_1": "one", "B.2-x": "two"})
    assert resolve(text, client=gateway, environ={}).get_secret_value() == expected


def test_what_a_secret_holds_is_not_looked_at_again() -> None:
    gateway = Gateway(a="${secret:b}\\1", b="b")
    assert resolve("${secret:a}", client=gateway, environ={}).get_secret_value() == "${secret:b}\\1"
    assert gateway.asked == ["a"]


def test_a_reference_to_nothing_is_an_error() -> None:
    with pytest.raises(SecretNotFound, match="no secret db"):
        resolve("${secret:db}", environ={})
