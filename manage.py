#!/usr/bin/env python
"""Django's command line for the refund desk."""

import os
import sys

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line


def main() -> None:
    """Run one management command.

    A setting that is missing or malformed ends the command with exit status 1 and the one
    sentence that names it: whoever starts the desk needs that sentence, not a traceback.
    """
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "refundsite.settings")
    try:
        # Django keeps quiet about broken settings until a command needs them; ask at once.
        _ = settings.INSTALLED_APPS
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
