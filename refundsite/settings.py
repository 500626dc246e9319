"""The refund desk's settings, read from the environment and safe for production by default.

docs/operations.md lists the variables. One that is missing or malformed stops the start with a
sentence that names it (see `refundsite.environment`).
"""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from refundsite.celery import BROKER_TIMEOUT, transport_options
from refundsite.environment import Environment, is_loopback
from refundsite.logs import configure_structlog, logging_settings

BASE_DIR = Path(__file__).resolve().parent.parent

environment = Environment(os.environ)

# https://docs.djangoproject.com/en/5.2/ref/settings/#debug
DEBUG = environment.flag("DEBUG", default=False)

# https://docs.djangoproject.com/en/5.2/ref/settings/#secret-key
SECRET_KEY = environment.text(
    "SECRET_KEY", hint="a random text of at least 50 characters that nobody else knows"
)

# https://docs.djangoproject.com/en/5.2/ref/settings/#allowed-hosts
ALLOWED_HOSTS = environment.words("ALLOWED_HOSTS", default=["127.0.0.1", "localhost", "[::1]"])

# https://docs.djangoproject.com/en/5.2/ref/settings/#csrf-trusted-origins
CSRF_TRUSTED_ORIGINS = environment.words("CSRF_TRUSTED_ORIGINS")
if not all(origin.startswith(("https://", "http://")) for origin in CSRF_TRUSTED_ORIGINS):
    raise ImproperlyConfigured(
        "CSRF_TRUSTED_ORIGINS is malformed: set it to addresses such as https://desk.example."
    )

# Digital River -------------------------------------------------------------------------------

# The demo, its accounts and the stand-in for Digital River are for trying the desk out. Beside
# a live key, or on a server, a made-up order could be taken for a real one.
LIVE_KEY_PREFIX = "sk_"
TEST_KEY_PREFIX = "sk_test_"

# https://docs.digitalriver.com/digital-river-api/general-resources/versioning
DIGITALRIVER_VERSION = environment.day("DIGITALRIVER_VERSION", "2021-12-13")

# Empty means the stand-in inside this process; an address means that server over HTTP.
DIGITALRIVER_API_URL = environment.address("DIGITALRIVER_API_URL")

# https://docs.digitalriver.com/digital-river-api/developer-resources/api-structure
DIGITALRIVER_API_KEY = environment.text(
    "DIGITALRIVER_API_KEY",
    None if DIGITALRIVER_API_URL and not DEBUG else "sk_test_refund_desk",
    hint="the secret key that Digital River issued for this desk",
)
DIGITALRIVER_KEY_IS_LIVE = DIGITALRIVER_API_KEY.startswith(
    LIVE_KEY_PREFIX
) and not DIGITALRIVER_API_KEY.startswith(TEST_KEY_PREFIX)

# Seconds that one call may take before its outcome counts as unknown.
DIGITALRIVER_TIMEOUT = environment.whole_number("DIGITALRIVER_TIMEOUT", 15, minimum=1)

# Calls a second that all processes together make with this key; Digital River allows 250 with a
# live key and 25 with a test key, and the storefront's calls may count as well.
# https://docs.digitalriver.com/digital-river-api/developer-resources/rate-limiting
DIGITALRIVER_CALLS_PER_SECOND = environment.whole_number(
    "DIGITALRIVER_CALLS_PER_SECOND", 200 if DIGITALRIVER_KEY_IS_LIVE else 20, minimum=1
)

# The secrets that events are signed with; several while one takes the place of another. The
# demo's stand-in signs with the one below; without any, every event is refused.
# https://docs.digitalriver.com/digital-river-api/order-management/events-and-webhooks-1/webhooks/digital-river-signature
DIGITALRIVER_WEBHOOK_SECRETS = environment.words(
    "DIGITALRIVER_WEBHOOK_SECRETS", ["whsec_refund_desk_demo"] if DEBUG else []
)

