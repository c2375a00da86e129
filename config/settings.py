"""Settings, all of them from the environment.

`manage.py up` writes what it started (addresses, DEBUG) to ``DATA_DIR/run.env``; a
``manage.py shell`` in another terminal reads it from there. A variable of the real
environment wins over the file.
"""

import os
from pathlib import Path
from typing import Any

import environ
from csp.constants import NONE, SELF

BASE_DIR = Path(__file__).resolve().parent.parent


class Environment(environ.Env):  # type: ignore[misc]  # it has no types
    ENVIRON = dict(os.environ)  # a copy: what run.env says must not look as if a person had set it


env = Environment()
DATA_DIR = Path(env.str("DATA_DIR", default=str(BASE_DIR / ".data"))).resolve()
Environment.read_env(DATA_DIR / "run.env")

DEBUG = env.bool("DEBUG", default=False)
INSECURE_SECRET_KEY = "insecure-key-for-demonstration-and-tests-only"  # noqa: S105
SECRET_KEY = env.str("SECRET_KEY", default=INSECURE_SECRET_KEY)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
PUBLIC_URL = env.str("PUBLIC_URL", default="http://127.0.0.1:8000")

INSTALLED_APPS = [
    "config",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "django.contrib.humanize",
    "django.forms",
    "django_rq",
    "django_htmx",
    "rest_framework",
    "knox",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "axes",
    "csp",
    "sagas",
    "inventory",
    "payments",
    "shipping",
    "shop",
    "examples.banking",
    "examples.travel",
    "examples.video",
    "sandbox",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "config.nul.no_nul_in_the_admin",
    "django_htmx.middleware.HtmxMiddleware",
    "config.fragments.whole_page_logs_in",
    "axes.middleware.AxesMiddleware",
    "config.problems.UnavailableMiddleware",
]

AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
AXES_FAILURE_LIMIT = 10
AXES_VERBOSE = False
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_LOCKOUT_CALLABLE = "config.problems.locked_out"

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# --- PostgreSQL: the truth ---------------------------------------------------------------
# The limits are correctness settings: a worker that is frozen inside a transaction must lose
# its row locks before anybody gives up waiting for them.
NO_DATABASE_URL = "postgres://nobody@127.0.0.1:1/run-make-run-or-set-DATABASE_URL"
DATABASE_URL = env.str("DATABASE_URL", default=NO_DATABASE_URL)
_database: dict[str, Any] = env.db_url_config(DATABASE_URL)
_options = _database.get("OPTIONS", {})
_database["HOST"] = _options.pop("host", _database["HOST"])  # a Unix socket: postgres://user@/name?host=/folder
_database["OPTIONS"] = {
    **_options,
    "connect_timeout": 5,
    # When packets vanish, nobody is told: the side that waits asks after five seconds of silence, the side that
    # sends gives up after ten. The same for the server's side, or the session of a lost host would stay for hours.
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "options": (
        "-c lock_timeout=2s -c statement_timeout=10s -c idle_in_transaction_session_timeout=5s "
        "-c client_connection_check_interval=5s -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 "
        "-c tcp_keepalives_count=3 -c tcp_user_timeout=10s -c timezone=UTC"
    ),
}
_database["CONN_MAX_AGE"] = None
_database["CONN_HEALTH_CHECKS"] = True
DATABASES = {"default": _database}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Redis or Valkey: the hint -----------------------------------------------------------
REDIS_URL = env.str("REDIS_URL", default="redis://127.0.0.1:1/0")
RQ_QUEUES = {
    "sagas": {
        "URL": REDIS_URL,
        "DEFAULT_TIMEOUT": 300,
        "SERIALIZER": "rq.serializers.JSONSerializer",
        # Never longer than a shopper would notice: the row is the truth, the hint may be lost.
        "REDIS_CLIENT_KWARGS": {"socket_connect_timeout": 0.05, "socket_timeout": 10},
    },
}
RQ = {"JOB_CLASS": "rq.job.Job"}

# --- Sagas ---------------------------------------------------------------------------------
SAGAS_CALLS_IN_FLIGHT = env.int("SAGAS_CALLS_IN_FLIGHT", default=64)  # of one worker process
SAGAS_KEEP_DAYS = env.int("SAGAS_KEEP_DAYS", default=30)  # after their end
SAGAS_KEEP_TOUCHED_DAYS = env.int("SAGAS_KEEP_TOUCHED_DAYS", default=365)  # those a person touched
# Above so many minor units (cents) an unknown outcome is resolved by one person and confirmed by another.
SAGAS_TWO_PEOPLE_ABOVE = env.int("SAGAS_TWO_PEOPLE_ABOVE", default=50_000)
# Who carries an order out that does not say: "orchestrated", a saga, or "choreographed", the services by their events.
CHECKOUT_MODE = env.str("CHECKOUT_MODE", default="orchestrated")

# How events are carried: "local", through PostgreSQL alone, or "redis-streams", where other services take part.
EVENTS_TRANSPORT = env.str("EVENTS_TRANSPORT", default="local")
EVENTS_STREAM = env.str("EVENTS_STREAM", default="events")
EVENTS_GROUP = env.str("EVENTS_GROUP", default="shop")  # what this service is called among the readers

