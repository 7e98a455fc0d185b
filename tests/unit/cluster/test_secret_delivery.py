"""Secrets for one program: names that can be delivered, values that the gateway gives, files that nobody changes."""

import errno
import fcntl
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from pydantic import SecretStr

from zejzl_ray.cluster.secret_delivery import check_names, delivered, fetch_secrets, references_in
from zejzl_ray.contracts.secrets import GetSecret, SecretValue
from zejzl_ray.errors import ClusterError, InvalidInput, NotFound, SecretNotFound, ServiceUnavailable
from zejzl_ray.sdk.secrets import get_secret

VALUE = "one two\nthree £"


class Gateway:
    """Has some secrets for its caller."""

    def __init__(self, secrets: Mapping[str, str], *, is_away: bool = False) -> None:
        self._secrets = secrets
        self._is_away = is_away
        self.asked: list[str] = []

    async def get_secret(self, request: GetSecret) -> SecretValue:
        self.asked.append(request.name)
        if self._is_away:
            raise ServiceUnavailable("away")
        if request.name not in self._secrets:
            raise NotFound(f"There is no secret {request.name}.")
        return SecretValue(name=request.name, version=1, value=SecretStr(self._secrets[request.name]))


@pytest.fixture
def open_files() -> Iterator[None]:
    """Every file that the test opens is closed at its end."""
    before = set(Path("/proc/self/fd").iterdir())
    yield
    assert set(Path("/proc/self/fd").iterdir()) == before


def test_references_of_an_environment_are_told_from_texts() -> None:
    environment = {"KEY": "secret:openai", "LEVEL": "INFO", "SECRET": "not secret:x"}
    assert references_in(environment) == {"KEY": "openai"}


@pytest.mark.parametrize(
    ("secrets", "message"),
    [
        ({"KEY": "has a space"}, "another form"),
        ({"1KEY": "name"}, "another form"),
        ({"KEY": ""}, "another form"),
        ({"a-b": "one", "a_b": "two"}, "one and two would both be in ZEJZL_SECRET_A_B_FILE"),
        ({"first": "second", "second": "third"}, "second and third would both be"),
        ({f"key{n}": "name" for n in range(65)}, "at most 64"),
    ],
)
def test_names_that_cannot_be_delivered_are_refused(secrets: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        check_names(secrets)


def test_a_value_given_as_a_name_by_mistake_is_not_repeated() -> None:
    with pytest.raises(InvalidInput) as refused:
        check_names({"KEY": "hunter2!"})
    assert "hunter2" not in str(refused.value)


async def test_each_secret_is_read_once() -> None:
    gateway = Gateway({"a": "1", "b": "2"})
    values = await fetch_secrets(gateway, ["a", "b", "a"])
    assert {name: value.get_secret_value() for name, value in values.items()} == {"a": "1", "b": "2"}
    assert gateway.asked == ["a", "b"]
    assert "1" not in repr(values)


async def test_all_that_may_not_be_read_are_named_in_one_message() -> None:
    with pytest.raises(SecretNotFound, match="There is no secret b and no secret c for the credential"):
        await fetch_secrets(Gateway({"a": "1"}), ["b", "a", "c"])


async def test_a_gateway_that_is_away_is_said_so() -> None:
    with pytest.raises(ServiceUnavailable):
        await fetch_secrets(Gateway({}, is_away=True), ["a"])


@pytest.mark.usefixtures("open_files")
def test_the_program_reads_what_was_delivered_by_either_name() -> None:
    values = {"openai": SecretStr(VALUE), "db.main": SecretStr("x")}
    secrets = {"OPENAI_KEY": "openai", "openai": "openai", "DB": "db.main"}
    with delivered(secrets, values) as delivery:
        assert len(delivery.descriptors) == 2
        assert set(delivery.variables) == {
            "ZEJZL_SECRET_OPENAI_KEY_FILE",
            "ZEJZL_SECRET_OPENAI_FILE",
            "ZEJZL_SECRET_DB_FILE",
            "ZEJZL_SECRET_DB_MAIN_FILE",
        }
        for name, value in {"OPENAI_KEY": VALUE, "openai": VALUE, "DB": "x", "db.main": "x"}.items():
            assert get_secret(name, environ=delivery.variables).get_secret_value() == value
            assert (
                get_secret(name, environ=delivery.variables).get_secret_value() == value
            )  # as often as it likes
        assert VALUE not in repr(delivery)


def test_the_file_is_private_and_cannot_be_changed() -> None:
    with delivered({"A": "a"}, {"a": SecretStr(VALUE)}) as delivery:
        (descriptor,) = delivery.descriptors
        assert stat.S_IMODE(os.fstat(descriptor).st_mode) == 0o400
        assert not os.get_inheritable(descriptor)
        for change in (lambda: os.write(descriptor, b"x"), lambda: os.ftruncate(descriptor, 0)):
            with pytest.raises(PermissionError):
                change()
        with pytest.raises(PermissionError):
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, 0)
        assert VALUE not in str(Path(f"/proc/self/fd/{descriptor}").readlink())


@pytest.mark.usefixtures("open_files")
@pytest.mark.parametrize("step", ["memfd_create", "fchmod"])
def test_a_kernel_that_gives_no_file_is_one_error_and_leaves_none_open(
    monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.ENFILE, "too many open files")

    monkeypatch.setattr(os, step, refuse)
    with (
        pytest.raises(ClusterError, match="too many open files"),
        delivered({"A": "a"}, {"a": SecretStr(VALUE)}),
    ):
        pytest.fail("nothing was delivered")
