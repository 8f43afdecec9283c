"""Superset as Fleetmart's front: named by SUPERSET_CONFIG_PATH, keeps everything under FLEETMART_HOME/superset.

Only what departs from Superset's defaults stands here; every line of security/ is told why over there.
"""

import os
import sys
from datetime import timedelta
from pathlib import Path

from flask import Flask

FOLDER = Path(__file__).resolve().parent
# By subfolder: the folder above would shadow the installed package with its own name.
sys.path[:0] = [path for path in map(str, (FOLDER / "security", FOLDER / "branding")) if path not in sys.path]

import data_docs  # noqa: E402
import no_data  # noqa: E402
import refusals  # noqa: E402
import related_people  # noqa: E402
import shared_colors  # noqa: E402
import tenancy  # noqa: E402
import white_label  # noqa: E402
from generated_secrets import generated_secrets  # noqa: E402

_home = tenancy.fleetmart_home()
_own = _home / "superset"
_own.mkdir(parents=True, exist_ok=True)
_secrets = generated_secrets(_home)

# --- records and keys
SECRET_KEY = _secrets["superset_secret_key"]
GUEST_TOKEN_JWT_SECRET = _secrets["guest_token_jwt_secret"]
# Provisioning makes new records beside their place and moves them there when they are whole.
_records = os.environ.get("SUPERSET_RECORDS", "superset.db")
SQLALCHEMY_DATABASE_URI = f"sqlite:///{_own / _records}?timeout=30"
DATA_DIR = str(_own)
FILENAME = str(_own / "superset.log")
UPLOAD_FOLDER = str(_own / "uploads") + os.sep
SQLALCHEMY_EXAMPLES_URI = SQLALCHEMY_DATABASE_URI

# --- tenants: the file, the cache and the lists of people
DB_CONNECTION_MUTATOR = tenancy.route_to_own_snapshot
DATA_CACHE_CONFIG = {
    "CACHE_TYPE": "tenant_cache.TenantSnapshotCache",
    "CACHE_DIR": str(_own / "cache"),
    "CACHE_THRESHOLD": 5000,
    "CACHE_DEFAULT_TIMEOUT": int(timedelta(days=1).total_seconds()),
}
EXTRA_RELATED_QUERY_FILTERS = {"user": related_people.same_tenant_users, "role": related_people.own_roles}
PREVENT_UNSAFE_DB_CONNECTIONS = True


def FLASK_APP_MUTATOR(app: Flask) -> None:
    """What is changed of the application itself."""
    shared_colors.install(app)
    no_data.install(app)
    refusals.install(app)
    white_label.install(app)


# --- the product's face
APP_NAME = white_label.brand()["name"]
APP_ICON = "/brand/logo.svg"
LOGO_TOOLTIP = APP_NAME
FAVICONS = [
    {"href": "/brand/favicon.svg", "type": "image/svg+xml", "rel": "icon"},
    {"href": "/brand/favicon.png", "type": "image/png", "rel": "apple-touch-icon", "sizes": "192x192"},
]
THEME_DEFAULT = white_label.theme(dark=False)
THEME_DARK = white_label.theme(dark=True)
ENABLE_UI_THEME_ADMINISTRATION = False
THEME_FONT_URL_ALLOWED_DOMAINS: list[str] = []
EXTRA_CATEGORICAL_COLOR_SCHEMES = white_label.categorical_schemes()
EXTRA_SEQUENTIAL_COLOR_SCHEMES = white_label.sequential_schemes()
COMMON_BOOTSTRAP_OVERRIDES_FUNC = white_label.bootstrap_overrides
BLUEPRINTS = [white_label.blueprint, data_docs.blueprint]
EMAIL_REPORTS_CTA = f"Open in {APP_NAME}"
FAB_API_SWAGGER_UI = False

# --- who may do what: nobody without a log-in, and no site but this one
AUTH_ROLE_PUBLIC = "Public"
PUBLIC_ROLE_LIKE = None
AUTH_USER_REGISTRATION = False
GUEST_ROLE_NAME = "Public"
ENABLE_CORS = False
CORS_OPTIONS: dict[str, object] = {}
WTF_CSRF_ENABLED = True
RATELIMIT_ENABLED = True
AUTH_RATE_LIMITED = True
AUTH_RATE_LIMIT = "40 per minute"
RATELIMIT_APPLICATION = "200 per second"
RATELIMIT_STORAGE_URI = "memory://"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
PERMANENT_SESSION_LIFETIME = timedelta(hours=12)
TALISMAN_ENABLED = True
TALISMAN_CONFIG = {
    "content_security_policy": {
        "base-uri": ["'self'"],
        "default-src": ["'self'"],
        "img-src": ["'self'", "blob:", "data:"],
        "worker-src": ["'self'", "blob:"],
        "connect-src": ["'self'"],
        "object-src": "'none'",
        "style-src": ["'self'", "'unsafe-inline'"],
        "font-src": ["'self'", "data:"],
        "script-src": ["'self'", "'strict-dynamic'"],
    },
    "content_security_policy_nonce_in": ["script-src"],
    # Served on the loopback interface over http; a proxy with TLS in front sets its own headers.
    "force_https": False,
    "session_cookie_secure": False,
}

# --- what is asked of the machine
FEATURE_FLAGS = {
    # security/roles.yml says which dashboards are not for everybody
    "DASHBOARD_RBAC": True,
    "DRILL_BY": True,
    "DRILL_TO_DETAIL": True,
    "DASHBOARD_VIRTUALIZATION": True,
    "ALERT_REPORTS": False,
    "EMBEDDED_SUPERSET": False,
    "ENABLE_TEMPLATE_PROCESSING": False,
    "SQLLAB_BACKEND_PERSISTENCE": True,
    "CSS_TEMPLATES": False,
    "THUMBNAILS": False,
}
ROW_LIMIT = 10_000
SAMPLES_ROW_LIMIT = 500
FILTER_SELECT_ROW_LIMIT = 2_000
SQL_MAX_ROW = 50_000
DISPLAY_MAX_ROW = 5_000
DEFAULT_SQLLAB_LIMIT = 1_000
# Provisioning makes the one logical database, so it is the first.
SQLLAB_DEFAULT_DBID = 1
SQLLAB_TIMEOUT = 30
SUPERSET_WEBSERVER_TIMEOUT = 60
SQLLAB_CTAS_NO_LIMIT = False
CELERY_CONFIG = None
RESULTS_BACKEND = None
ALLOWED_EXTENSIONS: set[str] = set()
SILENCE_FAB = True
LOG_LEVEL = "WARNING"
