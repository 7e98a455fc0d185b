"""Settings come from the environment; what is wrong with them is named, secrets are not."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from zejzl_ray.errors import SettingsInvalid
from zejzl_ray.settings import Settings, load_settings, settings_environment


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"ZEJZL_{name.upper()}", raising=False)


def refusal() -> str:
    with pytest.raises(SettingsInvalid) as caught:
        load_settings()
    return str(caught.value)


def test_without_an_environment_there_are_defaults() -> None:
    settings = load_settings()
    assert (settings.http_port, settings.namespace, settings.bind_host) == (7000, "zejzl", "127.0.0.1")


def test_variables_are_read_and_empty_ones_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEJZL_HTTP_PORT", "7100")
    monkeypatch.setenv("ZEJZL_NAMESPACE", "")
    settings = load_settings()
    assert (settings.http_port, settings.namespace) == (7100, "zejzl")


def test_every_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEJZL_HTTP_PORT", "70000")
    monkeypatch.setenv("ZEJZL_ENVIRONMENT", "moon")
    text = refusal()
    assert "ZEJZL_HTTP_PORT: " in text
    assert "ZEJZL_ENVIRONMENT: " in text
    assert "docs/settings.md" in text


@pytest.mark.parametrize(
    "url",
    ["redis://:hunter2@host:6380", "redis+sentinel://me:hunter2@a,b/p", "redis://h:1?password=hunter2"],
)
def test_a_password_in_the_stores_address_is_refused_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("ZEJZL_STORE_URL", url)
    text = refusal()
    assert "ZEJZL_STORE_URL" in text
    assert "ZEJZL_REDIS_PASSWORD" in text
    assert "hunter2" not in text


def test_the_data_directory_is_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Settings(data_dir=Path("~/z")).data_path == tmp_path / "z"
    monkeypatch.chdir(tmp_path)
    assert Settings(data_dir=Path("y")).data_path == tmp_path / "y"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("sqlite", "sqlite:///data/my%20fleet%3F/store"),
        ("memory", "memory://"),
        ("redis://host:6380", "redis://host:6380"),
    ],
)
def test_the_stores_address_is_completed(given: str, expected: str) -> None:
    settings = Settings(data_dir=Path("/data/my fleet?"), store_url=given)
    assert settings.resolved_store_url() == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("redis://host:6380/0?replicas=1", "redis://:p%40%2Fs@host:6380/0?replicas=1"),
        ("rediss://me@host:6380", "rediss://me:p%40%2Fs@host:6380"),
        ("redis+sentinel://a:1,b:2/primary", "redis+sentinel://:p%40%2Fs@a:1,b:2/primary"),
        ("memory", "memory://"),
    ],
)
def test_the_redis_password_takes_its_place_in_the_address(given: str, expected: str) -> None:
    settings = Settings(store_url=given, redis_password=SecretStr("p@/s"))
    assert settings.secret_store_url().get_secret_value() == expected
    assert "p%40" not in settings.resolved_store_url()
    assert "p@/s" not in repr(settings)


def test_a_password_that_was_read_from_a_file_counts_when_none_is_set() -> None:
    given = SecretStr("file")
    unset, own = (
        Settings(store_url="redis://h:1"),
        Settings(store_url="redis://h:1", redis_password=SecretStr("set")),
    )
    assert unset.secret_store_url(given).get_secret_value() == "redis://:file@h:1"
    assert own.secret_store_url(given).get_secret_value() == "redis://:set@h:1"
    assert Settings(store_url="memory").secret_store_url(given).get_secret_value() == "memory://"


def test_without_a_password_the_address_stays_as_it_is() -> None:
    url = Settings(store_url="redis://host:6380").secret_store_url()
    assert url.get_secret_value() == "redis://host:6380"


def test_settings_are_kept_for_a_later_start_without_what_is_secret() -> None:
    environment = {
        "ZEJZL_STORE_URL": "rediss://10.0.0.1:6380",
        "ZEJZL_REDIS_PASSWORD": "hush",
        "ZEJZL_REDIS_PASSWORD_FILE": "/run/secrets/redis",
        "ZEJZL_SECRET_OPENAI_KEY": "hush",
        "PATH": "/bin",
    }

    assert settings_environment(environment) == {
        "ZEJZL_STORE_URL": "rediss://10.0.0.1:6380",
        "ZEJZL_REDIS_PASSWORD_FILE": "/run/secrets/redis",
    }
