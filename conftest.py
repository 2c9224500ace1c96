"""Code blocks of README.md and docs/ are run as tests: Python as it stands, YAML as experiments."""

from __future__ import annotations

import textwrap
from pathlib import Path

from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser


def _check_yaml(example: Example) -> None:
    """A YAML block is either a whole experiment or a part to be merged into the quickstart."""
    import yaml

    from simulator.config.loader import load_experiment

    block = yaml.safe_load(textwrap.dedent(example.parsed))
    quickstart = Path(__file__).parent / "experiments" / "quickstart.yaml"
    whole = yaml.safe_load(quickstart.read_text(encoding="utf-8"))
    load_experiment({**whole, **block})


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), CodeBlockParser(language="yaml", evaluator=_check_yaml)],
    patterns=["README.md", "docs/*.md", "docs/**/*.md"],
).pytest()
