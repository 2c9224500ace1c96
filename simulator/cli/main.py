"""Entry point of `ponder`. Imports nothing but click, so that `ponder --help` is instant."""

from __future__ import annotations

import errno
import os
import signal
import sys
from typing import NoReturn

import click

from simulator.cli.lazy import LazyGroup
from simulator.errors import InputError, PonderError

EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it

# name -> (module, one line for the list of commands)
COMMANDS = {
    "run": ("simulator.cli.run", "Simulate an experiment and report latency, throughput and cost."),
    "frontier": (
        "simulator.cli.frontier",
        "Compare strategies: accuracy, cost and time to answer under load.",
    ),
    "articles": (
        "simulator.cli.articles",
        "Compute and simulate what articles on test-time compute claim.",
    ),
    "validate": ("simulator.cli.validate", "Simulate measured runs and report the errors."),
    "trace": ("simulator.cli.trace", "Describe, fit, generate and convert request traces."),
    "explain": ("simulator.cli.explain", "Show where an iteration's time and the memory go."),
    "schema": ("simulator.cli.schema", "Print the JSON Schema of experiment files, for editors."),
    "models": ("simulator.cli.models", "List the models ponder knows."),
    "gpus": ("simulator.cli.gpus", "List the GPUs ponder knows."),
    "schedulers": ("simulator.cli.schedulers", "List the schedulers ponder knows."),
    "routers": ("simulator.cli.routers", "List the routers ponder knows."),
    "predictors": ("simulator.cli.predictors", "List the length predictors ponder knows."),
    "admissions": ("simulator.cli.admissions", "List the admission controls ponder knows."),
    "strategies": ("simulator.cli.strategies", "List the strategies ponder knows."),
    "quality": ("simulator.cli.quality", "Accuracy against thinking: list, show, fit, check."),
    "calibrate": ("simulator.cli.calibrate", "Fit a GPU profile to measured kernels."),
}


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        click.echo(f"ponder {version('ponder')}")
        ctx.exit()


@click.group(
    cls=LazyGroup, commands=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
def cli() -> None:
    """Simulate clusters that serve reasoning models.

    Start with: ponder run experiments/quickstart.yaml
    """


def entry() -> NoReturn:
    """The console script: as `main`, without the second Python takes to tear its modules down."""
    # While modules load, Ctrl-C ends the process: some of them would swallow a KeyboardInterrupt.
    # Commands catch it again once they have something to clean up (`simulator.cli.interrupts`).
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    os._exit(_flushed(_exit_code(None)))


def main(args: list[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 fine, 1 failed, 2 bad input, 130 interrupted."""
    sys.exit(_flushed(_exit_code(args)))


def _exit_code(args: list[str] | None) -> int:
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by whoever started us
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115
    try:
        result = cli.main(args, prog_name="ponder", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except PonderError as error:
        _show(error)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        return 1  # the reader went away (`ponder schema | head`)
    except OSError as error:
        where = f"{_shortened(str(error.filename))}: " if error.filename else ""
        click.echo(f"error: {where}{error.strerror or error}", err=True)
        return InputError.exit_code if error.errno == errno.ENAMETOOLONG else 1
    return result if isinstance(result, int) else 0


def _flushed(code: int) -> int:
    """`code`, or 1 if the output is full or gone; Python then won't try again on its way out."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return code or 1
    return code


def _shortened(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:197]}..."


def _show(error: PonderError) -> None:
    lines = error.problems if isinstance(error, InputError) else [error]
    for line in lines:
        click.echo(f"error: {line}", err=True)


if __name__ == "__main__":
    main()
