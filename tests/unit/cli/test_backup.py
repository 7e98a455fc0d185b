"""`zejzl backup` over the SQLite files of a data directory, without a cluster."""

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from zejzl_ray.cli.main import app
from zejzl_ray.clock import SystemClock
from zejzl_ray.errors import Conflict, InvalidInput, NotFound, SettingsInvalid, StoreUnavailable, ZejzlError
from zejzl_ray.store import Put, open_store

CLOCK = SystemClock()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory with one namespace and a secret file."""
    monkeypatch.setenv("ZEJZL_DATA_DIR", str(tmp_path))
    asyncio.run(put(tmp_path, "first"))
    (tmp_path / "token").write_text("zk_secret")
    (tmp_path / "tls").mkdir()
    (tmp_path / "tls" / "ca.key").write_text("key")
    return tmp_path


async def put(home: Path, key: str) -> None:
    store = await open_store(f"sqlite://{home}/store", "one", clock=CLOCK, owner="test")
    await store.commit([Put(key, b"v")], epoch=await store.take_epoch())
    await store.close()


async def keys(home: Path) -> list[str]:
    store = await open_store(f"sqlite://{home}/store", "one", clock=CLOCK, owner="test")
    found = [key for key, _ in await store.scan("")]
    await store.close()
    return found


def zejzl(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["backup", *map(str, arguments)])


def refused(*arguments: object, error: type[ZejzlError]) -> str:
    result = zejzl(*arguments)
    assert isinstance(result.exception, error), result.output
    assert result.exception.remedy
    return str(result.exception)


def create(*arguments: object) -> Path:
    result = zejzl("create", *arguments)
    assert result.exit_code == 0, result.output
    return Path(result.stdout.strip())


def test_a_backup_is_made_listed_verified_and_restored(home: Path) -> None:
    path = create()
    assert path.parent == home / "backups"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    listed = zejzl("list")
    assert path.name in listed.stdout
    assert "whole" in listed.stdout
    verified = zejzl("verify", path)
    assert verified.exit_code == 0
    assert "one" in verified.stdout
    asyncio.run(put(home, "second"))
    assert "not empty: one" in refused("restore", path, error=Conflict)
    assert asyncio.run(keys(home)) == ["first", "second"]
    restored = zejzl("restore", path, "--force")
    assert restored.exit_code == 0
    assert "restored 1 namespaces, 1 keys" in restored.stdout
    assert "revoked" in restored.stderr
    assert asyncio.run(keys(home)) == ["first"]
    assert len(list((home / "backups").glob("*-before-restore.tar.gz"))) == 1


def test_secrets_stay_out_unless_asked_for_and_then_it_is_said(home: Path) -> None:
    plain = zejzl("create")
    assert "Keys and tokens are not in it" in plain.stderr
    assert b"zk_secret" not in Path(plain.stdout.strip()).read_bytes()
    loud = zejzl("create", "--with-secrets")
    assert "SECRETS ARE IN THIS FILE, in clear: token, tls/ca.key" in loud.stderr
    assert "WITH SECRETS" in zejzl("list").stdout
    path = Path(loud.stdout.strip())
    (home / "token").unlink()
    done = zejzl("restore", path, "--force", "--with-secrets")
    assert "secret files written: token" in done.stderr
    assert (home / "token").read_text() == "zk_secret"


def test_json_says_everything_that_the_table_does(home: Path) -> None:
    made = json.loads(zejzl("create", "--keep", 1, "--json").stdout)
    assert (made["namespaces"][0]["name"], made["removed"]) == ("one", [])
    again = json.loads(zejzl("create", "--keep", 1, "--json").stdout)
    assert again["removed"] == [made["file"]]
    assert json.loads(zejzl("verify", again["file"], "--json").stdout)["is_whole"]
    assert [each["file"] for each in json.loads(zejzl("list", "--json").stdout)] == [again["file"]]
    restored = json.loads(zejzl("restore", again["file"], "--force", "--json").stdout)
    assert restored["before"].endswith("-before-restore.tar.gz")
    assert restored["are_users_known"]


def test_a_damaged_one_is_shown_and_the_list_fails(home: Path) -> None:
    path = create()
    path.write_bytes(path.read_bytes()[:-20])
    result = zejzl("list")
    assert result.exit_code == 1
    assert "DAMAGED" in result.stdout
    assert f"{path.name}: was cut short" in result.stderr
    listed = json.loads(zejzl("list", "--json").stdout)
    assert "cut short" in listed[0]["fault"]
    assert "cut short" in refused("verify", path, error=InvalidInput)
    assert "cut short" in refused("restore", path, "--force", error=InvalidInput)


def test_old_ones_are_removed_where_that_is_asked_for(home: Path) -> None:
    paths = [create(), create(), create("--keep", 2)]
    assert sorted((home / "backups").iterdir()) == paths[1:]
    assert "--keep counts" in refused("create", "--output", home / "x", "--keep", 1, error=InvalidInput)


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("ftp://x", SettingsInvalid),
        ("memory", SettingsInvalid),
        ("redis://127.0.0.1:1", StoreUnavailable),
        ("redis://", SettingsInvalid),
        ("sqlite:///nowhere/at/all", NotFound),
    ],
)
def test_a_wrong_store_is_one_message(
    home: Path, monkeypatch: pytest.MonkeyPatch, url: str, error: type[ZejzlError]
) -> None:
    monkeypatch.setenv("ZEJZL_STORE_URL", url)
    refused("create", error=error)
    assert not list((home / "backups").iterdir())


def test_a_running_cluster_is_not_restored_into(home: Path) -> None:
    path = create()
    record = {
        "cluster_id": "c",
        "temp_dir": "/tmp/c",
        "address": "127.0.0.1:1",
        "dashboard_url": "",
        "http_url": "",
        "bind_host": "127.0.0.1",
        "namespace": "n",
        "machines": [],
    }
    (home / "cluster.json").write_text(json.dumps(record))
    assert "zejzl down" in refused("restore", path, "--force", error=Conflict)


def test_what_does_not_exist_is_said(home: Path) -> None:
    assert "zejzl backup list" in refused("verify", home / "nothing", error=NotFound)
    assert "zejzl backup list" in refused("restore", home / "nothing", error=NotFound)
    assert "cannot be written" in refused("create", "--output", "/proc/nothing/x", error=StoreUnavailable)
    assert "cannot be used" in refused("create", "--dir", home / "token" / "x", error=SettingsInvalid)
