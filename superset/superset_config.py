"""Superset as Fleetmart's front: named by SUPERSET_CONFIG_PATH, keeps everything under FLEETMART_HOME/superset.

Only what departs from Superset's defaults stands here; every line of security/ is told why over there.
"""

import logging
import os
import sys
from datetime import timedelta
from pathlib import Path

from flask import Flask
from flask_appbuilder.const import AUTH_DB, AUTH_OAUTH

FOLDER = Path(__file__).resolve().parent
# By subfolder: the folder above would shadow the installed package with its own name.
_own_code = [str(FOLDER / name) for name in ("security", "branding", "desk", "embedding", "people")]
sys.path[:0] = [path for path in _own_code if path not in sys.path]

import audit  # noqa: E402
import audit_pages  # noqa: E402
import closed_pages  # noqa: E402
import data_docs  # noqa: E402
import desk  # noqa: E402
import embed_pages  # noqa: E402
import embed_tokens  # noqa: E402
import exports  # noqa: E402
import faces  # noqa: E402
import first_asked  # noqa: E402
import framed_tenant  # noqa: E402
import guests  # noqa: E402
import kept_answers  # noqa: E402
import log_in_limits  # noqa: E402
import no_data  # noqa: E402
import no_second_log  # noqa: E402
import oidc_claims  # noqa: E402
import other_sites  # noqa: E402
import own_links  # noqa: E402
import own_queries  # noqa: E402
import own_records  # noqa: E402
import password_rule  # noqa: E402
import people  # noqa: E402
import refusals  # noqa: E402
import related_people  # noqa: E402
import security_manager  # noqa: E402
import services  # noqa: E402
import sessions  # noqa: E402
import shared_colors  # noqa: E402
import spared_work  # noqa: E402
import tenancy  # noqa: E402
import white_label  # noqa: E402
from generated_secrets import generated_secrets  # noqa: E402

_home = tenancy.fleetmart_home()
_own = _home / "superset"
_own.mkdir(parents=True, exist_ok=True)
# Password hashes and sessions lie there.
_own.chmod(0o700)
_secrets = generated_secrets(_home)

# --- records and keys
SECRET_KEY = _secrets["superset_secret_key"]
SQLALCHEMY_DATABASE_URI = services.records(_own)
SQLALCHEMY_ENGINE_OPTIONS = services.engine_options()
DATA_DIR = str(_own)
FILENAME = str(_own / "superset.log")
UPLOAD_FOLDER = str(_own / "uploads") + os.sep
SQLALCHEMY_EXAMPLES_URI = SQLALCHEMY_DATABASE_URI

# --- tenants: the file, the cache and the lists of people
DB_CONNECTION_MUTATOR = tenancy.route_to_own_snapshot
DATA_CACHE_CONFIG = services.results_cache(_own)
FILTER_STATE_CACHE_CONFIG = services.state_cache("filters", days=90)
EXPLORE_FORM_DATA_CACHE_CONFIG = services.state_cache("explore", days=7)
EXTRA_RELATED_QUERY_FILTERS = {"user": related_people.same_tenant_users, "role": related_people.own_roles}
PREVENT_UNSAFE_DB_CONNECTIONS = True


def FLASK_APP_MUTATOR(app: Flask) -> None:
    """What is changed of the application itself."""
    audit.install(app)
    sessions.install(app)
    log_in_limits.install(app)
    own_records.install(app)
    own_links.install(app)
    own_queries.install(app)
    closed_pages.install(app)
    services.install()
    first_asked.install()
    spared_work.install()
    shared_colors.install(app)
    kept_answers.install(app)
    no_data.install(app)
    refusals.install(app)
    white_label.install(app, framed_tenant.tenant_of_page)
    guests.install(app)
    embed_pages.install(app)


# --- the product's face; what a request shows of it is its tenant's: branding/faces.py
_product = faces.brands().of_tenant(None)
APP_NAME = _product.brand.name
APP_ICON = faces.Face(_product).logo
LOGO_TOOLTIP = APP_NAME
FAVICONS: list[dict[str, str]] = []
THEME_DEFAULT = faces.theme(_product, dark=False)
THEME_DARK = faces.theme(_product, dark=True)
ENABLE_UI_THEME_ADMINISTRATION = False
THEME_FONT_URL_ALLOWED_DOMAINS: list[str] = []
EXTRA_CATEGORICAL_COLOR_SCHEMES = faces.categorical_schemes(_product)
EXTRA_SEQUENTIAL_COLOR_SCHEMES = faces.sequential_schemes(_product)
_pages = (white_label, data_docs, desk, people, exports, audit_pages, embed_pages)
BLUEPRINTS = [page.blueprint for page in _pages]
# The menu has no other place for a page of ours that everybody may open.
DOCUMENTATION_URL, DOCUMENTATION_TEXT, DOCUMENTATION_ICON = "/licences", "Licences", "book"
EMAIL_REPORTS_CTA = f"Open in {APP_NAME}"
EMAIL_REPORTS_SUBJECT_PREFIX = ""
FAB_API_SWAGGER_UI = False
COMMON_BOOTSTRAP_OVERRIDES_FUNC = people.with_menu

