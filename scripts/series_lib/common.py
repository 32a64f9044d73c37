# SPDX-License-Identifier: GPL-2.0
"""What all of the tool uses: the project, messages, and bytes as text."""

import contextlib
import signal
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
AUTHOR = None  # The name and address that --author gives.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Problem(Exception):
    """An anticipated failure, with the message for the user."""


def note(message):
    print(message, file=sys.stderr, flush=True)


# Git's output may hold any bytes; this form of str keeps them all.
def text(data):
    return data.decode("utf-8", "surrogateescape")


def raw(string):
    return string.encode("utf-8", "surrogateescape")


def indent(lines, by="    "):
    return "".join(f"\n{by}{line}".rstrip() for line in lines)


@contextlib.contextmanager
def uninterrupted():
    """Hold signals back; the children inherit that."""
    old = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)
