"""Everything that can be set about the registry, with unit and range."""

from pydantic import Field

from zejzl_ray.contracts.base import Contract


class RegistryConfig(Contract):
    """Settings of the registry; the composition root fills it from ``Settings``."""

    tick_s: float = Field(
        default=1.0, gt=0, le=60, description="pause between two ticks of the service's loop"
    )

    lease_s: float = Field(default=30.0, gt=0, le=3600, description="lease of an agent that names none")
    renewal_flush_s: float = Field(
        default=10.0, gt=0, le=3600, description="how often renewals are written, in one batch"
    )
    forget_lost_after_s: float = Field(
        default=86_400.0,
        gt=0,
        description="a leased agent outside the fleet is forgotten after being lost this long",
    )
    forget_period_s: float = Field(
        default=60.0, gt=0, description="pause between two looks for agents to forget"
    )
    moves_per_tick: int = Field(
        default=2000, ge=1, le=100_000, description="agents marked lost in one tick at most"
    )

    probe_period_s: float = Field(
        default=10.0, gt=0, le=600, description="how often an agent without lease is probed"
    )
    probe_timeout_s: float = Field(default=2.0, gt=0, le=60, description="longest wait for one probe")
    probe_concurrency: int = Field(default=64, ge=1, le=1024, description="probes under way at the same time")
    probes_per_round: int = Field(default=1024, ge=1, le=100_000, description="probes in one round")
    probes_to_unhealthy: int = Field(
        default=3, ge=1, le=100, description="failed probes in a row until unhealthy"
    )
    signs_to_healthy: int = Field(
        default=2,
        ge=1,
        le=100,
        description="good signs in a row (probes, heartbeats) from unhealthy to healthy",
    )
    lost_after_s: float = Field(
        default=60.0, gt=0, description="an unhealthy agent whose probes fail for this long is lost"
    )

    protection_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="share of live agents; when more fall silent at once, nobody is marked lost",
    )
    protection_least: int = Field(
        default=5, ge=1, description="the protection works from this many live agents on"
    )
    protection_window_s: float = Field(
        default=60.0, gt=0, description="losses this close together count as at once"
    )
    protection_hold_s: float = Field(default=300.0, gt=0, description="how long the protection holds at most")

    history_length: int = Field(
        default=10_000, ge=1, le=1_000_000, description="changes kept for history and watch"
    )
    repeat_window: int = Field(
        default=4096, ge=1, le=65_536, description="commands whose answer is kept for repeats"
    )
    max_agents: int = Field(default=100_000, ge=1, description="registered agents at most")
    max_machines: int = Field(default=1000, ge=1, description="machines at most")
    max_metadata_bytes: int = Field(default=16_384, ge=2, description="metadata of one agent as JSON")
    max_metadata_keys: int = Field(default=256, ge=1, description="top-level metadata keys of one agent")
    max_watchers: int = Field(default=1000, ge=1, description="watch calls that may wait at the same time")
    max_queue: int = Field(default=4096, ge=1, description="commands that may wait for the store")
    max_batch: int = Field(default=1024, ge=1, description="commands in one commit")
    max_batch_bytes: int = Field(
        default=24 * 2**20, ge=1024, le=48 * 2**20, description="size of one commit, about"
    )
    confirmed_within_s: float = Field(
        default=5.0,
        gt=0,
        le=60,
        description="how long leases are renewed after the store has taken a commit; the next instance waits as long",
    )
    commit_timeout_s: float = Field(
        default=10.0, gt=0, le=600, description="longest wait for the store's commit"
    )
    command_timeout_s: float = Field(
        default=30.0, gt=0, le=600, description="longest wait of a command for its answer"
    )

    machine_period_s: float = Field(default=2.0, gt=0, le=60, description="how often a node agent reports")
    machine_missed_reports: int = Field(
        default=3, ge=1, description="a machine is away after this many missed reports"
    )

    @property
    def machine_alive_s(self) -> float:
        """How long after its last report a machine counts as alive."""
        return self.machine_period_s * self.machine_missed_reports
