"""The embedded model: a small Llama that ships with the package, so that the first command works offline.

`PATH` is its folder, in Hugging Face format. The other modules of this package make it anew
(`python -m runtime.model.demo.train`); none of them is imported when it is only used.
"""

from __future__ import annotations

from pathlib import Path

PATH: Path = Path(__file__).parent / "weights"
