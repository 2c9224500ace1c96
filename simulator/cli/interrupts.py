"""Ctrl-C, once a command has something to clean up."""

from __future__ import annotations

import signal


def catch_interrupts() -> None:
    """Let Ctrl-C raise KeyboardInterrupt again, which ends the process at once while modules load.

    Call it after a command's own imports; see `simulator.cli.main.entry`.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
