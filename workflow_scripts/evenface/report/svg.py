"""Plots as plain SVG: the same bytes everywhere, sharp in print, without a drawing library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

#: Okabe and Ito's colour-blind-safe colours, in the order of their use.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#5b5f66")
SHAPES = ("circle", "square", "triangle", "diamond", "down", "cross", "circle")


@dataclass(frozen=True)
class Series:
    """A run in plots: its name, and its colour and shape, which are the same in all plots."""

    name: str
    colour: str
    shape: str


def series(names: Sequence[str]) -> list[Series]:
    """One Series per name, in order; colours and shapes repeat after seven."""
    return [
        Series(name, COLOURS[k % len(COLOURS)], SHAPES[k % len(SHAPES)]) for k, name in enumerate(dict.fromkeys(names))
    ]


@dataclass(frozen=True)
class Dot:
    """A value on a row. ``low`` and ``high`` draw a whisker, ``tick`` a short stroke across the row. A hollow
    dot has low support."""

    row: str
    series: Series
    value: float
    low: float | None = None
    high: float | None = None
    hollow: bool = False
    note: str = ""
    tick: float | None = None


def number(value: float, digits: int = 3) -> str:
    """A value for people: fixed digits, a true minus sign, an en dash for undefined."""
    if value is None or value != value:
        return "–"
    return f"{value:.{digits}f}".replace("-", "−")


def legend(items: Sequence[Series], *, hollow: str = "") -> str:
    """An HTML list that names every series; with ``hollow``, also the meaning of a hollow mark."""
    marks = [(item, f"{escape(item.name)}") for item in items]
    entries = [f"<li>{_icon(item, False)}{text}</li>" for item, text in marks]
    if hollow:
        entries.append(f"<li>{_icon(Series('', '#5b5f66', 'circle'), True)}{escape(hollow)}</li>")
    return f'<ul class="legend">{"".join(entries)}</ul>'


def _icon(item: Series, hollow: bool) -> str:
    return (
        '<svg width="16" height="16" viewBox="0 0 16 16" aria-hidden="true" focusable="false">'
        f"{_mark(8, 8, item, hollow, 5)}</svg>"
    )


def dot_plot(
    title: str,
    rows: Sequence[str],
    dots: Sequence[Dot],
    *,
    span: tuple[float, float],
    label: str,
    width: int = 420,
    left: int = 120,
    headings: Sequence[str] = (),
    labels: Mapping[str, str] | None = None,
    reference: float | None = None,
    reference_label: str = "",
    row_height: int = 26,
) -> str:
    """Rows of dots on one axis. ``headings`` are rows that only have a caption. ``labels`` replaces the names of
    rows in the picture.

    ``title`` is the picture's accessible name; ``label`` is written under the axis.
    """
    low, high = span
    names = labels or {}
    top, bottom = 8, 40
    lane = row_height
    height = top + lane * len(rows) + bottom
    right = width - 16

    def x(value: float) -> float:
        return left + (min(max(value, low), high) - low) / (high - low) * (right - left)

    parts = []
    floor = top + lane * len(rows)
    parts += [
        f'<rect class="band" x="0" y="{_f(top + lane * k)}" width="{right}" height="{lane}"/>'
        for k in range(1, len(rows), 2)
    ]
    for tick in ticks(low, high):
        parts.append(f'<line class="grid" x1="{_f(x(tick))}" x2="{_f(x(tick))}" y1="{top}" y2="{floor}"/>')
        parts.append(f'<text class="tick" x="{_f(x(tick))}" y="{floor + 15}" text-anchor="middle">{_tick(tick)}</text>')
    if reference is not None:
        parts.append(
            f'<line class="reference" x1="{_f(x(reference))}" x2="{_f(x(reference))}" y1="{top}" y2="{floor}">'
            f"<title>{escape(reference_label)}</title></line>"
        )
    for k, row in enumerate(rows):
        y = top + lane * (k + 0.5)
        if row in headings:
            parts.append(f'<text class="heading" x="0" y="{_f(y + 5)}">{escape(words(row))}</text>')
            continue
        parts.append(
            f'<text class="row" x="{left - 10}" y="{_f(y + 4)}" text-anchor="end">{escape(words(names.get(row, row)))}</text>'
        )
        here = [dot for dot in dots if dot.row == row and dot.value == dot.value]
        for j, dot in enumerate(here):
            shift = (j - (len(here) - 1) / 2) * min(7.5, (lane - 10) / max(1, len(here) - 1))
            if dot.low is not None and dot.low == dot.low:
                parts.append(
                    f'<line x1="{_f(x(dot.low))}" x2="{_f(x(dot.high))}" y1="{_f(y + shift)}" y2="{_f(y + shift)}" '
                    f'stroke="{dot.series.colour}" stroke-width="1.8" stroke-opacity=".65"/>'
                )
            if dot.tick is not None and dot.tick == dot.tick:
                at = x(dot.tick)
                parts.append(
                    f'<line x1="{_f(at)}" x2="{_f(at)}" y1="{_f(y + shift - 4)}" y2="{_f(y + shift + 4)}" '
                    f'stroke="{dot.series.colour}" stroke-width="1.4"/>'
                )
            text = escape(dot.note or f"{words(row)}, {dot.series.name}: {number(dot.value)}")
            mark = _mark(x(dot.value), y + shift, dot.series, dot.hollow, 4.6)
            parts.append(f"<g><title>{text}</title>{mark}</g>")
    middle = (left + right) / 2
    parts.append(f'<text class="axis" x="{_f(middle)}" y="{height - 6}" text-anchor="middle">{escape(label)}</text>')
    return _figure(title, width, height, parts)


def line_plot(
    title: str,
    lines: Sequence[tuple[Series, Sequence[tuple[float, float]], bool]],
    *,
    x_label: str,
    y_label: str,
    y_span: tuple[float, float] | None = None,
    x_span: tuple[float, float] | None = None,
    marks: Sequence[tuple[Series, float, float]] = (),
    width: int = 420,
    height: int = 240,
) -> str:
    """Curves of (series, points, dashed); ``marks`` are highlighted points. Missing points interrupt a curve.

    An axis of whole numbers, such as epochs, has its span from the points; other axes are given by ``x_span``.
    """
    left, right, top, bottom = 46, width - 12, 10, height - 42
    points = [(a, b) for _, line, _ in lines for a, b in line if b == b]
    if not points:
        points = [(0.0, 0.0), (1.0, 1.0)]
    x_low, x_high = x_span or (min(a for a, _ in points), max(a for a, _ in points))
    y_low, y_high = y_span or (min(b for _, b in points), max(b for _, b in points))
    x_high, y_high = (x_high if x_high > x_low else x_low + 1), (y_high if y_high > y_low else y_low + 1)

    def x(value: float) -> float:
        return left + (value - x_low) / (x_high - x_low) * (right - left)

    def y(value: float) -> float:
        return bottom - (min(max(value, y_low), y_high) - y_low) / (y_high - y_low) * (bottom - top)

    parts = []
    for tick in ticks(y_low, y_high):
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{_f(y(tick))}" y2="{_f(y(tick))}"/>')
        parts.append(f'<text class="tick" x="{left - 6}" y="{_f(y(tick) + 4)}" text-anchor="end">{_tick(tick)}</text>')
    parts += [
        f'<text class="tick" x="{_f(x(tick))}" y="{bottom + 15}" text-anchor="middle">{_tick(tick)}</text>'
        for tick in ticks(x_low, x_high, whole=x_span is None)
    ]
    for item, line, dashed in lines:
        pieces: list[list[str]] = [[]]
        for a, b in line:
            if b == b:
                pieces[-1].append(f"{_f(x(a))},{_f(y(b))}")
            elif pieces[-1]:
                pieces.append([])
        style = ' stroke-dasharray="5 4"' if dashed else ""
        parts += [
            f'<polyline points="{" ".join(piece)}" fill="none" stroke="{item.colour}" stroke-width="2" '
            f'stroke-linejoin="round"{style}/>'
            for piece in pieces
            if piece
        ]
    for item, a, b in marks:
        parts.append(f"<g><title>{escape(item.name)}: {number(b)}</title>{_mark(x(a), y(b), item, False, 4.6)}</g>")
    middle = (left + right) / 2
    parts.append(f'<text class="axis" x="{_f(middle)}" y="{height - 6}" text-anchor="middle">{escape(x_label)}</text>')
    parts.append(
        f'<text class="axis" transform="translate(11 {_f((top + bottom) / 2)}) rotate(-90)" '
        f'text-anchor="middle">{escape(y_label)}</text>'
    )
    return _figure(title, width, height, parts)


def ticks(low: float, high: float, *, whole: bool = False) -> list[float]:
    """Three to seven round values inside [low, high]."""
    size = high - low
    for step in (0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000):
        if size / step <= 6.01 and not (whole and step < 1):
            break
    first = -(-(low - 1e-9) // step)
    values = []
    while first * step <= high + 1e-9:
        values.append(round(first * step, 10) + 0.0)  # no negative zero
        first += 1
    return values


def words(name: str) -> str:
    """Names of levels and attributes for people: ``middle_aged|asian`` -> ``middle aged, asian``."""
    return name.replace("|", ", ").replace("*", " × ").replace("_", " ")


def _figure(title: str, width: int, height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg class="plot" viewBox="0 0 {width} {_f(height)}" width="{width}" role="img" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg>'
    )


def _mark(x: float, y: float, item: Series, hollow: bool, r: float) -> str:
    paint = (
        f'fill="white" stroke="{item.colour}" stroke-width="1.8"'
        if hollow
        else f'fill="{item.colour}" stroke="white" stroke-width="0.8"'
    )
    if item.shape == "circle":
        return f'<circle cx="{_f(x)}" cy="{_f(y)}" r="{_f(r)}" {paint}/>'
    outline = {
        "square": [(-0.88, -0.88), (0.88, -0.88), (0.88, 0.88), (-0.88, 0.88)],
        "triangle": [(0, -1.15), (1.05, 0.8), (-1.05, 0.8)],
        "diamond": [(0, -1.25), (1.1, 0), (0, 1.25), (-1.1, 0)],
        "down": [(0, 1.15), (1.05, -0.8), (-1.05, -0.8)],
        "cross": [(-1.1, -0.4), (-0.4, -0.4), (-0.4, -1.1), (0.4, -1.1), (0.4, -0.4), (1.1, -0.4),
                  (1.1, 0.4), (0.4, 0.4), (0.4, 1.1), (-0.4, 1.1), (-0.4, 0.4), (-1.1, 0.4)],
    }[item.shape]  # fmt: skip
    points = " ".join(f"{_f(x + r * a)},{_f(y + r * b)}" for a, b in outline)
    return f'<polygon points="{points}" {paint}/>'


def _tick(value: float) -> str:
    return f"{value:g}".replace("-", "−")


def _f(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
