"""Which requests have to end because an image of theirs could not be encoded, and that nobody finds what they computed.

The step in which an image fails is computed with zeros in its place, because it may hold other requests; its pages are
in the radix tree by then, under the numbers of the image's rows. Those numbers are given up: an image that comes again
gets others, and a request that was just given the old ones is refused.
"""

from __future__ import annotations

from typing import Protocol

from runtime.cache.image_keys import ImageKeys
from runtime.errors import ImageError
from runtime.scheduler.branch import Branch


class Encoder(Protocol):
    def take_failures(self) -> dict[bytes, Exception]: ...


class FailedImages:
    """For the loop's thread."""

    def __init__(self, encoder: Encoder, keys: ImageKeys) -> None:
        self._encoder = encoder
        self._keys = keys
        self._reasons: dict[int, Exception] = {}
        """By the number of a failed image's first row."""

    def look(self) -> bool:
        """Whether images failed in the step just computed."""
        failures = self._encoder.take_failures()
        for key, reason in failures.items():
            self._reasons.update(dict.fromkeys(self._keys.forget(key), reason))
        return bool(failures)

    def error_of(self, branch: Branch) -> ImageError | None:
        """Why the branch cannot go on, if so."""
        for number, placed in enumerate(branch.layout.images if branch.layout is not None else ()):
            reason = self._reasons.get(int(branch.keys[placed.rows[0]]))
            if reason is not None:
                error = ImageError(f"image {number} of the prompt could not be encoded: {reason}")
                error.__cause__ = reason
                return error
        return None
