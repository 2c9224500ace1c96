"""A fitted workload as text: the YAML section, with comments on how good each part is."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import yaml

from workloads.fitting.arrivals import FittedArrivals
from workloads.fitting.choice import FittedLengths

LISTED_LAWS = 3
ENDS = ("num_requests", "duration_s")


@dataclass(frozen=True, eq=False)
class FittedClass:
    """The fields of one class of queries, with remarks: field -> lines that explain it.

    lost: what of its lengths is not reproduced.
    """

    fields: dict[str, Any]
    remarks: dict[str, list[str]]
    lengths: dict[str, FittedLengths]
    lost: list[str] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class FittedWorkload:
    """A `workload:` section: its fields, one or more classes, and what it does not reproduce.

    remarks: on the arrivals that several classes share.
    """

    fields: dict[str, Any]
    classes: dict[str, FittedClass]
    lost: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def to_yaml(self, heading: list[str]) -> str:
        """A YAML document with the one key `workload`; `heading` lines become comments above."""
        lines = [f"# {line}" for line in heading]
        if self.lost:
            lines += ["#", "# Not reproduced:"] + [f"#   - {line}" for line in self.lost]
        lines += ["workload:", f"  kind: {self.fields['kind']}"]
        if self.fields["kind"] == "synthetic":
            (only,) = self.classes.values()
            lines.append(f"  class_name: {self.fields['class_name']}")
            lines += _field_lines(only.fields, only.remarks, 2)
        else:
            shared = {key: self.fields[key] for key in ("arrivals",) if key in self.fields}
            lines += _field_lines(shared, {"arrivals": self.remarks}, 2)
            lines.append("  classes:")
            for name, each in self.classes.items():
                lines.append(f"    {json.dumps(name)}:")
                lines += _field_lines(each.fields, each.remarks, 6)
        lines += [f"  {key}: {self.fields[key]}" for key in ENDS if key in self.fields]
        return "\n".join(lines) + "\n"


def arrival_remarks(arrivals: FittedArrivals, n: int) -> list[str]:
    """How the process compares with the recorded arrivals, in lines."""
    if arrivals.cv is None:
        return [f"{n:,} requests"]
    words = f"{n:,} requests; CV of their gaps {arrivals.cv:.4g}"
    if arrivals.simulated_cv is not None:
        words += f", of this process {arrivals.simulated_cv:.4g}"
    return [words]


def length_remarks(fitted: FittedLengths) -> list[str]:
    """How the law compares with the recorded lengths, and the best candidates, in lines."""
    sample = fitted.sample
    p50, p90, p99 = (f"{value:,}" for value in sample.quantile([0.5, 0.9, 0.99]))
    lines = [f"p50 {p50}, p90 {p90}, p99 {p99}, mean {sample.mean:,.1f}; KS {fitted.ks:.4f}"]
    if sample.zero_share:
        lines.append(f"{100 * sample.zero_share:.3g} % are 0; laws are compared on the others")
    if sample.cap is not None:
        lines.append(f"cut off at {sample.cap:,}")
    n = sample.positive().total if fitted.ranked else 1.0
    lines += [
        f"{law.title}: KS {law.ks:.4f}, AIC {law.aic:.6g} ({law.aic / n:.4f} a request)"
        for law in fitted.ranked[:LISTED_LAWS]
    ]
    if fitted.why and fitted.best is not None:
        lines.append(f"not the {fitted.best.title}: {fitted.why}")
    return lines


def _field_lines(fields: dict[str, Any], remarks: dict[str, list[str]], indent: int) -> list[str]:
    lines = []
    for key, value in fields.items():
        lines += [f"{' ' * indent}# {remark}" for remark in remarks.get(key, [])]
        lines += _dumped({key: value}, indent)
    return lines


def _dumped(fields: dict[str, Any], indent: int) -> list[str]:
    scalars = not any(isinstance(value, (dict, list)) for value in fields.values())
    if scalars:  # which safe_dump would put into braces
        return [f"{' ' * indent}{key}: {value}" for key, value in fields.items()]
    text = yaml.safe_dump(fields, sort_keys=False, default_flow_style=None, width=100 - indent)
    return [" " * indent + line for line in text.splitlines()]
