"""Settings: one typed place, read from ``ZEJZL_*`` environment variables.

Read once by the composition root or the command line and handed on as a value; no module reads the environment
at import.
"""

import re
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from zejzl_ray.errors import SettingsInvalid

_FEWEST_WORKER_PORTS = 50
_WEB_ADDRESS = r"^(https?://[^\s@]+)?$"  # without a password, which every process of the dashboard would show
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


class LogSettings(BaseModel):
    """Which lines a process writes and where; a value that travels to other machines, so ``~`` stays as it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: LogLevel = "INFO"
    directory: Path = Path("~/.local/share/zejzl/logs")
    log_file_mib: float = Field(default=10.0, gt=0)
    log_files_kept: int = Field(default=5, ge=1)

    @property
    def log_path(self) -> Path:
        """The directory with ``~`` resolved on this machine, absolute."""
        return self.directory.expanduser().absolute()


class Settings(BaseSettings):
    """Everything that can be set; each field is the environment variable ``ZEJZL_<FIELD>``."""

    model_config = SettingsConfigDict(env_prefix="ZEJZL_", frozen=True, extra="ignore", env_ignore_empty=True)

    environment: Literal["dev", "staging", "prod"] = Field(
        default="prod", description="which overlay of the fleet file is laid over it"
    )
    data_dir: Path = Field(
        default=Path("~/.local/share/zejzl"), description="state, tokens and logs of this cluster; mode 0700"
    )
    fleet_file: Path | None = Field(
        default=None, description="fleet file; unset: config/fleet.yaml, else the one shipped"
    )
    policy_file: Path | None = Field(
        default=None,
        description="policy that `up` puts in force; unset: config/policy.yaml if there is one, else what is in force",
    )
    store_url: str = Field(
        default="sqlite",
        description="where services keep their state: sqlite (under data_dir), redis://host:6380, rediss://..., memory",
    )
    redis_password: SecretStr | None = Field(
        default=None, description="password of the Redis store; not in the URL"
    )
    redis_password_file: Path | None = Field(
        default=None,
        description="file of mode 0600 with that password; unset: redis_password in data_dir, if it is there",
    )
    redis_timeout_s: float = Field(
        default=3.0,
        ge=0.2,
        le=3600,
        description="longest wait for Redis to confirm a change or to answer; `timeout_s` in store_url goes before it",
    )
    address: str = Field(
        default="",
        description="where clients find the cluster: http://host:port, or ray; empty: this machine",
    )
    token_file: Path | None = Field(default=None, description="token of a client; unset: token in data_dir")
    namespace: str = Field(default="zejzl", description="Ray namespace of the named actors")
    require_auth: bool = Field(
        default=True,
        description="false lets calls without a token pass; with ZEJZL_ENVIRONMENT=dev on loopback only",
    )
    token_life_s: float = Field(default=900.0, ge=10, le=3600, description="life of an access token")
    max_feed_age_s: float = Field(
        default=30.0, ge=1, le=3600, description="with older news of revocations only reading goes on"
    )
    key_publish_ahead_s: float = Field(
        default=60.0,
        ge=1,
        le=86_400,
        description="how long the next signing key is published before it signs",
    )
    bind_host: str = Field(default="127.0.0.1", description="address on which the ingress listens")
    http_tls: Literal["auto", "on"] = Field(
        default="auto",
        description="auto: HTTPS beyond loopback, HTTP on loopback unless bind_host is all addresses; on: HTTPS only",
    )
    ray_tls: Literal["on", "off"] = Field(
        default="on",
        description="TLS of Ray between machines; off sends everything, the Ray token too, in clear",
    )
    ca_file: Path | None = Field(
        default=None,
        description="authority of https:// and rediss:// addresses; unset: tls/ca.pem in data_dir, if it is there",
    )
    http_port: int = Field(default=7000, ge=1, le=65535, description="port of the ingress")
    resource_manager_port: int = Field(
        default=7001, ge=1, le=65535, description="health port of resource_manager"
    )
    observability_port: int = Field(
        default=7002, ge=1, le=65535, description="health port of observability_hub"
    )
    error_bus_port: int = Field(default=7003, ge=1, le=65535, description="health port of error_bus")
    security_port: int = Field(default=7005, ge=1, le=65535, description="health port of security_gateway")
    mail_ports: str = Field(
        default="7600-7699",
        description="range for mail between hosts of agents, one port each, between machines; any: free ones",
    )
    ray_port: int | None = Field(
        default=None,
        ge=1024,
        le=65535,
        description="port of Ray's control store; unset: a free one on one machine, 6379 between machines",
    )
    dashboard_port: int | None = Field(
        default=None,
        ge=1024,
        le=65535,
        description="port of Ray's dashboard; unset: 8265, on one machine a free one if that is taken",
    )
    ray_node_manager_port: int = Field(
        default=20001, description="port of Ray's raylet for work, between machines; 0: a free one"
    )
    ray_object_manager_port: int = Field(
        default=20002, description="port of Ray's raylet for objects, between machines; 0: a free one"
    )
    ray_agent_grpc_port: int = Field(
        default=20003, description="port of Ray's node agent, between machines; 0: a free one"
    )
    ray_agent_http_port: int = Field(
        default=20004, description="HTTP port of Ray's node agent, between machines; 0: a free one"
    )
    ray_runtime_env_port: int = Field(
        default=20005,
        description="port of Ray's runtime environment agent, between machines; 0: a free one",
    )
    ray_worker_ports: str = Field(
        default="20100-20999",
        description="range for actors, tasks and programs, one port each, between machines; any: free ones",
    )
    ray_client_port: int = Field(
        default=10001, ge=1024, le=65535, description="port for ray:// programs at the head, between machines"
    )
    ray_metrics_port: int = Field(
        default=8090, ge=1024, le=65535, description="port of ZEJZL_RAY_METRICS, between machines"
    )
    ray_metrics: bool = Field(
        default=False,
        description="Ray's own pages of figures, one a machine, for Prometheus; anybody who reaches them reads them",
    )
    prometheus_url: str = Field(
        default="",
        pattern=_WEB_ADDRESS,
        description="Prometheus as the head reaches it: Ray's dashboard asks it; unset: http://localhost:9090",
    )
    grafana_url: str = Field(
        default="",
        pattern=_WEB_ADDRESS,
        description="Grafana as the head reaches it, for the panels of Ray's dashboard; unset: no panels",
    )
    grafana_iframe_url: str = Field(
        default="", pattern=_WEB_ADDRESS, description="Grafana as the browser reaches it; unset: the same"
    )
    ingress_replicas: int = Field(default=1, ge=1, le=64, description="replicas of the ingress")
    home_wait_s: float = Field(
        default=60.0,
        ge=0,
        le=3600,
        description="how long to wait for a declared machine, and a head that boots for the word of its replica's",
    )
    failback: Literal["auto", "never"] = Field(
        default="auto",
        description="whether services go home by themselves after a machine was lost and is back",
    )
    failback_after_s: float = Field(
        default=60.0,
        ge=1,
        le=86_400,
        description="how long a home must be healthy before its services go back",
    )
    start_timeout_s: float = Field(
        default=120.0, gt=0, le=3600, description="how long `up` waits for a service"
    )
    gpu_cards: str = Field(
        default="",
        description="cards of each machine: all, none or uuids, such as 'mainpc=all;pc2=none'; unset: all to the first",
    )
    vram_mib: str = Field(
        default="",
        description="declared video memory per machine, such as 'mainpc=20000'; unset: what NVML finds",
    )
    simulated_gpus: str = Field(
        default="",
        description="simulated cards per machine, such as 'mainpc=RTX 4090:24564;pc2=RTX 3060:12288'",
    )
    object_store_mib: int = Field(default=256, ge=80, description="Ray's object store on each machine")
    report_period_s: float = Field(
        default=2.0, gt=0, le=60, description="how often a node agent reports its machine"
    )
    lease_s: float = Field(default=30.0, gt=0, le=3600, description="lease of an agent that names none")
    probe_period_s: float = Field(
        default=10.0, gt=0, le=600, description="how often external agents are probed"
    )
    log_level: LogLevel = Field(default="INFO", description="least level logged")
    log_dir: Path | None = Field(
        default=None, description="log files, a folder for each machine; unset: logs in data_dir"
    )
    log_file_mib: float = Field(
        default=10.0, ge=0.1, le=1024, description="size at which a log file is rotated"
    )
    log_files_kept: int = Field(default=5, ge=1, le=99, description="rotated files kept beside each log file")

    @field_validator("store_url")
    @classmethod
    def _has_no_password(cls, value: str) -> str:
        # Not parsed: whatever the store makes of the text, this setting is shown in logs and dumps.
        if re.search(r"://[^/?#@]*:[^/@]*@|[?&]password=", value):
            raise ValueError(
                "holds a password; write it into the file ZEJZL_REDIS_PASSWORD_FILE or into ZEJZL_REDIS_PASSWORD"
            )
        return value

    @field_validator(
        "ray_node_manager_port",
        "ray_object_manager_port",
        "ray_agent_grpc_port",
        "ray_agent_http_port",
        "ray_runtime_env_port",
    )
    @classmethod
    def _is_free_or_fixed(cls, value: int) -> int:
        if value and not 1024 <= value <= 65535:
            raise ValueError("must be 0, for a free one, or from 1024 to 65535")
        return value

    @field_validator("ray_worker_ports")
    @classmethod
    def _is_range(cls, value: str) -> str:
        port_range(value, _FEWEST_WORKER_PORTS)
        return value

    @field_validator("mail_ports")
    @classmethod
    def _is_range_of_any_length(cls, value: str) -> str:
        port_range(value)
        return value

    @model_validator(mode="after")
    def _is_open_in_dev_only(self) -> "Settings":
        if not self.require_auth and (self.environment != "dev" or not _is_loopback(self.bind_host)):
            raise ValueError(
                "ZEJZL_REQUIRE_AUTH=false counts with ZEJZL_ENVIRONMENT=dev and a loopback address only"
            )
        return self

    @property
    def mail_range(self) -> tuple[int, int] | None:
        """First and last of the ports for mail between machines; None for any free ones."""
        return port_range(self.mail_ports)

    @property
    def data_path(self) -> Path:
        """The data directory with ``~`` resolved, absolute."""
        return self.data_dir.expanduser().absolute()

    @property
    def logs(self) -> LogSettings:
        """What is set about logs, as it travels to other machines."""
        return LogSettings(
            level=self.log_level,
            directory=self.log_dir or self.data_dir / "logs",
            log_file_mib=self.log_file_mib,
            log_files_kept=self.log_files_kept,
        )

    @property
    def ray_worker_range(self) -> tuple[int, int] | None:
        """First and last of the ports for Ray's workers; None for any free ones."""
        return port_range(self.ray_worker_ports)

    @property
    def is_exposed(self) -> bool:
        """Whether the ingress listens beyond loopback."""
        return not _is_loopback(self.bind_host)

    @property
    def is_loopback_encrypted(self) -> bool:
        """Whether the ingress speaks HTTPS on loopback too: when asked, or when it listens on all addresses at once."""
        return self.http_tls == "on" or self.bind_host in ("0.0.0.0", "::", "*")  # noqa: S104  # nosec B104  # compares

    def trusted_authority(self) -> Path | None:
        """Return the file with the authority to trust beside the system's own; None when there is none."""
        if self.ca_file is not None:
            return self.ca_file.expanduser().absolute()
        path = self.data_path / "tls" / "ca.pem"
        return path if path.exists() else None

    def resolved_store_url(self) -> str:
        """The store's URL with the data directory filled in; holds no password."""
        if self.store_url == "sqlite":
            return f"sqlite://{quote(str(self.data_path / 'store'))}"
        return "memory://" if self.store_url == "memory" else self.store_url

    def secret_store_url(self, password: SecretStr | None = None) -> SecretStr:
        """Return ``resolved_store_url`` with the Redis password in its place.

        Args:
            password: used when ``redis_password`` is unset.
        """
        url = self.resolved_store_url()
        scheme, separator, rest = url.partition("://")
        secret = self.redis_password or password
        if secret is None or not scheme.startswith("redis") or not separator:
            return SecretStr(url)
        netloc, slash, tail = rest.partition("/")
        user, _, hosts = netloc.rpartition("@")
        quoted = quote(secret.get_secret_value(), safe="")
        return SecretStr(f"{scheme}://{user}:{quoted}@{hosts}{slash}{tail}")


