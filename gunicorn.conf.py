"""How gunicorn serves the desk: `make serve`.

See https://docs.gunicorn.org/en/stable/settings.html
"""

import os
import sys

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "refundsite.settings")
try:
    # Asked here, so that a missing variable stops the start once, in one sentence, and not
    # each worker in turn with a traceback.
    longest_call_seconds = settings.DIGITALRIVER_TIMEOUT
except ImproperlyConfigured as error:
    sys.exit(str(error))

wsgi_app = "refundsite.wsgi:application"
bind = os.environ.get("BIND", f"127.0.0.1:{os.environ.get('PORT', '8000')}")

# A worker's threads wait for Digital River most of the time; WEB_CONCURRENCY sets the workers.
worker_class = "gthread"
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
threads = 4

# A refund that is being sent when the server stops gets the time to hear the answer.
timeout = 4 * longest_call_seconds
graceful_timeout = 2 * longest_call_seconds

# The desk logs each request itself, without its query; a line of gunicorn's would carry it.
accesslog = None
control_socket_disable = True

# BEHIND_PROXY alone says whether a proxy's headers are believed.
secure_scheme_headers: dict[str, str] = {}
