"""Rewrites the figures of experiments/policies: python -m tests.experiments.update

For after a change of the engine. Every `a → b` of a row in the table is run again and replaced,
also where the header of the row's file says it. Look at the difference: what the words beside a
figure say may no longer be true.
"""

from __future__ import annotations

import re

from tests.experiments.runs import POLICIES, README, figure, rows, summary


def main() -> None:
    """Run every row, and write what it gives."""
    table = README.read_text(encoding="utf-8").splitlines()
    for row in rows():
        before, after = summary(row.name), summary(row.name, *row.overrides)
        path = POLICIES / f"{row.name}.yaml"
        header = path.read_text(encoding="utf-8")
        for what, first, second in row.figures:
            old = f"{first} → {second}"
            new = " → ".join(_shown(figure(each, what)) for each in (before, after))
            if _same(old, new):
                continue
            print(f"{row.name}: {what}: {old} is now {new}")
            [at] = [
                k
                for k, line in enumerate(table)
                if f"{what} {old}" in line and all(each in line for each in row.overrides)
            ]
            table[at] = table[at].replace(f"{what} {old}", f"{what} {new}")
            header = re.sub(rf"{re.escape(old)}(?![\d.,]*\d)", new, header)
        path.write_text(header, encoding="utf-8")
    README.write_text("\n".join(table) + "\n", encoding="utf-8")


def _same(old: str, new: str) -> bool:
    one, other = ([float(v.replace(",", "")) for v in text.split(" → ")] for text in (old, new))
    return all(f"{a:.3g}" == f"{b:.3g}" for a, b in zip(one, other, strict=True))


def _shown(value: float) -> str:
    """Three digits, as people write them."""
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 100 else f"{rounded:#.3g}"


if __name__ == "__main__":
    main()
