# SPDX-License-Identifier: BSD-2-Clause
"""Bar charts for the documentation: SVG, one file for each mode, a panel for each of its figures."""

import statistics
from html import escape

from lib import report

WIDTH, LABELS, NUMBERS = 720, 130, 76  # pixels
BAR, GAP, HEAD, BETWEEN = 16, 6, 26, 24

STYLE = """\
text { font: 13px sans-serif; fill: #24292f; } .h { font-weight: bold; }
.ours { fill: #0969da; } .other { fill: #8c959f; } .limit { fill: #d0d7de; }"""


def _bars(rounds, figure):
    """[(gateway, median)] in the order of the table."""
    found = [(name, report.values(rounds, name, figure.key)) for name in rounds[0]]
    return [(name, statistics.median(values)) for name, values in found if values]


def _panel(figure, bars, left, width):
    better = "more is better" if figure.more_is_better else "less is better"
    largest = max(value for _, value in bars) or 1
    lines = [f'<text class="h" x="{left}" y="15">{escape(figure.title)} '
             f'<tspan font-weight="normal">({better})</tspan></text>']
    for row, (name, value) in enumerate(bars):
        y = HEAD + row * (BAR + GAP)
        kind = ("ours" if name.startswith(report.OURS) else
                "limit" if name == "direct" else "other")
        length = max(1, round((width - LABELS - NUMBERS) * value / largest))
        lines += [f'<text x="{left}" y="{y + 13}">{escape(name)}</text>',
                  f'<rect class="{kind}" x="{left + LABELS}" y="{y}" width="{length}" '
                  f'height="{BAR}"/>',
                  f'<text x="{left + LABELS + length + 6}" y="{y + 13}">'
                  f'{value:,.{figure.digits}f}</text>']
    return lines


def draw(mode, rounds, keys):
    """The SVG; None where nothing was measured. keys: which of the mode's figures."""
    panels = [(figure, _bars(rounds, figure)) for figure in mode.figures if figure.key in keys]
    panels = [(figure, bars) for figure, bars in panels if bars]
    if not panels:
        return None
    width = (WIDTH - BETWEEN * (len(panels) - 1)) // len(panels)
    height = HEAD + max(len(bars) for _, bars in panels) * (BAR + GAP)
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
             f'width="{WIDTH}" height="{height}" role="img">', f"<title>{escape(mode.title)}</title>",
             f"<style>{STYLE}</style>", '<rect width="100%" height="100%" fill="#ffffff"/>']
    for number, (figure, bars) in enumerate(panels):
        lines += _panel(figure, bars, number * (width + BETWEEN), width)
    return "\n".join([*lines, "</svg>"]) + "\n"