# Seconds that an event's timestamp may be off.
DIGITALRIVER_WEBHOOK_TOLERANCE = environment.whole_number(
    "DIGITALRIVER_WEBHOOK_TOLERANCE", 300, minimum=1
)

# https://docs.digitalriver.com/digital-river-api/administration/dashboard
DIGITALRIVER_DASHBOARD_URL = environment.address(
    "DIGITALRIVER_DASHBOARD_URL", "https://dashboard.digitalriver.com"
)

# The dotted path of a callable that returns the transport of the in-process stand-in; empty
# means that calls go over the network. Only `refunds.gateways` reads it.
DIGITALRIVER_TRANSPORT = "" if DIGITALRIVER_API_URL else "sandbox.transport.in_process"

# Set to 1 to allow demo accounts, seeding and the stand-in although DEBUG is off.
ALLOW_SANDBOX = environment.flag("ALLOW_SANDBOX", default=DEBUG)

# Why the demo and the stand-in may not run here, as a sentence; empty where they may.
if DIGITALRIVER_KEY_IS_LIVE:
    SANDBOX_REFUSAL = (
        "DIGITALRIVER_API_KEY is a live key: the demo and the Digital River stand-in do not run "
        "beside it; set it to a test key (sk_test_...)."
    )
elif not ALLOW_SANDBOX:
    SANDBOX_REFUSAL = (
        "ALLOW_SANDBOX is not set and DEBUG is off: set ALLOW_SANDBOX=1 to allow the demo and "
        "the Digital River stand-in on this machine."
    )
else:
    SANDBOX_REFUSAL = ""

if not DIGITALRIVER_API_URL and DIGITALRIVER_KEY_IS_LIVE:
    raise ImproperlyConfigured(
        "DIGITALRIVER_API_URL is not set although DIGITALRIVER_API_KEY is a live key: set it to "
        "Digital River's address, https://api.digitalriver.com."
    )
if not DIGITALRIVER_API_URL and SANDBOX_REFUSAL:
    raise ImproperlyConfigured(
        "DIGITALRIVER_API_URL is not set: set it to Digital River's address, "
        "https://api.digitalriver.com, or set ALLOW_SANDBOX=1 to try the desk on made-up orders."
    )
if DIGITALRIVER_KEY_IS_LIVE and not DIGITALRIVER_API_URL.startswith("https://"):
    raise ImproperlyConfigured(
        "DIGITALRIVER_API_URL is not encrypted although DIGITALRIVER_API_KEY is a live key: set "
        "it to an address that starts with https://."
    )

# Where the stand-in keeps its orders and refunds: a SQLite file of its own.
SANDBOX_STATE = Path(environment.text("SANDBOX_STATE", str(BASE_DIR / "var" / "sandbox.sqlite3")))

# Seconds after which a pending refund of the stand-in settles.
SANDBOX_SETTLE_SECONDS = environment.whole_number("SANDBOX_SETTLE_SECONDS", 20)

# The password of the demo accounts.
DEMO_PASSWORD = environment.text("DEMO_PASSWORD", "refunds-demo")

# Salesforce -----------------------------------------------------------------------------------

# The part of the address before .salesforce.com: the My Domain name (acme.my), or login or test
# for the JWT flow. Empty, with SALESFORCE_URL empty as well, means no Salesforce, or the stand-in
# inside this process where that may run.
# https://help.salesforce.com/s/articleView?id=sf.domain_name_overview.htm
SALESFORCE_DOMAIN = environment.host_part("SALESFORCE_DOMAIN", ".salesforce.com", "acme.my")

# Points all calls at another server, such as the stand-in on a port of its own.
SALESFORCE_URL = environment.server("SALESFORCE_URL")

# What a stand-in takes; Salesforce itself gets nothing by default.
STAND_IN_KEY = "stand-in-consumer-key"
STAND_IN_SECRET = "stand-in-consumer-secret"  # noqa: S105 -- opens nothing but the stand-in

