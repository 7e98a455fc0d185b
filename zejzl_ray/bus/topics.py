"""Who listens to which topic: words between dots, ``*`` for one word, ``>`` for the last words, as NATS has it."""

from collections import OrderedDict
from typing import Final

from zejzl_ray.errors import InvalidInput

MAX_TOPIC_LENGTH: Final = 256
MAX_SUBSCRIPTIONS: Final = 10_000
_MAX_CACHED: Final = 1024
_ONE: Final = "*"
_REST: Final = ">"

_Agents = dict[str, int]  # agent -> number of its subscription; a lower number subscribed earlier


class _Node:
    """One place in the trie of wildcard patterns.

    ``rest`` are the agents of patterns that end here with ``>``, ``ends`` those of patterns that end here.
    """

    __slots__ = ("children", "ends", "rest")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.ends: _Agents = {}
        self.rest: _Agents = {}

    @property
    def is_empty(self) -> bool:
        return not (self.children or self.ends or self.rest)


class TopicTable:
    """Subscriptions of agents to topics.

    A look-up that was made before costs one dictionary access. A first one costs the number of words, of wildcard
    patterns that begin alike, and of agents found; agents that listen to something else cost nothing.

    Args:
        max_subscriptions: how many pairs of agent and pattern there may be.
    """

    def __init__(self, max_subscriptions: int = MAX_SUBSCRIPTIONS) -> None:
        self._max_subscriptions = max_subscriptions
        self._exact: dict[str, _Agents] = {}
        self._root = _Node()
        self._by_agent: dict[str, dict[str, int]] = {}  # agent -> pattern -> number
        self._count = 0
        self._next_number = 0
        self._cache: OrderedDict[str, tuple[str, ...]] = OrderedDict()

    def __len__(self) -> int:
        return self._count

    def subscribe(self, agent: str, pattern: str) -> bool:
        """Let an agent hear of a pattern; True if it did not yet. Safe to repeat.

        Raises:
            InvalidInput: the pattern is malformed, or there are too many subscriptions.
        """
        words = _words_of_pattern(pattern)
        patterns = self._by_agent.get(agent, {})
        if pattern in patterns:
            return False
        if self._count >= self._max_subscriptions:
            raise InvalidInput(
                f"{agent} cannot subscribe to {pattern!r}: there are {self._count} subscriptions, the most allowed.",
                "Unsubscribe what is not needed, or listen to one pattern instead of many topics.",
            )
        self._by_agent.setdefault(agent, patterns)[pattern] = self._next_number
        if _is_exact(words):
            self._exact.setdefault(pattern, {})[agent] = self._next_number
            self._cache.pop(pattern, None)
        else:
            node = self._root
            for word in words if words[-1] != _REST else words[:-1]:
                node = node.children.setdefault(word, _Node())
            (node.rest if words[-1] == _REST else node.ends)[agent] = self._next_number
            self._cache.clear()
        self._next_number += 1
        self._count += 1
        return True

    def unsubscribe(self, agent: str, pattern: str) -> bool:
        """Take a subscription back; False if there was none. Safe to repeat.

        Raises:
            InvalidInput: the pattern is malformed.
        """
        words = _words_of_pattern(pattern)
        patterns = self._by_agent.get(agent, {})
        if patterns.pop(pattern, None) is None:
            return False
        if not patterns:
            del self._by_agent[agent]
        self._count -= 1
        if _is_exact(words):
            agents = self._exact[pattern]
            del agents[agent]
            if not agents:
                del self._exact[pattern]
            self._cache.pop(pattern, None)
        else:
            self._forget_wildcard(agent, words)
            self._cache.clear()
        return True

    def remove(self, agent: str) -> int:
        """Take back all that an agent subscribed to; returns how many those were."""
        patterns = list(self._by_agent.get(agent, ()))
        for pattern in patterns:
            self.unsubscribe(agent, pattern)
        return len(patterns)

    def matching(self, topic: str) -> tuple[str, ...]:
        """Return the agents that listen to a topic, each once, in the order of their subscriptions.

        Raises:
            InvalidInput: the topic is malformed or has a wildcard.
        """
        if type(topic) is not str:
            raise InvalidInput(f"A topic is {topic!r}.", "Give a text such as 'fleet.started'.")
        found = self._cache.get(topic)
        if found is None:
            found = self._find(topic, _words_of_topic(topic))
            self._cache[topic] = found
            if len(self._cache) > _MAX_CACHED:
                self._cache.popitem(last=False)
        else:
            self._cache.move_to_end(topic)
        return found

    def patterns(self) -> dict[str, tuple[str, ...]]:
        """Return every pattern with its agents, both in the order of subscription."""
        listed = sorted(
            (number, pattern, agent)
            for agent, patterns in self._by_agent.items()
            for pattern, number in patterns.items()
        )
        found: dict[str, list[str]] = {}
        for _, pattern, agent in listed:
            found.setdefault(pattern, []).append(agent)
        return {pattern: tuple(agents) for pattern, agents in found.items()}

    def _find(self, topic: str, words: list[str]) -> tuple[str, ...]:
        exact = self._exact.get(topic, {})
        if self._root.is_empty:
            return tuple(exact)
        first = dict(exact)
        nodes = [self._root]
        for word in words:
            for node in nodes:
                _merge(first, node.rest)
            below = [(node.children.get(word), node.children.get(_ONE)) for node in nodes]
            nodes = [child for pair in below for child in pair if child is not None]
        for node in nodes:
            _merge(first, node.ends)
        return tuple(sorted(first, key=first.__getitem__))

    def _forget_wildcard(self, agent: str, words: list[str]) -> None:
        """Take the agent out of the trie, and the branch with it if nobody else is on it."""
        has_rest = words[-1] == _REST
        way = [self._root]
        inner = words[:-1] if has_rest else words
        for word in inner:
            way.append(way[-1].children[word])
        del (way[-1].rest if has_rest else way[-1].ends)[agent]
        for above, word, node in zip(reversed(way[:-1]), reversed(inner), reversed(way[1:]), strict=True):
            if not node.is_empty:
                break
            del above.children[word]


