"""Numbers as people read them. Every function shows a dash for None."""

from __future__ import annotations

NOTHING = "–"


def _decimals(value: float) -> int:
    """Decimals that leave three significant digits, but never less than the unit."""
    size = abs(value)
    return 0 if size >= 99.95 else 1 if size >= 9.995 else 2


def _digits(value: float) -> str:
    """Three significant digits, never an exponent: 0.85, 7.32, 41.2, 412, 4,120."""
    return f"{value:,.{_decimals(value)}f}" if value else "0"


def _scale(seconds: float) -> tuple[float, str]:
    """Factor and unit: ms below 1 s, s below 2 min, min below 2 h, else h."""
    size = abs(seconds)
    if size < 1:
        return 1e3, "ms"
    if size < 120:
        return 1.0, "s"
    if size < 7200:
        return 1 / 60, "min"
    return 1 / 3600, "h"


def duration(ms: float | None, half_width_ms: float | None = None) -> str:
    """A time given in milliseconds, `412 ms` or with its half-width `412 ± 13 ms`."""
    if ms is None:
        return NOTHING
    factor, unit = _scale(ms / 1e3)
    value = ms / 1e3 * factor
    text = _digits(value)
    if half_width_ms is not None:
        text += f" ± {half_width_ms / 1e3 * factor:,.{_decimals(value)}f}"
    return f"{text} {unit}"


def seconds(value_s: float | None) -> str:
    """A time given in seconds."""
    return duration(None if value_s is None else value_s * 1e3)


def limit(value_s: float) -> str:
    """A limit somebody chose, in seconds, as they would write it: `2 s`, `50 ms`."""
    factor, unit = _scale(value_s)
    return f"{value_s * factor:g} {unit}"


def count(value: float | None) -> str:
    """A whole number with thousands separated; from a million on, `12.3 M`, `4.56 G`."""
    if value is None:
        return NOTHING
    for factor, unit in ((1e9, "G"), (1e6, "M")):
        if abs(value) >= factor:
            return f"{_digits(value / factor)} {unit}"
    return f"{value:,.0f}"


def rate(value: float | None, unit: str) -> str:
    """A rate with three significant digits, as `3.21 req/s`."""
    return NOTHING if value is None else f"{_digits(value)} {unit}"


def percent(share: float | None) -> str:
    """A share of one as a percentage."""
    return NOTHING if share is None else f"{100 * share:.1f} %"


def usd(value: float | None) -> str:
    """Dollars, with more digits the smaller the amount."""
    if value is None:
        return NOTHING
    if abs(value) >= 100:
        return f"${value:,.0f}"
    return f"${value:,.2f}" if abs(value) >= 1 else f"${value:.4f}"