# https://help.salesforce.com/s/articleView?id=sf.connected_app_client_credentials_setup.htm
SALESFORCE_CONSUMER_KEY = environment.text(
    "SALESFORCE_CONSUMER_KEY",
    None if SALESFORCE_DOMAIN else STAND_IN_KEY,
    hint="the consumer key of the desk's connected app in Salesforce",
)

# https://help.salesforce.com/s/articleView?id=sf.remoteaccess_oauth_jwt_flow.htm
# The key that signs the JWT and the user that it signs for, in place of a secret.
SALESFORCE_PRIVATE_KEY = environment.private_key("SALESFORCE_PRIVATE_KEY_FILE")
SALESFORCE_USERNAME = environment.text("SALESFORCE_USERNAME", "")
SALESFORCE_CONSUMER_SECRET = environment.text(
    "SALESFORCE_CONSUMER_SECRET",
    "" if SALESFORCE_DOMAIN or SALESFORCE_PRIVATE_KEY else STAND_IN_SECRET,
)
if SALESFORCE_CONSUMER_SECRET and SALESFORCE_PRIVATE_KEY:
    raise ImproperlyConfigured(
        "SALESFORCE_CONSUMER_SECRET and SALESFORCE_PRIVATE_KEY_FILE are both set: set the secret "
        "for the client credentials flow, or the key file with SALESFORCE_USERNAME for JWT."
    )
if not (SALESFORCE_CONSUMER_SECRET or SALESFORCE_PRIVATE_KEY):
    raise ImproperlyConfigured(
        "SALESFORCE_CONSUMER_SECRET is not set although SALESFORCE_DOMAIN is: set it to the "
        "consumer secret, or set SALESFORCE_PRIVATE_KEY_FILE and SALESFORCE_USERNAME for JWT."
    )
if SALESFORCE_PRIVATE_KEY and not SALESFORCE_USERNAME:
    raise ImproperlyConfigured(
        "SALESFORCE_USERNAME is not set although SALESFORCE_PRIVATE_KEY_FILE is: set it to the "
        "username of the integration user in Salesforce."
    )
if SALESFORCE_CONSUMER_SECRET and SALESFORCE_DOMAIN in ("login", "test"):
    raise ImproperlyConfigured(
        "SALESFORCE_DOMAIN is malformed: set it to the My Domain name, such as acme.my; the "
        "client credentials flow does not work at login or test."
    )
if (
    SALESFORCE_URL.startswith("http://")
    and not is_loopback(SALESFORCE_URL)
    and (
        SALESFORCE_PRIVATE_KEY
        or SALESFORCE_CONSUMER_KEY != STAND_IN_KEY
        or SALESFORCE_CONSUMER_SECRET != STAND_IN_SECRET
    )
):
    raise ImproperlyConfigured(
        "SALESFORCE_URL is not encrypted although it gets credentials of Salesforce: set it to an "
        "address that starts with https://, or leave the credentials out for the stand-in."
    )

# https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/intro_rest_versions.htm
SALESFORCE_API_VERSION = environment.matching(
    "SALESFORCE_API_VERSION", r"[1-9][0-9]{1,2}\.0", "a version such as 60.0", "60.0"
)

# What the names of the package's fields begin with; none or empty where they begin with nothing.
# https://developer.salesforce.com/docs/atlas.en-us.pkg2_dev.meta/pkg2_dev/sfdx_dev_dev2gp_namespace.htm
SALESFORCE_NAMESPACE = environment.namespace("SALESFORCE_NAMESPACE", "digitalriverv3")

# The currency of an organisation without multiple currencies, whose records do not name one.
# https://help.salesforce.com/s/articleView?id=sf.admin_currency.htm
SALESFORCE_CURRENCY = environment.currency("SALESFORCE_CURRENCY")

# Seconds to wait for a connection, and for each piece of an answer.
# https://requests.readthedocs.io/en/latest/user/advanced/#timeouts
SALESFORCE_TIMEOUT = environment.whole_number("SALESFORCE_TIMEOUT", 20, minimum=1)

