"""Everything that can be set about the gateway, with unit and range."""

from pydantic import Field

from zejzl_ray.contracts.base import Contract


class SecurityConfig(Contract):
    """Settings of the gateway; the composition root fills it from ``Settings``."""

    tick_s: float = Field(default=1.0, gt=0, le=60, description="pause between two looks at what is due")

    alive_s: float = Field(
        default=5.0,
        gt=0,
        le=30,
        description="pause between two looks whether another instance has taken over, below the age of news that"
        " verifiers accept",
    )

    issuer: str = Field(default="zejzl", min_length=1, max_length=64, description="claim iss of every token")
    token_life_s: float = Field(default=900.0, ge=10, le=3600, description="life of an access token")
    max_token_life_s: float = Field(
        default=3600.0, ge=10, le=3600, description="longest that one may ask for"
    )
    leeway_s: float = Field(default=5.0, ge=0, le=60, description="how far clocks of two machines may differ")

    key_life_s: float = Field(default=30 * 86_400.0, gt=0, description="how long one key signs")
    publish_ahead_s: float = Field(
        default=60.0, ge=0, description="how long a key is published before it signs"
    )

    session_idle_s: float = Field(
        default=7 * 86_400.0, gt=0, description="a login that is not renewed for this long ends"
    )
    session_life_s: float = Field(default=30 * 86_400.0, gt=0, description="longest life of a login")
    sessions_per_user: int = Field(default=50, ge=1, le=1000, description="one more ends the oldest")
    session_kept_s: float = Field(
        default=86_400.0, ge=0, description="how long a login that is over is still listed"
    )
    retry_window_s: float = Field(
        default=30.0, gt=0, le=600, description="a repeated refresh within it gets the same answer"
    )

    answer_kept_s: float = Field(
        default=600.0, gt=0, description="how long a repeated command gets the same answer"
    )
    max_answers: int = Field(default=10_000, ge=1, description="answers kept for repeats at most")
    feed_length: int = Field(default=1000, ge=1, description="changes that a follower may be behind")
    max_watchers: int = Field(default=1024, ge=1, description="watch calls that may wait at the same time")
    max_revocations: int = Field(default=100_000, ge=1, description="revocations in force at most")

    max_queue: int = Field(default=4096, ge=1, description="commands that may wait for the store")
    max_batch: int = Field(default=1024, ge=1, description="commands in one commit")
    commit_timeout_s: float = Field(default=10.0, gt=0, le=600, description="longest wait for one commit")
    command_timeout_s: float = Field(
        default=30.0, gt=0, le=600, description="longest wait of a command for its answer"
    )
    used_flush_s: float = Field(
        default=60.0, gt=0, description="how often it is written when credentials were last used"
    )
