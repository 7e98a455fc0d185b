"""The operations of security_gateway on what was seen of attacks."""

import contextlib
from typing import Final

from zejzl_ray.auth.scopes import allows
from zejzl_ray.contracts.access import Principal, principal_of
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.security_gateway import SERVICE
from zejzl_ray.contracts.trust import (
    Evidence,
    ListSecurityEvents,
    Observation,
    ObservationsAccepted,
    ReportEvidence,
    ReportObservations,
    SecurityEvent,
    SecurityEvents,
    ThreatLevel,
)
from zejzl_ray.errors import ZejzlError
from zejzl_ray.security.draft import SecurityDraft
from zejzl_ray.security.security_events import decide_keep, evidence_of, list_events
from zejzl_ray.security.service_core import GatewayCore
from zejzl_ray.security.threats import TOKEN_REPLAY
from zejzl_ray.security.trust import decide_report_evidence

_ITSELF: Final = Principal(subject=f"service:{SERVICE}")
_EVIDENCE: Final = 1000
_FOUND: Final = 1000
_OLDEST_S: Final = 3600.0
_JUDGE: Final = f"{SERVICE}:trust:report"


class ThreatOperations(GatewayCore):
    """Refused calls and failed logins in; security events, and evidence for the trust in agents, out."""

    async def report_observations(
        self, request: ReportObservations, call: CallContext
    ) -> ObservationsAccepted:
        """Take note of what guards and doors have refused. The events that follow from it are durable on return.

        What it says of the trust in others counts when the caller may report evidence too.
        """
        self._require_ready()
        caller = principal_of(call)
        events, evidence = self._detect(request.observations)
        # Who may only say what was refused has no say in what others are worth, and nobody in what it is worth itself.
        may_judge = allows(caller.grants, _JUDGE)
        evidence = tuple(each for each in evidence if may_judge and each.subject != caller.subject)
        await self._keep("report_observations", events, evidence, call)
        return ObservationsAccepted(events=len(events))

    async def list_security_events(self, request: ListSecurityEvents, call: CallContext) -> SecurityEvents:
        """Return the last security events, newest first, and how many there are of each kind."""
        return list_events(self._reading(), request)

    async def _look_at_observed(self) -> None:
        """Have the detectors look at what waits for them, and keep what they find."""
        observed = tuple(self._observed)
        self._observed.clear()
        events, evidence = self._detect(observed)
        found = {event.event_id: event for event in (*self._found, *events)}
        self._found.clear()
        found.update((event.event_id, event) for event in self._detectors.due(self._clock.now_s()))
        try:
            await self._keep("detect", tuple(found.values()), evidence)
        except ZejzlError:
            self._found = [*list(found.values())[-_FOUND:], *self._found]  # for the next look
            raise

    def _seen(self, subject: str, address: str) -> None:
        """Have the detectors know from where a proof counted."""
        if address:
            self._found += self._detectors.seen(subject, address, self._clock.now_s())

    def _replayed(self, subject: str, address: str) -> None:
        """Make a security event of a proof that was used twice."""
        self._found += self._detectors.report(
            TOKEN_REPLAY,
            ThreatLevel.HIGH,
            at_s=self._clock.now_s(),
            subject=subject,
            address=address,
            description="A refresh token or a signed request was used twice: somebody may have stolen it.",
        )

    def _detect(
        self, observations: tuple[Observation, ...]
    ) -> tuple[tuple[SecurityEvent, ...], tuple[Evidence, ...]]:
        now_s = self._clock.now_s()
        found: dict[str, SecurityEvent] = {}
        for told in observations:
            # Others say when it was: neither the future nor a time that nobody asks for may stand in what is kept.
            at_s = max(now_s - _OLDEST_S, min(told.at_s, now_s))
            observation = told if at_s == told.at_s else told.model_copy(update={"at_s": at_s})
            if observation.kind == "seen":
                news = self._detectors.seen(observation.subject, observation.address, observation.at_s)
            else:
                news = self._detectors.observe(observation, now_s)
            for event in news:
                found[event.event_id] = event  # the last state of it
        evidence = (_evidence(observation, now_s) for observation in observations)
        return tuple(found.values()), tuple(each for each in evidence if each is not None)

    async def _keep(
        self,
        operation: str,
        events: tuple[SecurityEvent, ...],
        evidence: tuple[Evidence, ...],
        call: CallContext | None = None,
    ) -> None:
        if not events and not evidence:
            return

        def decide(draft: SecurityDraft) -> ObservationsAccepted:
            if evidence:
                report = ReportEvidence(evidence=evidence[:_EVIDENCE])
                with contextlib.suppress(ZejzlError):  # the events matter more than a score
                    decide_report_evidence(draft, report, _ITSELF, self._policy_in(draft).trust)
            return ObservationsAccepted(events=decide_keep(draft, events))

        await self._submit(operation, decide, call)


def _evidence(observation: Observation, now_s: float) -> Evidence | None:
    try:
        return evidence_of(observation, now_s)
    except ValueError:  # what an attacker gave as a name need not be one
        return None
