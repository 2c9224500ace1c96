"""A result for human eyes: the terminal table, the plots, the HTML page."""

from __future__ import annotations