def fits(pattern: str, topic: str) -> bool:
    """Tell whether a topic is one of those that a pattern means.

    Raises:
        InvalidInput: one of them is malformed.
    """
    wanted, words = _words_of_pattern(pattern), _words_of_topic(topic)
    if wanted[-1] == _REST:
        if len(words) < len(wanted):
            return False
        wanted, words = wanted[:-1], words[: len(wanted) - 1]
    return len(wanted) == len(words) and all(
        want in (_ONE, word) for want, word in zip(wanted, words, strict=True)
    )


def _is_exact(words: list[str]) -> bool:
    return words[-1] != _REST and _ONE not in words


def _merge(first: _Agents, more: _Agents) -> None:
    for agent, number in more.items():
        if first.get(agent, number) >= number:
            first[agent] = number


def _words_of_pattern(pattern: str) -> list[str]:
    words = _words(pattern, "pattern")
    for index, word in enumerate(words):
        if word == _REST and index < len(words) - 1:
            raise InvalidInput(f"The pattern {pattern!r} goes on behind '>'.", "Put '>' last, or use '*'.")
        if len(word) > 1 and (_ONE in word or _REST in word):
            raise InvalidInput(
                f"The pattern {pattern!r} has a wildcard inside of the word {word!r}.",
                "A wildcard stands alone between dots.",
            )
    return words


def _words_of_topic(topic: str) -> list[str]:
    words = _words(topic, "topic")
    if _ONE in topic or _REST in topic:
        raise InvalidInput(
            f"The topic {topic!r} has a wildcard.", "Publish on one topic; wildcards are for subscribing."
        )
    return words


def _words(text: str, what: str) -> list[str]:
    if type(text) is not str or not text:
        raise InvalidInput(f"A {what} is {text!r}.", "Give a text such as 'fleet.started'.")
    if len(text) > MAX_TOPIC_LENGTH:
        raise InvalidInput(
            f"A {what} has {len(text)} characters, {text[:40]!r} and so on; {MAX_TOPIC_LENGTH} are allowed.",
            "Put what varies into the content.",
        )
    words = text.split(".")
    if "" in words:
        raise InvalidInput(
            f"The {what} {text!r} has an empty word at place {words.index('') + 1}.",
            "Write words with one dot between them.",
        )
    if not text.isprintable() or " " in text:
        raise InvalidInput(
            f"The {what} {text!r} has a space or a control character.", "Use letters, digits, '-' and '_'."
        )
    return words
