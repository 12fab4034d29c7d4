"""Which line of the user's program is being executed."""

from __future__ import annotations

import contextlib
import os
import sys

_OURS = (os.path.dirname(os.path.abspath(__file__)) + os.sep, contextlib.__file__)
"""Frames of these are not the user's: the package, and what runs its context managers."""


def call_site() -> str:
    """The innermost line outside this package: `profile.py:12, in profile`."""
    frame = sys._getframe(1)
    while frame.f_code.co_filename.startswith(_OURS) and frame.f_back is not None:
        frame = frame.f_back
    code = frame.f_code
    return f"{os.path.basename(code.co_filename)}:{frame.f_lineno}, in {code.co_name}"
