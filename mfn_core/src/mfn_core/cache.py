"""Replies of deterministic operations, kept as raw bytes in bounded memory."""

from __future__ import annotations

from collections import OrderedDict

__all__ = ["ResultCache"]

ENTRY_OVERHEAD = 250
"""Bytes that an entry costs beside its key and its reply: three objects and their place in the mapping."""

LARGEST_SHARE = 8
"""A reply larger than this part of the whole is not kept, so that one call cannot empty the cache."""


class ResultCache:
    """Least recently used goes first. For one event loop; holds replies whoever asked, after they were let in."""

    def __init__(self, max_bytes: int) -> None:
        """Keep at most `max_bytes` bytes, overhead included; 0 keeps nothing."""
        self._max_bytes = max_bytes
        self._entries: OrderedDict[tuple[str, bytes], bytes] = OrderedDict()
        self._bytes = 0
        self.hits = 0
        self.misses = 0

    @property
    def enabled(self) -> bool:
        """Whether anything can be kept."""
        return self._max_bytes > 0

    @property
    def size(self) -> int:
        """Bytes held, overhead included."""
        return self._bytes

    def __len__(self) -> int:
        """Replies held."""
        return len(self._entries)

    def get(self, path: str, key: bytes) -> bytes | None:
        """The raw reply of the operation `path` to the request that `key` stands for."""
        found = self._entries.get((path, key))
        if found is None:
            self.misses += 1
            return None
        self._entries.move_to_end((path, key))
        self.hits += 1
        return found

    def put(self, path: str, key: bytes, reply: bytes) -> None:
        """Keep a reply, and let go of the least recently used ones until it fits."""
        size = len(key) + len(reply) + ENTRY_OVERHEAD
        if size * LARGEST_SHARE > self._max_bytes:
            return
        replaced = self._entries.pop((path, key), None)
        if replaced is not None:
            self._bytes -= len(key) + len(replaced) + ENTRY_OVERHEAD
        while self._bytes + size > self._max_bytes:
            (_, old_key), old_reply = self._entries.popitem(last=False)
            self._bytes -= len(old_key) + len(old_reply) + ENTRY_OVERHEAD
        self._entries[path, key] = reply
        self._bytes += size