# The dotted path of a callable that returns the requests adapter of the in-process stand-in;
# empty means that calls go over the network. Only `refunds.gateways` reads it.
# https://requests.readthedocs.io/en/latest/user/advanced/#transport-adapters
SALESFORCE_TRANSPORT = (
    ""
    if SALESFORCE_DOMAIN or SALESFORCE_URL or SANDBOX_REFUSAL
    else "sandbox.salesforce.transport.in_process"
)

# Seconds between two looks at what changed in Salesforce, and at the members of the permission
# set, by Celery's beat; 0 turns it off.
# https://docs.celeryq.dev/en/stable/userguide/periodic-tasks.html
SALESFORCE_SYNC_SECONDS = environment.whole_number("SALESFORCE_SYNC_SECONDS", 300)
SALESFORCE_PERMISSION_SET_SECONDS = environment.whole_number(
    "SALESFORCE_PERMISSION_SET_SECONDS", 900
)

# Orders never read before whose money is read from Digital River after each sync, newest first; 0
# leaves it until an order is opened.
SALESFORCE_SYNC_MONEY = environment.whole_number("SALESFORCE_SYNC_MONEY", 0)

# Whether a Task is made on the Salesforce order when a refund settles.
# https://developer.salesforce.com/docs/atlas.en-us.object_reference.meta/object_reference/sforce_api_objects_task.htm
SALESFORCE_TASKS = environment.flag("SALESFORCE_TASKS", default=False)

# Where links to records in Salesforce lead; empty means no links.
# https://help.salesforce.com/s/articleView?id=sf.domain_name_url_formats.htm
SALESFORCE_ADDRESS = environment.address("SALESFORCE_ADDRESS")

# The desk -------------------------------------------------------------------------------------

# The desk's own address, for links that lead back to it from Salesforce; empty means no links.
DESK_ADDRESS = environment.address("DESK_ADDRESS")

# Hours after which a refund that was begun and not submitted is dropped.
DRAFT_HOURS = environment.whole_number("DRAFT_HOURS", 24, minimum=1)

# The storefront's page that collects bank details for refunds of offline payment methods.
STOREFRONT_REFUND_URL = environment.address("STOREFRONT_REFUND_URL")

# Whom a rep without the permission set is told to ask; reads on after "ask".
PERMISSION_CONTACT = environment.text("PERMISSION_CONTACT", "your Salesforce administrator")

# Background work ------------------------------------------------------------------------------

# Seconds between two rounds of the sweep by Celery's beat.
SWEEP_SECONDS = environment.whole_number("SWEEP_SECONDS", 60, minimum=5)

# https://docs.celeryq.dev/en/stable/userguide/configuration.html
# Empty: work goes on in a thread of the process that was asked, and `manage.py sweep` by a timer
# picks up what got lost.
CELERY_BROKER_URL = environment.broker("CELERY_BROKER_URL")
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# The web process that puts work off must not wait for a broker that is away: Digital River waits
# three seconds for the answer to an event.
CELERY_BROKER_CONNECTION_TIMEOUT = BROKER_TIMEOUT
CELERY_BROKER_TRANSPORT_OPTIONS = transport_options(CELERY_BROKER_URL)
# Two desks that share a broker need a queue each.
CELERY_TASK_DEFAULT_QUEUE = environment.text("CELERY_QUEUE", "refund-desk")
# Work is off the queue only once it is done, and goes to another worker should the one that has
# it be killed: every task can be done twice without harm.
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_TASK_IGNORE_RESULT = True
CELERY_TIMEZONE = "UTC"
CELERY_IMPORTS = ["refunds.tasks"]
CELERY_BEAT_SCHEDULE = {
    "sweep": {
        "task": "refunds.tasks.sweep",
        "schedule": SWEEP_SECONDS,
        # A round that waited longer than this is overtaken by the next one.
        "options": {"expires": SWEEP_SECONDS},
    },
}
if SALESFORCE_SYNC_SECONDS:
    CELERY_BEAT_SCHEDULE["sync orders"] = {
        "task": "refunds.tasks.sync_orders",
        "schedule": SALESFORCE_SYNC_SECONDS,
        "options": {"expires": SALESFORCE_SYNC_SECONDS},
    }