# --- The outside services -----------------------------------------------------------------
SANDBOX = env.bool("SANDBOX", default=False)  # the demonstration bank and carrier may run
BANK_URL = env.str("BANK_URL", default="https://api.stripe.com")
BANK_API_KEY = env.str("BANK_API_KEY", default="sk_test_sandbox")
BANK_WEBHOOK_SECRETS = env.list("BANK_WEBHOOK_SECRETS", default=["whsec_sandbox"])
CARRIER_URL = env.str("CARRIER_URL", default="https://api.easypost.com")
CARRIER_API_KEY = env.str("CARRIER_API_KEY", default="EZTK_sandbox")
CARRIER_WEBHOOK_SECRETS = env.list("CARRIER_WEBHOOK_SECRETS", default=["whsec_sandbox"])

# So many failures in a row open the circuit to a service; nobody calls it for a while then.
CIRCUIT_BREAKER_FAILURES = env.int("CIRCUIT_BREAKER_FAILURES", default=5)

# --- Monitoring ---------------------------------------------------------------------------
# What Prometheus sends as its bearer token to /metrics; without one only staff may read it.
METRICS_TOKEN = env.str("METRICS_TOKEN", default="")
# Traces go where OpenTelemetry's own variable says; without it nothing of OpenTelemetry is imported.
TELEMETRY = bool(env.str("OTEL_EXPORTER_OTLP_ENDPOINT", default=""))
if TELEMETRY:
    MIDDLEWARE = ["config.telemetry.TraceMiddleware", *MIDDLEWARE]
# Who is told of alerts; the webhook is signed with the secret.
SAGAS_ALERT_EMAILS = env.list("SAGAS_ALERT_EMAILS", default=[])
SAGAS_ALERT_WEBHOOK_URL = env.str("SAGAS_ALERT_WEBHOOK_URL", default="")
SAGAS_ALERT_WEBHOOK_SECRET = env.str("SAGAS_ALERT_WEBHOOK_SECRET", default="")
SAGAS_ALERT_UNKNOWN_MINUTES = env.int("SAGAS_ALERT_UNKNOWN_MINUTES", default=15)  # an outcome, while it is asked about
SAGAS_ALERT_LOCK_HOURS = env.int("SAGAS_ALERT_LOCK_HOURS", default=24)  # held by a saga that does not wait by plan

# --- Examples ------------------------------------------------------------------------------
VIDEO_DIR = Path(env.str("VIDEO_DIR", default=str(DATA_DIR / "video")))  # shared by all hosts that run workers

# --- API ------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    # The token first: its challenge makes a missing login a 401.
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "config.authentication.Tokens",
        "config.authentication.SameOriginSession",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_THROTTLE_CLASSES": ["config.throttling.DatabaseThrottle"],
    "DEFAULT_PAGINATION_CLASS": "config.pagination.CursorPages",
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "config.parsing.AlwaysJSON",
    "DEFAULT_PARSER_CLASSES": ["config.parsing.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "config.openapi.ProblemAutoSchema",
    "EXCEPTION_HANDLER": "config.problems.exception_handler",
    "URL_FORMAT_OVERRIDE": None,
}
# For each client: a user, or a guest's address.
API_REQUESTS_PER_MINUTE = {
    "orders": env.int("API_ORDERS_PER_MINUTE", default=60),
    "login": env.int("API_LOGINS_PER_MINUTE", default=10),
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Saga shop",
    "VERSION": "1",
    "DESCRIPTION": "Errors are problem documents (RFC 9457): `application/problem+json` with a stable `type`.",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "OrderStatus": "shop.models.Order.Status",
        "SagaStatus": "sagas.api.serializers.STATUSES",
        "ActionStatus": "sagas.states.ActionStatus",
        "CompensationStatus": "sagas.states.CompensationStatus",
    },
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 64 * 1024

# --- Pages ------------------------------------------------------------------------------------
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True
STATIC_URL = "static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if not env.bool("STATIC_MANIFEST", default=not DEBUG)
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}
LOGIN_URL = "shop:login"
LOGIN_REDIRECT_URL = LOGOUT_REDIRECT_URL = "shop:home"
EMAIL_TIMEOUT = 10
EMAIL_BACKEND = env.str("EMAIL_BACKEND", default="django.core.mail.backends.console.EmailBackend")
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="shop@localhost")

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:"],
        "style-src": [SELF],
        "script-src": [SELF],
        "frame-ancestors": [NONE],
        "form-action": [SELF],
        "base-uri": [NONE],
        "object-src": [NONE],
    }
}
X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = env.bool("HTTPS", default=not DEBUG)
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]  # probes come without TLS
SECURE_HSTS_SECONDS = 31_536_000 if SECURE_SSL_REDIRECT else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = SECURE_SSL_REDIRECT

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": "config.logs.line"}, "json": {"()": "config.logs.as_json"}},
    # For a person who looks on, or for a collector: one JSON object a line.
    "handlers": {
        "console": {"class": "logging.StreamHandler", "formatter": env.str("LOG_FORMAT", default="line")},
    },
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", default="INFO")},
    # The SDK would log two lines for every call.
    "loggers": {"stripe": {"level": "WARNING"}},
}
