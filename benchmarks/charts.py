"""Charts: horizontal bars as SVG, readable on light and dark pages, with no library."""

from collections.abc import Mapping
from xml.sax.saxutils import escape

_WIDTH, _VALUE, _ROW, _TOP = 720, 80, 26, 48
#: What a letter takes at most, on average, and what stands between a name and its bar.
_LETTER, _GAP = 7.0, 8


def bars(title: str, unit: str, values: Mapping[str, float], *, more_is_better: bool) -> str:
    """A chart of *values*, the best first; eventbus's own bar stands out."""
    ordered = sorted(values.items(), key=lambda item: item[1], reverse=more_is_better)
    largest = max(values.values(), default=1.0) or 1.0
    label = round(max(map(len, values), default=0) * _LETTER) + _GAP
    height = _TOP + _ROW * len(ordered) + 8
    better = "more" if more_is_better else "less"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img"',
        ' font-family="sans-serif" font-size="13">',
        f"<title>{escape(title)}: {escape(unit)}</title>",
        "<style>text{fill:#24292f}@media(prefers-color-scheme:dark){text{fill:#e6edf3}}</style>",
        f'<text x="0" y="18" font-size="16" font-weight="bold">{escape(title)}</text>',
        f'<text x="0" y="36">{escape(unit)}; {better} is better</text>',
    ]
    for row, (name, value) in enumerate(ordered):
        y = _TOP + row * _ROW
        width = max(1.0, value / largest * (_WIDTH - label - _VALUE))
        colour = "#2da44e" if name == "eventbus" else "#8c959f"
        lines += [
            f'<text x="{label - _GAP}" y="{y + 15}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{label}" y="{y}" width="{width:.1f}" height="{_ROW - 6}" rx="2" fill="{colour}"/>',
            f'<text x="{label + width + 6:.1f}" y="{y + 15}">{_shown(value)}</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}" if value < 10 else f"{value:.1f}"
