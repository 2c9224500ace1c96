"""`ponder articles`: what articles on test-time compute claim, and what comes out here."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from simulator.cli.interrupts import catch_interrupts

if TYPE_CHECKING:
    from simulator.studies.articles import Row, Study


@click.command("articles")
@click.option("--only", multiple=True, metavar="NAME", help="Only this study; may be given again.")
@click.option("--list", "only_list", is_flag=True, help="List the studies, and run none.")
@click.option("--markdown", is_flag=True, help="Print Markdown, as in docs/articles.md.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(only: tuple[str, ...], only_list: bool, markdown: bool, as_json: bool) -> None:
    """Compute and simulate the claims of three articles on test-time compute.

    One table: the claim, the article's figure, ours, a verdict, and the assumption that explains a
    difference. Studies that are arithmetic come first; all of them take a minute or two.
    """
    from simulator.cli.catalogue import show
    from simulator.studies.articles import chosen, results

    studies = chosen(only)
    if only_list:
        rows = [
            {"name": s.name, "title": s.title, "simulates": s.simulates, "article": s.article}
            for s in studies
        ]
        headings = {"name": "study", "title": "about", "simulates": "simulates"}
        show(rows, headings | {"article": "article"}, as_json)
        return
    catch_interrupts()
    found = list(results(studies, _say if sys.stderr.isatty() else None))
    if markdown:
        click.echo("\n".join(_markdown(study, rows) for study, rows in found), nl=False)
        return
    table = [
        {
            "study": study.name,
            "claim": row.claim,
            "article": row.article,
            "ours": row.ours,
            "verdict": row.verdict,
            "note": row.note,
        }
        for study, rows in found
        for row in rows
    ]
    headings = {
        "claim": "claim",
        "article": "article",
        "ours": "ours",
        "verdict": "verdict",
        "note": "because",
    }
    show(table, headings, as_json)


def _markdown(study: Study, rows: list[Row]) -> str:
    lines = [
        f"## {study.title}",
        "",
        f"`ponder articles --only {study.name}`. From: {study.article}",
        "",
        "| claim | article | ours | verdict | because |",
        "|---|---|---|---|---|",
        *(
            f"| {row.claim} | {row.article} | {row.ours} | {row.verdict} | {row.note} |"
            for row in rows
        ),
        "",
    ]
    return "\n".join(line.replace("~", "about ") for line in lines)


def _say(study: Study) -> None:
    click.echo(f"{study.name}: {study.title}", err=True)
