"""Measures the pages on the database that ``DATABASE_URL`` names; started by ``benchmarks``."""

import os
import sys
import time

import django
from django.core.management import call_command
from django.db import connections

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")
django.setup()

# Django has to be set up before models are imported.
from benchmarks.filling import fill  # noqa: E402
from benchmarks.inspecting import inspect  # noqa: E402
from benchmarks.measuring import invite, measure, samples  # noqa: E402
from benchmarks.places import at, place  # noqa: E402
from benchmarks.report import table  # noqa: E402
from benchmarks.settings import DIRECTORY, SIZES, STATIC_ROOT  # noqa: E402


def main(rounds: int, seconds: float, inspected: str) -> int:
    """Fill, measure and report; returns how many targets were missed."""
    if not STATIC_ROOT.exists():
        call_command("collectstatic", interactive=False, verbosity=0)
    guests = []
    for size in SIZES:
        started = time.monotonic()
        where = place(DIRECTORY, size)
        with at(where):
            fill(where)
        guests.append(invite(where))
        print(f"Filled with {size:,} orders in {time.monotonic() - started:.0f} s.", flush=True)
    if inspected:
        for guest in guests:
            inspect(guest, (each for each in guest.screens if inspected in each.name))
    taken = [sample for guest in guests for sample in samples(guest)]
    started = time.monotonic()
    done = measure(taken, rounds=rounds, within=seconds)
    database, clock = connections[str(SIZES[0])].display_name, guests[0].visitor.clock
    lines, missed = table(database, clock.name, taken)
    print(*lines, sep="\n")
    floor = next(sample for sample in taken if sample.name == "floor")
    print(
        f"\nThe floor took {floor.wall_milliseconds:.1f} ms on the wall for"
        f" {floor.milliseconds:.1f} ms counted; much more means that the machine was busy."
    )
    print(f"{done} rounds in {time.monotonic() - started:.0f} s; {missed} targets missed.")
    connections.close_all()
    return missed


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3])
