"""Wildcards over the words of a routing key, as RabbitMQ's topic exchanges read them.

`*` stands for exactly one word and `#` for any number of words, also none. Words are separated by
dots; the empty key has no word. Many patterns share one trie, which is walked with the set of
all places reached so far: no number of `#` makes that more than patterns times words.
"""

from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

WORDS_MAX = 16
KEY_BYTES_MAX = 255

ONE = "*"
MANY = "#"

K = TypeVar("K", bound=Hashable)


class TopicError(ValueError):
    """The pattern is not valid; the message says why."""


def words_of(key: str) -> list[str]:
    """Split a routing key or a pattern."""
    return key.split(".") if key else []


def check_topic(pattern: str) -> None:
    """Raise TopicError for a pattern that is too long or hides a wildcard inside a word."""
    if len(pattern.encode()) > KEY_BYTES_MAX:
        raise TopicError(f"at most {KEY_BYTES_MAX} bytes")
    words = words_of(pattern)
    if len(words) > WORDS_MAX:
        raise TopicError(f"at most {WORDS_MAX} words")
    for word in words:
        if not word:
            raise TopicError("a word is empty")
        if len(word) > 1 and (ONE in word or MANY in word):
            raise TopicError(f"{word!r}: * and # stand for whole words")


def topic_matches(pattern: str, key: str) -> bool:
    """Tell whether one pattern matches a routing key."""
    trie = TopicTrie[None]()
    trie.add(pattern, None)
    return bool(trie.find(words_of(key)))


class _Node(Generic[K]):
    __slots__ = ("keys", "many", "one", "words")

    def __init__(self) -> None:
        self.words: dict[str, _Node[K]] = {}
        self.one: _Node[K] | None = None
        self.many: _Node[K] | None = None
        """After a `#`: this node is reached by none and by any number of words."""
        self.keys: dict[K, None] = {}

    def is_empty(self) -> bool:
        return not (self.words or self.one or self.many or self.keys)


class TopicTrie(Generic[K]):
    """Patterns with a key each; finds the keys of all that match."""

    def __init__(self) -> None:
        self._root = _Node[K]()

    def add(self, pattern: str, key: K) -> None:
        """Remember a pattern."""
        node = self._root
        for word in _normal(words_of(pattern)):
            if word == ONE:
                node.one = node.one or _Node()
                node = node.one
            elif word == MANY:
                node.many = node.many or _Node()
                node = node.many
            else:
                node = node.words.setdefault(word, _Node())
        node.keys[key] = None

    def remove(self, pattern: str, key: K) -> None:
        """Forget a pattern that was added with this key."""
        way: list[tuple[_Node[K], str]] = []
        node = self._root
        for word in _normal(words_of(pattern)):
            way.append((node, word))
            after = {ONE: node.one, MANY: node.many}.get(word, node.words.get(word))
            if after is None:
                return
            node = after
        node.keys.pop(key, None)
        for parent, word in reversed(way):
            if not node.is_empty():
                return
            if word == ONE:
                parent.one = None
            elif word == MANY:
                parent.many = None
            else:
                del parent.words[word]
            node = parent

    def is_empty(self) -> bool:
        """Tell whether no pattern is left."""
        return self._root.is_empty()

    def find(self, words: Iterable[str]) -> list[K]:
        """Return the keys of the patterns that match; a key of two patterns may come twice.

        No place is reached twice: each has one way in, and a `#` node is entered for good.
        """
        root = self._root
        entered: dict[_Node[K], None] = {} if root.many is None else {root.many: None}
        places = [root, *entered]
        for word in words:
            after: list[_Node[K]] = []
            for node in places:
                literal = node.words.get(word)
                if literal is not None:
                    after.append(literal)
                if node.one is not None:
                    after.append(node.one)
            for node in after:
                if node.many is not None:
                    entered[node.many] = None
            places = [*after, *entered]
        return [key for node in places for key in node.keys]


def _normal(words: list[str]) -> list[str]:
    """Write `#` once where several follow each other; it says the same."""
    return [
        word for i, word in enumerate(words) if not (word == MANY and words[i - 1 : i] == [MANY])
    ]
