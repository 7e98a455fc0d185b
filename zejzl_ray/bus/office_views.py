"""What can be seen of the bus of a process."""

from zejzl_ray.bus.away_mail import AwayMail
from zejzl_ray.bus.dead_letters import DeadLetters
from zejzl_ray.bus.handling import Handlings
from zejzl_ray.bus.link import PeerLink
from zejzl_ray.bus.local_mail import LocalMail
from zejzl_ray.bus.message import Message
from zejzl_ray.bus.options import BusOptions
from zejzl_ray.bus.requests import PendingRequests
from zejzl_ray.clock import Clock
from zejzl_ray.metrics.figures import MailFigures


class OfficeViews:
    """The part of ``PostOffice`` that changes nothing.

    Attributes:
        local: what stays in this process.
        away: what goes to others.
    """

    local: LocalMail
    away: AwayMail

    def history(self, limit: int | None = None) -> list[dict[str, object]]:
        """Return what was sent last, oldest first: envelopes without content."""
        return self.local.history.entries(limit)

    def sent_within(self, seconds: float) -> int:
        """Return how many messages were sent in the last ``seconds``, at most 60, to a second."""
        return self.local.recent.within(self.local.clock.monotonic_s(), seconds, self.local.sent)

    def replay(
        self,
        *,
        since_s: float | None = None,
        after_id: str | None = None,
        to_agent: str | None = None,
        topic: str | None = None,
        limit: int = 1000,
    ) -> list[Message]:
        """Return copies of kept messages from a point in time or an id on, oldest first.

        Raises:
            RevisionCompacted: the id is not kept any more.
        """
        return self.local.history.replay(
            since_s=since_s, after_id=after_id, to_agent=to_agent, topic=topic, limit=limit
        )

    def links(self) -> tuple[PeerLink, ...]:
        """Return the links to other processes."""
        return tuple(self.away.links.values())

    @property
    def host(self) -> str:
        """Name of this process among those of the cluster."""
        return self.local.host

    @property
    def boot(self) -> str:
        """Of this process; another one at every start."""
        return self.local.boot

    @property
    def clock(self) -> Clock:
        """Source of time."""
        return self.local.clock

    @property
    def options(self) -> BusOptions:
        """Sizes and time limits."""
        return self.local.options

    @property
    def figures(self) -> MailFigures:
        """Counts and latencies."""
        return self.local.figures

    @property
    def dead_letters(self) -> DeadLetters:
        """What could not be delivered."""
        return self.local.dead_letters

    @property
    def handlings(self) -> Handlings:
        """The handlers at work, kept by the runners of agents."""
        return self.local.handlings

    @property
    def pending(self) -> PendingRequests:
        """Requests that wait."""
        return self.local.pending

    @property
    def started_at_s(self) -> float:
        """Wall time at which the bus was made."""
        return self.local.started_at_s

    @property
    def sent(self) -> int:
        """Messages sent by agents of this process, copies of broadcasts each."""
        return self.local.sent

    @property
    def waiting(self) -> int:
        """How many messages wait for other processes."""
        return sum(len(link) for link in self.links())
