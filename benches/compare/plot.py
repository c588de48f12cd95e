"""Draws the comparison as an SVG that stands by itself, in light and in dark."""

import math
from xml.sax.saxutils import escape

WIDTH, LEFT, GAP, ROW, PAD = 940, 262, 24, 23, 24
LEAST, MOST = 1.0, 100.0
TITLES = (
    "Time of a call, against a raw socket that does the same work",
    "Client and memcached on one core; times the raw socket's, on a logarithmic scale. Shorter is better.",
    "Requests per second that a site keeps",
    "Percent of the same site without last-seen. The page does nothing; a real page keeps more. Longer is better.",
)

STYLE = """
svg { --ground: #ffffff; --text: #1f2328; --faint: #59636e; --line: #d8dee4; --ours: #0969da; --other: #afb8c1 }
@media (prefers-color-scheme: dark) {
  svg { --ground: #0d1117; --text: #e6edf3; --faint: #9198a1; --line: #2d333b; --ours: #4493f8; --other: #57606a }
}
text { font: 13px system-ui, "Segoe UI", "DejaVu Sans", sans-serif; fill: var(--text) }
.title { font-weight: 600; font-size: 15px } .faint { fill: var(--faint); font-size: 12px } .ours { font-weight: 600 }
.end { text-anchor: end } .middle { text-anchor: middle }
line { stroke: var(--line) } rect.ground { fill: var(--ground) }
rect.bar { fill: var(--other) } rect.ours { fill: var(--ours) }
"""


def drawing(columns, sites):
    (works, rows), parts, y = columns, [], PAD + 8
    text(parts, PAD, y, TITLES[0], "title")
    text(parts, PAD, y + 19, TITLES[1], "faint")
    y += 48
    width = (WIDTH - LEFT - PAD - (len(works) - 1) * GAP) / len(works)
    # Room for the figure behind the longest bar.
    scale = (width - 34) / math.log(MOST / LEAST)
    bottom = y + 12 + ROW * len(rows)
    for nth, work in enumerate(works):
        x = LEFT + nth * (width + GAP)
        text(parts, x, y, work)
        for tick in (1, 3, 10, 30, 100):
            at = x + math.log(tick / LEAST) * scale
            parts.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{y + 8}" y2="{bottom}"/>')
            text(parts, at, bottom + 15, f"{tick} x", "faint middle")
        for row, (_, ours, ratios) in enumerate(rows):
            middle = y + 12 + ROW * row + ROW / 2
            ratio = ratios[nth]
            if ratio is None:
                text(parts, x + 5, middle + 4, "writes only", "faint")
            elif ratio < LEAST / 2:
                text(parts, x + 5, middle + 4, f"{ratio:.2f}: no round trip", "ours")
            else:
                length = max(2, math.log(min(ratio, MOST) / LEAST) * scale)
                bar(parts, x, middle, length, ours)
                shown = f"{ratio:.2f}" if ratio < 1.995 else f"{ratio:.1f}" if ratio < 9.95 else f"{ratio:.0f}"
                text(parts, x + length + 5, middle + 4, shown, ours and "ours")
    for row, (name, ours, _) in enumerate(rows):
        text(parts, LEFT - 10, y + 12 + ROW * row + ROW / 2 + 4, name, "end ours" if ours else "end")

    y = bottom + 62
    text(parts, PAD, y, TITLES[2], "title")
    text(parts, PAD, y + 19, TITLES[3], "faint")
    y += 28
    full, bottom = WIDTH - LEFT - PAD - 34, y + 8 + ROW * len(sites)
    for tick in (0, 25, 50, 75, 100):
        at = LEFT + full * tick / 100
        parts.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{y + 4}" y2="{bottom}"/>')
        text(parts, at, bottom + 15, f"{tick} %", "faint middle")
    for row, (name, ours, share) in enumerate(sites):
        middle = y + 8 + ROW * row + ROW / 2
        text(parts, LEFT - 10, middle + 4, name, "end ours" if ours else "end")
        bar(parts, LEFT, middle, full * share, ours)
        text(parts, LEFT + full * share + 5, middle + 4, f"{100 * share:.0f} %", ours and "ours")
    height = bottom + 15 + PAD
    size = f'viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" height="{height:.0f}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">'
    title = "<title>last-seen beside other memcached clients</title>"
    ground = '<rect class="ground" width="100%" height="100%" rx="8"/>'
    return "\n".join([head, title, f"<style>{STYLE}</style>", ground, *parts, "</svg>\n"])


def text(parts, x, y, words, kind=None):
    kind = f' class="{kind}"' if kind else ""
    parts.append(f'<text x="{x:.1f}" y="{y:.1f}"{kind}>{escape(words)}</text>')


def bar(parts, x, middle, length, ours):
    kind = "bar ours" if ours else "bar"
    parts.append(f'<rect class="{kind}" x="{x:.1f}" y="{middle - 7:.1f}" width="{length:.1f}" height="14" rx="2"/>')
