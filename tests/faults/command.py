"""Runs schedules, and breakages, on several processors, and tells what came of them."""

import gc
import logging
import multiprocessing
import os
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.pool import Pool

from django.db import connection

from tests.faults.breakages import BREAKAGES
from tests.faults.drawing import draw
from tests.faults.schedule import Schedule
from tests.faults.shrinking import shortest
from tests.faults.simulation import broken_by
from tests.faults.world import Ground, ground_prepare

WORKERS = os.cpu_count() or 2
CHUNK = 10
#: Schedules after which a breakage counts as not caught.
MOST_SEEDS = 200
#: Failures that are told in full.
MOST_TOLD = 5


@dataclass(frozen=True, slots=True)
class Failure:
    """A seed that broke something, what, and all that was found."""

    seed: int
    invariant: str
    told: str


_grounds: list[Ground] = []


def prepare() -> None:
    """Make this process's own database, with all that a world begins with."""
    logging.disable(logging.CRITICAL)
    test = connection.settings_dict["TEST"]
    in_memory = connection.vendor == "sqlite"
    test["NAME"] = ":memory:" if in_memory else f"test_faults_{os.getpid()}"
    connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    _grounds.append(ground_prepare())
    # Nothing that is there now goes away; what comes is thrown away schedule by schedule.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def clean_up(_number: int) -> None:
    """Throw this process's database away."""
    if _grounds:
        _grounds.clear()
        connection.creation.destroy_test_db(connection.settings_dict["NAME"], verbosity=0)
        # Long enough that another process takes the next one.
        time.sleep(1)


def try_seeds(seeds: range) -> list[Failure]:
    """Run these seeds' schedules; returns those that broke something."""
    failures = []
    for seed in seeds:
        broken = broken_by(draw(seed), _grounds[0])
        if broken is not None:
            failures.append(Failure(seed, broken.invariant, str(broken)))
    return failures


def tell(failure: Failure, ground: Ground) -> None:
    """Print a failure, the shortest schedule found for it, and how to see it again."""
    say(f"\nSeed {failure.seed} broke: {failure.told}")
    whole = draw(failure.seed)

    def attempt(schedule: Schedule) -> str:
        broken = broken_by(schedule, ground)
        return "" if broken is None else broken.invariant

    short = shortest(whole, failure.invariant, attempt)
    say(f"The shortest schedule found ({len(short.steps)} of {len(whole.steps)} steps):")
    say(str(short))
    say(f"Again: {broken_by(short, ground)}")
    say(f"Replay it with: make faults SEED={failure.seed}")


def say(line: str) -> None:
    """Print a line at once, whoever reads it."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def schedules() -> int:
    """Run what N and SEED ask for; returns 1 if anything broke."""
    asked = os.environ.get("SEED", "")
    first = int(asked) if asked else secrets.randbelow(10**9)
    count = int(os.environ.get("N") or (1 if asked else 2000))
    seeds = range(first, first + count)
    say(f"{count} schedules from seed {first} on {connection.vendor}")
    began = time.monotonic()
    failures: list[Failure] = []
    with _workers(1 if count == 1 else WORKERS) as pool:
        chunks = [seeds[at : at + CHUNK] for at in range(0, count, CHUNK)]
        for done, found in enumerate(pool.imap_unordered(try_seeds, chunks), start=1):
            failures += found
            for failure in found:
                say(f"seed {failure.seed} broke: {failure.invariant}")
            _progress(min(done * CHUNK, count), count, began)
        # In the same processes, for they have their databases.
        for failure in sorted(failures, key=lambda each: each.seed)[:MOST_TOLD]:
            pool.apply(tell_here, (failure,))
    seconds = time.monotonic() - began
    outcome = "nothing broke"
    if failures:
        # Named once more in the last line, which is what is left where only the end is kept.
        named = ", ".join(str(failure.seed) for failure in failures[:MOST_TOLD])
        outcome = f"{len(failures)} broke something, seed {named}"
    say(f"{count} schedules in {seconds:.0f} s, {count / seconds:.1f} a second: {outcome}")
    return 1 if failures else 0


def breakages() -> int:
    """Print the first seed that catches each breakage; returns 1 if one is not caught."""
    missed = 0
    began = time.monotonic()
    with _workers(WORKERS) as pool:
        for name, caught in zip(
            (each.name for each in BREAKAGES), pool.imap(catch, range(len(BREAKAGES))), strict=True
        ):
            missed += not caught
            say(f"{name}\n    {caught or 'NOT CAUGHT'}")
    seconds = time.monotonic() - began
    say(f"{len(BREAKAGES) - missed} of {len(BREAKAGES)} caught in {seconds:.0f} s")
    return 1 if missed else 0


def catch(place: int) -> str:
    """Look for the first schedule that catches a breakage; returns it in words."""
    caught = BREAKAGES[place].caught(_grounds[0], range(MOST_SEEDS))
    return "" if caught is None else f"seed {caught[0]}: {caught[1].invariant}"


def tell_here(failure: Failure) -> None:
    """Tell a failure from the process that has a database."""
    tell(failure, _grounds[0])


@contextmanager
def _workers(count: int) -> Iterator[Pool]:
    """Yield processes that each have a database of their own, thrown away at the end."""
    # Forked before this process has a connection of its own.
    with multiprocessing.get_context("fork").Pool(count, prepare) as pool:
        yield pool
        if connection.vendor != "sqlite":
            pool.map(clean_up, range(count), chunksize=1)


def _progress(done: int, count: int, began: float) -> None:
    if done % 200 == 0 or done == count:
        seconds = time.monotonic() - began
        say(f"  {done} of {count}, {done / seconds:.1f} a second")
