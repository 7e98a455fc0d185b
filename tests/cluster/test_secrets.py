"""A secret reaches the program that may have it, and stands nowhere else."""

import asyncio
import hashlib
import json
import secrets
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import psutil
import pytest
import ray
from pydantic import SecretStr

from tests.cluster.eventually import eventually
from tests.cluster.system import System
from zejzl_ray.cluster.placed_process import PlacedProcess
from zejzl_ray.cluster.secret_delivery import references_in
from zejzl_ray.cluster.vram_placement import Placement, VramPlacer
from zejzl_ray.contracts.secrets import SetSecret
from zejzl_ray.contracts.tokens import CreateCredential
from zejzl_ray.errors import ClusterError
from zejzl_ray.fleet.load import load_fleet
from zejzl_ray.ids import new_id
from zejzl_ray.sdk.async_client import AsyncClient
from zejzl_ray.sdk.connect import connect_async

# Prints to what becomes a log file of Ray, so that the search through those is known to look in the right place.
PROGRAM: Final = """
import hashlib, pathlib, sys, time
from zejzl_ray.sdk.secrets import get_secret
digest = hashlib.sha256(get_secret("OPENAI_KEY").get_secret_value().encode()).hexdigest()
print(digest, flush=True)
pathlib.Path(sys.argv[1]).write_text(digest)
time.sleep(600)
"""
FLEET: Final = """
schema: zejzl.fleet/1
agents:
  Translator:
    environment: {{LEVEL: INFO, OPENAI_KEY: "secret:{name}"}}
"""


@pytest.fixture
async def admin(ray_cluster: System) -> AsyncIterator[AsyncClient]:
    client = connect_async("ray", token_file=ray_cluster.data_dir / "token")
    async with client:
        yield client


@pytest.fixture
def placer(admin: AsyncClient, namespace: str) -> VramPlacer:
    return VramPlacer(admin.orchestrator, namespace, start_timeout_s=60)


async def credential_of(admin: AsyncClient, subject: str) -> SecretStr:
    return (await admin.security.create_credential(CreateCredential(subject=subject))).secret


def environment_of(tmp_path: Path, name: str) -> dict[str, str]:
    """Return what a fleet file says of an agent's environment."""
    file = tmp_path / "fleet.yaml"
    file.write_text(FLEET.format(name=name))
    loaded = load_fleet([file])
    assert loaded.findings == ()
    return loaded.raise_if_invalid().agents["Translator"].environment


def all_processes() -> Iterator[tuple[str, bytes]]:
    """Yield name and command line with environment of every process that may be looked at."""
    for process in psutil.process_iter():
        folder = Path(f"/proc/{process.pid}")
        try:
            yield str(process.pid), (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
        except OSError:
            continue


def all_files(*folders: Path) -> Iterator[tuple[str, bytes]]:
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                yield str(path), path.read_bytes()


async def test_the_program_has_the_secret_and_nobody_else_sees_it(
    ray_cluster: System, admin: AsyncClient, placer: VramPlacer, tmp_path: Path
) -> None:
    name, value = f"openai-{new_id()}", secrets.token_hex(24)
    await admin.security.set_secret(
        SetSecret(name=name, subjects=("agent:Translator",), value=SecretStr(value))
    )
    credential = await credential_of(admin, "agent:Translator")
    file = tmp_path / "translator.token"
    file.touch(mode=0o600)
    file.write_text(credential.get_secret_value())
    environment = environment_of(tmp_path, name)
    written = tmp_path / "digest"
    placed = await placer.start(
        PlacedProcess,
        (
            (sys.executable, "-c", PROGRAM, str(written)),
            environment,
            references_in(environment),
            file,
            ray_cluster.info["namespace"],
        ),
        name="translator",
        vram_mib=0,
    )
    handle: Any = placed.handle
    await eventually(lambda: _is(written.exists()), within_s=60, what="the program has read its secret")
    digest = hashlib.sha256(value.encode()).hexdigest()
    assert written.read_text() == digest

    pid = (await handle.status.remote()).pid
    listings = dict(all_processes())
    assert name.encode() in listings[str(pid)]  # the reference
    assert b"_FILE=/proc/self/fd/" in listings[str(pid)]
    hidden = (value.encode(), credential.get_secret_value().encode())
    assert [who for who, listing in listings.items() if any(text in listing for text in hidden)] == []

    logs = Path(json.loads((ray_cluster.data_dir / "cluster.json").read_text())["temp_dir"])
    files = dict(all_files(logs, ray_cluster.data_dir))
    assert any(digest.encode() in content for path, content in files.items() if "/logs/" in path)
    assert [path for path, content in files.items() if any(text in content for text in hidden)] == []
    await end(placed)


async def test_a_program_whose_credential_may_not_read_the_secret_is_not_started(
    ray_cluster: System, admin: AsyncClient, placer: VramPlacer, tmp_path: Path
) -> None:
    name = f"openai-{new_id()}"
    value = SecretStr(secrets.token_hex(24))
    await admin.security.set_secret(SetSecret(name=name, subjects=("agent:Translator",), value=value))
    started = tmp_path / "started"
    other = await credential_of(admin, "agent:Other")
    for credential, message in (
        (other, rf"did not start: There is no secret {name} for the credential"),
        (
            SecretStr("zk_" + "0" * 16 + "_" + "0" * 64),
            "did not start: The name, password or credential is not right",
        ),
    ):
        with pytest.raises(ClusterError, match=message) as refused:
            await placer.start(
                PlacedProcess,
                (("touch", str(started)), None, {"KEY": name}, credential, ray_cluster.info["namespace"]),
                name=f"other-{new_id()}",
                vram_mib=0,
            )
        assert "\n" not in str(refused.value)
    assert not started.exists()
    logs = Path(json.loads((ray_cluster.data_dir / "cluster.json").read_text())["temp_dir"])
    texts = (value.get_secret_value().encode(), other.get_secret_value().encode())
    found = [path for path, content in all_files(logs) if any(text in content for text in texts)]
    assert found == []


async def end(placed: Placement) -> None:
    await asyncio.to_thread(ray.kill, placed.handle)


async def _is(value: bool) -> bool:
    return value
