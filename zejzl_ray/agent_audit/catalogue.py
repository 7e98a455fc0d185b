"""What the rules say of themselves, with those that no file has: reading, and ignoring comments."""

from dataclasses import dataclass

from zejzl_ray.agent_audit.finding import Level
from zejzl_ray.agent_audit.rules import ALL_RULES
from zejzl_ray.agent_audit.source import UNREADABLE
from zejzl_ray.agent_audit.suppressions import WRONG_SUPPRESSION


@dataclass(frozen=True, slots=True)
class RuleText:
    """A rule in words; see ``Rule``."""

    id: str
    level: Level
    summary: str
    remedy: str


def rule_texts() -> list[RuleText]:
    """Return all rules in words."""
    return [
        *(RuleText(rule.id, rule.level, rule.summary, rule.remedy) for rule in ALL_RULES),
        RuleText(
            UNREADABLE,
            Level.ERROR,
            "A file that cannot be read or parsed, or is longer than 1 MiB.",
            "Correct it, or move the data out of the code.",
        ),
        RuleText(
            WRONG_SUPPRESSION,
            Level.ERROR,
            "A comment that is to ignore a finding and names no rule or no reason, or for which there is none.",
            "Write '# zejzl: ignore[rule] reason' beside the finding, or take the comment away.",
        ),
    ]
