"""What can be set about the HTTP application; a value that travels into the replicas."""

from pydantic import Field

from zejzl_ray.contracts.base import Contract


class IngressConfig(Contract):
    """Limits and periods of one ingress replica. Holds no secret."""

    version: str = Field(default="0", description="shown in the OpenAPI document")
    max_body_bytes: int = Field(default=8 * 2**20, ge=1024, description="larger bodies are answered with 413")
    max_json_depth: int = Field(
        default=32, ge=1, le=200, description="deeper nested bodies are answered with 422"
    )
    default_timeout_s: float = Field(default=30.0, gt=0, description="of a request that names no time limit")
    max_timeout_s: float = Field(
        default=120.0, gt=0, description="largest time limit that a request may name"
    )
    max_watchers: int = Field(
        default=64, ge=1, description="open streams and long polls at once; more get 503"
    )
    stream_keep_alive_s: float = Field(
        default=15.0, gt=0, description="silence after which a stream gets a comment"
    )
    max_staleness_s: float = Field(
        default=5.0, gt=0, description="reads from an older copy are answered with 503"
    )
    poll_s: float = Field(
        default=1.0, gt=0, le=60, description="length of one watch call, and period of machines"
    )
    min_revision_wait_s: float = Field(
        default=2.0, ge=0, description="how long a read waits for min_revision"
    )
    renewals_period_s: float = Field(
        default=15.0,
        gt=0,
        description="how often renewal times are copied; never oftener than 10 ms an agent",
    )
    kept_events: int = Field(default=4096, ge=1, description="last changes kept for watchers")
