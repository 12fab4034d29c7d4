"""A picture of how values are distributed, as SVG text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT, LEFT, BOTTOM = 640, 360, 56, 44
COLOURS = ("#2563eb", "#d97706", "#059669", "#dc2626")


def cumulative_svg(lines: Mapping[str, Sequence[float]], across: str, up: str) -> str:
    """For each named list of values: which share of them (up) is at most so much (across)."""
    most = max((value for values in lines.values() for value in values), default=1.0) or 1.0

    def at(value: float, share: float) -> str:
        x = LEFT + value / most * (WIDTH - LEFT - 16)
        y = HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - 16)
        return f"{x:.1f},{y:.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for tenth in range(0, 11, 2):
        x, y = at(most * tenth / 10, 0).split(",")[0], at(0, tenth / 10).split(",")[1]
        parts.append(f'<text x="{x}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{most * tenth / 10:.3g}</text>')
        parts.append(f'<text x="{LEFT - 6}" y="{float(y) + 4:.1f}" text-anchor="end">{tenth * 10} %</text>')
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - 16}" y1="{y}" y2="{y}" stroke="#e5e7eb"/>')
    for index, (name, values) in enumerate(lines.items()):
        ordered, colour = sorted(values), COLOURS[index % len(COLOURS)]
        points = " ".join(at(value, (rank + 1) / len(ordered)) for rank, value in enumerate(ordered))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(
            f'<text x="{WIDTH - 20}" y="{40 + 18 * index}" text-anchor="end" fill="{colour}">{escape(name)}</text>'
        )
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(across)}</text>')
    parts.append(f'<text x="{LEFT}" y="12" text-anchor="middle">{escape(up)}</text>')
    return "\n".join([*parts, "</svg>\n"])