def port_range(text: str, fewest: int = 1) -> tuple[int, int] | None:
    """Return first and last port of ``FIRST-LAST``; None for ``any``.

    Args:
        text: as it was set.
        fewest: how many ports it has to hold.

    Raises:
        ValueError: it is neither, or holds too few.
    """
    if text.strip() == "any":
        return None
    first, _, last = (part.strip() for part in text.partition("-"))
    if not (first.isdecimal() and last.isdecimal() and 1024 <= int(first) <= int(last) <= 65535):
        raise ValueError("must be FIRST-LAST, from 1024 to 65535, such as 20100-20999; or any")
    if int(last) - int(first) < fewest - 1:
        raise ValueError(f"must hold at least {fewest} ports: each actor takes one")
    return int(first), int(last)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def setting_names() -> tuple[str, ...]:
    """Return the variables that are settings and hold no secret."""
    names = {f"ZEJZL_{name.upper()}" for name in Settings.model_fields if "password" not in name}
    return tuple(sorted({*names, "ZEJZL_REDIS_PASSWORD_FILE"}))


def settings_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of an environment that are settings and hold no secret, to be kept for a later start."""
    names = setting_names()
    return {name: value for name, value in environment.items() if name in names}


def load_settings() -> Settings:
    """Read the settings from the environment.

    Raises:
        SettingsInvalid: names every wrong variable and what is wrong with it.
    """
    try:
        return Settings()
    except ValidationError as error:
        raise _wrong(error) from None


def given_settings(environment: Mapping[str, str]) -> Settings:
    """Return the settings that an environment gives, which need not be this process' own; it alone counts.

    Raises:
        SettingsInvalid: names every wrong variable and what is wrong with it.
    """
    try:
        return _Given(**_fields(environment))
    except ValidationError as error:
        raise _wrong(error) from None


def setting_faults(environment: Mapping[str, str]) -> dict[str, str]:
    """Return variable -> what is wrong with its value, each looked at by itself; empty when all can be."""
    try:
        _Given(**_fields(environment))
    except ValidationError as error:
        return {name: message for name, message in _problems(error) if name}
    return {}


class _Given(Settings):
    """Settings that come from nowhere but the arguments."""

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: Any, **__: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def _fields(environment: Mapping[str, str]) -> dict[str, Any]:
    named = {f"ZEJZL_{field.upper()}": field for field in Settings.model_fields}
    return {named[name]: value for name, value in environment.items() if name in named and value}


def _problems(error: ValidationError) -> list[tuple[str, str]]:
    """Return variable and what is wrong with it; an empty variable where several do not fit together."""
    return [
        (f"ZEJZL_{problem['loc'][0]}".upper() if problem["loc"] else "", problem["msg"])
        for problem in error.errors(include_input=False, include_url=False)
    ]


def _wrong(error: ValidationError) -> SettingsInvalid:
    problems = "; ".join(f"{name}: {message}" if name else message for name, message in _problems(error))
    return SettingsInvalid(f"Settings are wrong: {problems}.", "See docs/settings.md for names and ranges.")
