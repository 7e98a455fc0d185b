"""The standings that a verifier has to know: those of subjects for which the default does not hold."""

from zejzl_ray.commands.records import RecordDraft
from zejzl_ray.contracts.access import GOOD_STANDING, Standing
from zejzl_ray.security.trust_records import TrustRecord
from zejzl_ray.security.trust_standing import is_same


def standings_in_force(draft: RecordDraft) -> tuple[Standing, ...]:
    """Return what verifiers were told of each subject; of those that are not named the default holds."""
    return tuple(
        record.standing for _, record in draft.all(TrustRecord) if not is_same(record.standing, GOOD_STANDING)
    )