if SALESFORCE_PERMISSION_SET_SECONDS:
    CELERY_BEAT_SCHEDULE["permission set"] = {
        "task": "refunds.tasks.sync_permission_set",
        "schedule": SALESFORCE_PERMISSION_SET_SECONDS,
        "options": {"expires": SALESFORCE_PERMISSION_SET_SECONDS},
    }

# Whether work without a broker goes on in a thread; tests do it at once instead.
QUEUE_IN_THREAD = True

# Applications ---------------------------------------------------------------------------------

# https://docs.djangoproject.com/en/5.2/ref/settings/#installed-apps
INSTALLED_APPS = [
    "refunds.apps.RefundsConfig",
    "sandbox.apps.SandboxConfig",
    "demo.apps.DemoConfig",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "axes",
    "crispy_forms",
    "crispy_bootstrap5",
    "csp",
    "django_filters",
    "django_htmx",
    "django_structlog",
]

# https://docs.djangoproject.com/en/5.2/ref/middleware/#middleware-ordering
# LocaleMiddleware is left out: the desk speaks LANGUAGE_CODE to everyone, so that an amount
# reads the same on two reps' screens.
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "refundsite.caching.NeverCacheMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "refundsite.logs.RequestLogMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    # Last, as its documentation asks: it replaces the answer to a locked-out sign-in.
    "axes.middleware.AxesMiddleware",
]
if not DEBUG:
    # https://whitenoise.readthedocs.io/en/stable/django.html
    MIDDLEWARE.insert(1, "whitenoise.middleware.WhiteNoiseMiddleware")

ROOT_URLCONF = "refundsite.urls"
WSGI_APPLICATION = "refundsite.wsgi.application"

# https://docs.djangoproject.com/en/5.2/ref/settings/#templates
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "refunds.context_processors.desk",
            ],
        },
    },
]

# https://django-crispy-forms.readthedocs.io/en/latest/install.html
CRISPY_ALLOWED_TEMPLATE_PACKS = "bootstrap5"
CRISPY_TEMPLATE_PACK = "bootstrap5"
CRISPY_FAIL_SILENTLY = not DEBUG

# Database -------------------------------------------------------------------------------------

# https://docs.djangoproject.com/en/5.2/ref/settings/#databases
database = environment.database("DATABASE_URL", f"sqlite:///{BASE_DIR / 'var' / 'desk.sqlite3'}")
if database["ENGINE"] == "django.db.backends.sqlite3":
    # https://docs.djangoproject.com/en/5.2/ref/databases/#sqlite-notes
    database["OPTIONS"] = {
        # A transaction that turns from reading to writing half-way gets "database is locked"
        # at once; one that asks for the write lock first waits its turn.
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
else:
    # Each thread keeps its connection (docs/decisions.md says why there is no pool), for ten
    # minutes, so that a moved or restarted server is not held on to for ever.
    # https://docs.djangoproject.com/en/5.2/ref/databases/#persistent-connections
    database["CONN_MAX_AGE"] = 600
    # One that a restart of the database broke is replaced before a request uses it.
    database["CONN_HEALTH_CHECKS"] = True
DATABASES: dict[str, dict[str, Any]] = {"default": database}

# https://docs.djangoproject.com/en/5.2/ref/settings/#default-auto-field
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Signing in -----------------------------------------------------------------------------------

# https://docs.djangoproject.com/en/5.2/ref/settings/#auth
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "refunds:orders"
LOGOUT_REDIRECT_URL = None

# https://docs.djangoproject.com/en/5.2/ref/settings/#auth-password-validators
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]

# https://django-axes.readthedocs.io/en/latest/4_configuration.html
# Locked is a name at one address: an office behind one address is not locked out by one
# colleague's typing, and a stranger elsewhere cannot lock a colleague out.
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_LOCKOUT_TEMPLATE = "registration/locked_out.html"
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_VERBOSE = False

