"""The files for containers are what the tool makes, have the shape that their readers want, and the settings' ports."""

import shutil
import subprocess
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field

from tools import generate_deploy
from zejzl_ray.settings import Settings

DEPLOY = Path(__file__).parents[3] / "deploy"
Duration = Annotated[str, Field(pattern=r"^[0-9]+(s|m)$")]
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]


class Strict(BaseModel):
    """Refuses what is not documented: a misspelt field would do nothing."""

    model_config = ConfigDict(extra="forbid")


class HealthCheck(Strict):
    test: list[str] = Field(min_length=2)
    interval: Duration
    timeout: Duration
    retries: int = Field(ge=1)
    start_period: Duration


class Build(Strict):
    context: str
    dockerfile: str


class Condition(Strict):
    condition: Literal["service_started", "service_healthy", "service_completed_successfully"]


class Attachment(Strict):
    ipv4_address: str


class Service(Strict):
    """The fields of the compose specification that are used here."""

    image: str
    build: Build | None = None
    init: bool = False
    command: list[str] = []
    restart: Literal["no", "always", "on-failure", "unless-stopped"]
    environment: dict[str, str] = {}
    volumes: list[str] = []
    depends_on: dict[str, Condition] = {}
    network_mode: str | None = None
    networks: dict[str, Attachment] = {}
    ports: list[str] = []
    shm_size: str | None = None
    stop_grace_period: Duration | None = None
    healthcheck: HealthCheck | None = None


class Compose(Strict):
    name: Name
    services: dict[Name, Service]
    networks: dict[str, dict[str, Any]]
    volumes: dict[str, dict[str, Any]]


@pytest.fixture
def compose() -> Compose:
    return Compose.model_validate(yaml.safe_load((DEPLOY / "compose.yaml").read_text()))


def test_no_file_is_stale(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["generate_deploy", "--check"])

    assert generate_deploy.stale() == []
    assert generate_deploy.main() == 0
    assert capsys.readouterr().err == ""


def test_a_stale_file_is_named_and_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generate_deploy, "DEPLOY", tmp_path)
    monkeypatch.setattr(generate_deploy, "ROOT", tmp_path)
    monkeypatch.setattr("sys.argv", ["generate_deploy", "--check"])
    assert generate_deploy.main() == 1
    assert "compose.yaml is stale" in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", ["generate_deploy"])
    assert generate_deploy.main() == 0
    assert generate_deploy.stale() == []


def test_every_part_that_stays_has_a_health_check(compose: Compose) -> None:
    lasting = {name: service for name, service in compose.services.items() if service.restart != "no"}

    assert set(lasting) == {"redis", "head", "worker", "prometheus"}
    assert all(service.healthcheck is not None for service in lasting.values())


def test_what_is_named_is_there(compose: Compose) -> None:
    for service in compose.services.values():
        assert set(service.depends_on) <= set(compose.services)
        assert set(service.networks) <= set(compose.networks)
        mode = service.network_mode
        assert mode is None or mode.removeprefix("service:") in compose.services
        assert (mode is None) or not (service.networks or service.ports)  # both is refused
        for volume in service.volumes:
            source = volume.partition(":")[0]
            assert (DEPLOY / source).exists() if source.startswith(".") else source in compose.volumes
        if service.build is not None:
            context = DEPLOY / service.build.context
            assert (context / service.build.dockerfile).exists()


def test_ports_are_those_of_the_settings_and_open_on_loopback_only(compose: Compose) -> None:
    http = Settings.model_fields["http_port"].default
    figures = Settings.model_fields["ray_metrics_port"].default
    published = [port for service in compose.services.values() for port in service.ports]
    targets = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"][0]["static_configs"]

    assert published == [f"127.0.0.1:{http}:{http}", "127.0.0.1:9090:9090"]
    assert [target["targets"] for target in targets] == [
        [f"172.30.7.11:{figures}"],
        [f"172.30.7.12:{figures}"],
    ]
    for name in ("head", "worker"):
        given = {key.removeprefix("ZEJZL_").lower() for key in compose.services[name].environment}
        assert given - {"head_address", "worker_address"} <= set(Settings.model_fields)


def _compose_command() -> list[str]:
    """Return the Compose of this machine, the plugin or the program before it; empty where there is none."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) is None:
            continue
        asked = subprocess.run([*command, "version"], capture_output=True, timeout=30, check=False)
        if not asked.returncode:
            return command
    return []


def test_compose_itself_takes_the_file() -> None:
    command = _compose_command()
    if not command:
        pytest.skip("there is neither `docker compose` nor `docker-compose` on this machine")
    # Version 1 does not know the field `name` and has an option for it, as version 2 has.
    text = (DEPLOY / "compose.yaml").read_text().replace("\nname: zejzl\n", "\n")

    done = subprocess.run(
        [*command, "-p", "zejzl", "--project-directory", str(DEPLOY), "-f", "-", "config", "--quiet"],
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_the_program_of_the_containers_is_a_shell_script_that_knows_every_part(compose: Compose) -> None:
    script = DEPLOY / "container" / "entrypoint.sh"

    assert subprocess.run(["sh", "-n", str(script)], timeout=10, check=False).returncode == 0
    assert script.stat().st_mode & 0o111
    for service in compose.services.values():
        if service.image == "zejzl-ray:local":
            assert f"\n{service.command[0]})" in script.read_text()
    wrong = subprocess.run(["sh", str(script), "nothing"], capture_output=True, timeout=10, check=False)
    assert wrong.returncode == 2