# --- who may do what: nobody without a log-in, and no site but this one
CUSTOM_SECURITY_MANAGER = security_manager.FleetmartSecurityManager
_provider = oidc_claims.provider()
AUTH_TYPE = AUTH_OAUTH if _provider else AUTH_DB
OAUTH_PROVIDERS = [oidc_claims.remote_app(_provider)] if _provider else []
AUTH_ROLE_PUBLIC = "Public"
PUBLIC_ROLE_LIKE = None
AUTH_USER_REGISTRATION = False
FAB_PASSWORD_COMPLEXITY_ENABLED = True
FAB_PASSWORD_COMPLEXITY_VALIDATOR = password_rule.require_good
CORS_OPTIONS = other_sites.options()
ENABLE_CORS = bool(CORS_OPTIONS)
WTF_CSRF_ENABLED = True
# They change nothing: the first two read data as JSON, which no other site can send; the last notes what a page did.
WTF_CSRF_EXEMPT_LIST = [
    "superset.charts.data.api.data",
    "superset.views.datasource.views.samples",
    "superset.views.core.log",
]
RATELIMIT_ENABLED = True
AUTH_RATE_LIMITED = True
AUTH_RATE_LIMIT = "40 per minute"
RATELIMIT_APPLICATION = "200 per second"
RATELIMIT_STORAGE_URI = services.limits()
RATELIMIT_KEY_PREFIX = "fleetmart"
# Where people come by https, a proxy speaks it, and nobody else reaches this server: what it says of them is believed.
# It has to set Host, X-Forwarded-For and X-Forwarded-Proto itself.
_behind_tls = os.environ.get("FLEETMART_PUBLIC_URL", "").startswith("https://")
ENABLE_PROXY_FIX = _behind_tls
PROXY_FIX_CONFIG = {"x_for": 1, "x_proto": 1, "x_host": 0, "x_port": 0, "x_prefix": 0}
SESSION_COOKIE_SECURE = _behind_tls
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
# security/sessions.py says how they begin and end.
SESSION_SERVER_SIDE = True
globals().update(sessions.kept(_own))
PERMANENT_SESSION_LIFETIME = sessions.LONGEST
SESSION_REFRESH_EACH_REQUEST = False
JWT_ACCESS_TOKEN_EXPIRES = timedelta(minutes=15)
JWT_REFRESH_TOKEN_EXPIRES = sessions.LONGEST
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
        "form-action": ["'self'"],
        "frame-ancestors": ["'self'"],
    },
    "content_security_policy_nonce_in": ["script-src"],
    "permissions_policy": dict.fromkeys(
        ("camera", "geolocation", "microphone", "payment", "serial", "usb", "browsing-topics"), "()"
    ),
    "referrer_policy": "strict-origin-when-cross-origin",
    # Served on the loopback interface over http; a proxy with TLS in front sends http on to https.
    "force_https": False,
    "session_cookie_secure": _behind_tls,
    "strict_transport_security_max_age": int(timedelta(days=365).total_seconds()),
}

# --- embedding: tokens of ours alone, and a frame for listed hosts alone
GUEST_TOKEN_JWT_SECRET = _secrets["guest_token_jwt_secret"]
GUEST_TOKEN_JWT_ALGO = embed_tokens.ALGORITHM
GUEST_TOKEN_JWT_EXP_SECONDS = embed_tokens.LIFETIME_SECONDS
GUEST_TOKEN_JWT_AUDIENCE = embed_tokens.AUDIENCE
GUEST_TOKEN_HEADER_NAME = guests.HEADER
GUEST_TOKEN_VALIDATOR_HOOK = security_manager.only_ours
GUEST_ROLE_NAME = security_manager.GUEST

# --- what is asked of the machine
FEATURE_FLAGS = {
    # security/roles.yml says which dashboards are not for everybody
    "DASHBOARD_RBAC": True,
    "DRILL_BY": True,
    "DRILL_TO_DETAIL": True,
    "DASHBOARD_VIRTUALIZATION": True,
    # run_alerts.py runs them, and sends words and a link, no pictures
    "ALERT_REPORTS": True,
    "ALERTS_ATTACH_REPORTS": False,
    "EMBEDDED_SUPERSET": True,
    "ENABLE_TEMPLATE_PROCESSING": False,
    "SQLLAB_BACKEND_PERSISTENCE": True,
    "CSS_TEMPLATES": False,
    "THUMBNAILS": False,
}
SMTP_MAIL_FROM = os.environ.get("FLEETMART_NOTICE_FROM", "fleetmart@localhost")
ALERT_REPORTS_ENABLE_LINK_REDIRECT = False
_port = os.environ.get("FLEETMART_SUPERSET_PORT", "8088")
WEBDRIVER_BASEURL_USER_FRIENDLY = os.environ.get("FLEETMART_PUBLIC_URL") or f"http://127.0.0.1:{_port}"
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
EVENT_LOGGER = no_second_log.NoSecondLog()
LOG_LEVEL = "WARNING"
# It says so of each metric that is not one of eight functions in capitals, with each answer: thousands of lines a day.
logging.getLogger("superset.utils.core").addFilter(lambda line: "Unexpected metric expression" not in str(line.msg))