# https://docs.djangoproject.com/en/5.2/ref/settings/#sessions
# The desk's own, in the database: whoever leaves the permission set is signed out everywhere.
SESSION_ENGINE = "refunds.models.sessions"
SESSION_COOKIE_AGE = environment.whole_number("SESSION_HOURS", 8, minimum=1) * 3600
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = not DEBUG

# https://docs.djangoproject.com/en/5.2/ref/settings/#csrf-cookie-secure
CSRF_COOKIE_SECURE = not DEBUG
CSRF_COOKIE_HTTPONLY = True
CSRF_FAILURE_VIEW = "refundsite.errors.csrf_failure"

# Safety of the pages --------------------------------------------------------------------------

# https://docs.djangoproject.com/en/5.2/topics/security/#ssl-https
SECURE_SSL_REDIRECT = environment.flag("SECURE_SSL_REDIRECT", default=not DEBUG)
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
SECURE_HSTS_SECONDS = environment.whole_number("SECURE_HSTS_SECONDS", 0 if DEBUG else 31_536_000)
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_SECONDS > 0
SECURE_HSTS_PRELOAD = SECURE_HSTS_SECONDS > 0
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

# https://docs.djangoproject.com/en/5.2/ref/settings/#secure-proxy-ssl-header
# Only a proxy that sets these headers itself may be believed; anyone else could forge them.
if environment.flag("BEHIND_PROXY", default=False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    # The header holds the caller alone, as the proxy wrote it: no further proxies in the list.
    # A longer list has been tampered with, and then the proxy's own address counts.
    AXES_IPWARE_PROXY_COUNT = 0
    AXES_IPWARE_META_PRECEDENCE_ORDER = ["HTTP_X_FORWARDED_FOR", "REMOTE_ADDR"]
else:
    AXES_IPWARE_META_PRECEDENCE_ORDER = ["REMOTE_ADDR"]

# https://django-csp.readthedocs.io/en/latest/configuration.html
# Everything the pages load comes from this host, from a file; data: images are drawn by
# Bootstrap's stylesheet (the tick of a checkbox, the arrow of a select).
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "font-src": [SELF],
        "img-src": [SELF, "data:"],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    },
}

# Language and time ----------------------------------------------------------------------------

# https://docs.djangoproject.com/en/5.2/topics/i18n/
LANGUAGE_CODE = environment.language("LANGUAGE_CODE", "en-us")
TIME_ZONE = environment.time_zone("TIME_ZONE", "UTC")
USE_I18N = True
USE_TZ = True

# Static files ---------------------------------------------------------------------------------

# https://docs.djangoproject.com/en/5.2/howto/static-files/
STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "var" / "static"
STATICFILES_DIRS: list[str | Path | tuple[str, Path]] = [
    BASE_DIR / "static",
    ("vendor/bootstrap", BASE_DIR / "node_modules" / "bootstrap" / "dist" / "css"),
    ("vendor/bootstrap-icons", BASE_DIR / "node_modules" / "bootstrap-icons" / "font"),
]
# https://docs.djangoproject.com/en/5.2/ref/settings/#storages
STORAGES: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage",
    },
}

# Logs -----------------------------------------------------------------------------------------

# https://docs.djangoproject.com/en/5.2/ref/settings/#logging
LOG_FORMAT = environment.choice(
    "LOG_FORMAT", ["json", "console"], default="console" if DEBUG else "json"
)
LOG_LEVEL = environment.choice("LOG_LEVEL", ["DEBUG", "INFO", "WARNING", "ERROR"], default="INFO")
LOGGING = logging_settings(log_format=LOG_FORMAT, level=LOG_LEVEL)
configure_structlog()

# https://django-structlog.readthedocs.io/en/latest/configuration.html
DJANGO_STRUCTLOG_IP_LOGGING_ENABLED = False
DJANGO_STRUCTLOG_TRUST_UPSTREAM_REQUEST_ID = False
DJANGO_STRUCTLOG_TRUST_UPSTREAM_CORRELATION_ID = False
