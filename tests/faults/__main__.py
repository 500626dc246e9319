"""`make faults`: as many schedules as asked for, and for what breaks the shortest one found.

N says how many there shall be, SEED which one; without SEED they begin at one drawn by chance.
`make breakages` breaks the code on purpose instead, and prints which seed catches what.
Takes the database engine of DATABASE_URL, and makes databases of its own on it.
"""

import os
import sys
from importlib import import_module

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
os.environ.setdefault("DATABASE_URL", "sqlite://:memory:")

if __name__ == "__main__":
    django.setup()
    command = import_module("tests.faults.command")
    sys.exit(command.breakages() if sys.argv[1:] == ["breakages"] else command.schedules())
