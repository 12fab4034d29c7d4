"""Who wrote what of a state's text: the record that `show` and `to_html` draw. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Segment(NamedTuple):
    """A piece of a state's text: the program's, or (with `meta`) the model's, in variable `name`."""

    text: str
    name: str | None = None
    meta: Mapping[str, Any] | None = None
