"""256 streams against `sgl-lite serve` on the embedded model: a third go away early, a third are constrained.

    python -m benchmarks.load [--seconds 300] [--streams 256]

Clients run in this process and share its cores with the server's. Times of one client alone stand beside those under
load. Writes benchmarks/results/load.json.
"""

from __future__ import annotations

import argparse
import json

from benchmarks.machine import record
from tests.sgl_lite.server.load import measured, served


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--streams", type=int, default=256)
    options = parser.parse_args()
    with served("--max-running", "64") as (process, url):
        _, told = measured(process, url, options.seconds, options.streams)
    print(json.dumps(told, indent=1))
    record("load", 1, **told)


if __name__ == "__main__":
    main()
