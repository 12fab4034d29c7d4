"""These tests run kernels on the CPU in Triton's interpreter, which is chosen when triton is first imported.

So they need a process of their own. `tests/runtime/kernels/test_triton.py` starts it; by hand:

    TRITON_INTERPRET=1 python -m pytest tests/runtime/kernels/triton
"""

from __future__ import annotations

import os

if os.environ.get("TRITON_INTERPRET") != "1":
    collect_ignore_glob = ["test_*.py"]
