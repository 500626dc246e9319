"""What commands share that go on, round after round, until they are told to stop."""

import signal
import threading
from argparse import ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager

_LONGEST_PAUSE = 86_400


def seconds(text: str) -> int:
    """Read the pause between two rounds. Raises ``ArgumentTypeError``."""
    try:
        pause = int(text)
    except ValueError:
        pause = 0
    if not 1 <= pause <= _LONGEST_PAUSE:
        raise ArgumentTypeError(f"it must be a whole number of seconds from 1 to {_LONGEST_PAUSE}")
    return pause


@contextmanager
def stop_signal() -> Iterator[threading.Event]:
    """Set what is yielded on SIGTERM and SIGINT instead of breaking off."""
    stop = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: stop.set())
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
