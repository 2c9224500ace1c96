"""`ponder quality show`: one preset, with sources and what follows from it."""

from __future__ import annotations

import click

_ATTEMPTS = (1, 4, 16, 64)


@click.command("show")
@click.argument("preset")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def command(preset: str, as_json: bool) -> None:
    """Show PRESET, a name of `ponder quality list` or a file of `ponder quality fit`.

    Prints the figures with their sources, then what follows from them: accuracy at some thinking
    lengths, and of votes and of any right attempt of several.
    """
    import json

    from simulator.cli.catalogue import show
    from simulator.config.quality import load_preset
    from simulator.core_yaml import dump_yaml
    from simulator.quality import majority, pass_at_k

    found = load_preset(preset)
    data = found.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    model = found.build()
    at = found.reference_tokens or (found.measured_tokens or (0.0, 8000.0))[1]
    lengths = [0.0] if found.curve is None else [f * at for f in (0.125, 0.25, 0.5, 1.0, 2.0)]
    rows = []
    for tokens in lengths:
        mean = float(model.accuracy(tokens))
        row = {"thinking_tokens": round(tokens), "accuracy": mean}
        row["forced"] = float(model.accuracy(tokens, forced=True))
        row |= {
            f"maj@{n}": float(majority(n, mean, model.rho, model.dominant_share))
            for n in _ATTEMPTS[1:]
        }
        row |= {f"pass@{n}": float(pass_at_k(n, mean, model.rho)) for n in _ATTEMPTS[1:]}
        rows.append(row)
    if as_json:
        click.echo(json.dumps({"preset": data, "follows": rows}, indent=2))
        return
    click.echo(dump_yaml(data), nl=False)
    per_cent = [
        {
            key: value if key == "thinking_tokens" else round(100 * value, 1)
            for key, value in row.items()
        }
        for row in rows
    ]
    headings = {key: key.replace("_", " ") for key in rows[0]}
    show(per_cent, headings, False)
