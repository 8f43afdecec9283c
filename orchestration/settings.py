"""Every setting in one place; whatever is stored lives under `home`, and nowhere else."""

import tempfile
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from orchestration.errors import FleetmartError
from orchestration.registry_rows import ADDRESS

ROOT = Path(__file__).resolve().parent.parent


def _with_host(url: SecretStr | None, schemes: tuple[str, ...]) -> SecretStr | None:
    """What is wrong is told without the address, which may hold a password."""
    if url is None:
        return None
    try:
        parts = urlsplit(url.get_secret_value())
        is_whole = parts.scheme in schemes and parts.hostname is not None and parts.port != 0
    except ValueError:
        is_whole = False
    if not is_whole:
        raise ValueError(f"it is no address such as {schemes[0]}://user:password@host:port")
    return url


class Settings(BaseSettings):
    """Settings from the environment, prefix `FLEETMART_`."""

    model_config = SettingsConfigDict(env_prefix="FLEETMART_", frozen=True)

    home: Path = Field(ROOT / "var", description="Where all data lives.")
    sources: Path = Field(ROOT / "orchestration" / "sources", description="Folder of declared sources.")
    registry: Path = Field(ROOT / "orchestration" / "registry", description="Folder of the registry's tables.")
    assets: Path = Field(ROOT / "superset" / "assets", description="Folder of the dashboards' files.")
    branding: Path = Field(ROOT / "superset" / "branding" / "tenants", description="Folder of the tenants' brands.")
    superset_port: int = Field(8088, gt=0, lt=65536, description="Port of the dashboards on 127.0.0.1.")
    dagster_port: int = Field(3000, gt=0, lt=65536, description="Port of Dagster's UI on 127.0.0.1.")
    portal_port: int = Field(8090, gt=0, lt=65536, description="Port of the example portal on 127.0.0.1.")
    embed_key: SecretStr | None = Field(None, description="Key of the tenant whose portal is shown.")
    detail_days: int = Field(400, gt=0, description="Days of single readings a snapshot carries.")
    memory_limit: str = Field("2500MB", description="Most memory DuckDB may take in one step.")
    landing_url: str | None = Field(None, description="Where files arrive beside landing, such as s3://bucket/landing.")
    settle_seconds: float = Field(2, ge=0, description="How long a landing file must lie unchanged before it is taken.")
    readers: int = Field(2, gt=0, description="Files that are read at the same time.")
    lake_files: int = Field(16, gt=0, description="Most files of a partition before they are made into one.")
    lake_hours: int = Field(24, ge=0, description="Hours for which replaced files stay for readers of older versions.")
    mqtt_username: str | None = Field(None, description="User name at MQTT brokers.")
    mqtt_password: SecretStr | None = Field(None, description="Password at MQTT brokers.")
    mqtt_ca_file: Path | None = Field(None, description="Authority of MQTT brokers' certificates, if not the system's.")
    smtp_url: SecretStr | None = Field(
        None, description="Mail server for notices and alerts, as smtp://user:password@host:25."
    )
    notice_from: str = Field(
        "fleetmart@localhost", pattern=ADDRESS, description="Sender of notices and alerts by e-mail."
    )
    notice_webhook: SecretStr | None = Field(None, description="Address to which notices are posted as JSON.")
    public_url: str | None = Field(None, description="Where people reach the dashboards; with https, behind a proxy.")
    cors_hosts: str = Field("", description="Other sites whose scripts may call the API with a token: origins.")
    query_seconds: float = Field(30, gt=0, description="How long a query of a dashboard or of SQL Lab may run.")
    lock_wait_seconds: float = Field(900, ge=0, description="How long a writer waits for another one.")
    # What follows is read by superset/security/services.py and oidc.py, in Superset's own processes.
    superset_database: SecretStr | None = Field(None, description="PostgreSQL for the dashboards' records, as a URL.")
    superset_database_file: Path | None = Field(None, description="File of mode 600 that holds that URL instead.")
    redis_url: SecretStr | None = Field(None, description="Redis for caches and counts of attempts, as a URL.")
    redis_url_file: Path | None = Field(None, description="File of mode 600 that holds that URL instead.")
    server_workers: int = Field(2, gt=0, description="Processes of the dashboards' server.")
    server_threads: int = Field(8, gt=0, description="Threads of each of them.")
    oidc_issuer: str | None = Field(None, description="Identity provider (OpenID Connect) that people log in through.")
    oidc_name: str = Field("your company account", description="What completes 'Sign in with' on the log-in page.")
    oidc_client_id: str | None = Field(None, description="What this product is called at the identity provider.")
    oidc_client_secret: SecretStr | None = Field(None, description="Its secret there.")
    oidc_client_secret_file: Path | None = Field(None, description="File of mode 600 that holds that secret instead.")
    oidc_tenant_claim: str = Field("tenant", description="Claim that names a person's tenant.")
    oidc_roles_claim: str = Field("roles", description="Claim that names a person's persona among others.")
    oidc_admin: bool = Field(False, description="Whether the role admin of the operator's people counts.")
    oidc_local_log_in: Literal["off", "operator"] = Field("off", description="Who may log in with a password as well.")

    @field_validator("home", "sources", "registry", "branding", "assets")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        return path.expanduser().absolute()

    @field_validator("smtp_url")
    @classmethod
    def _of_a_mail_server(cls, url: SecretStr | None) -> SecretStr | None:
        return _with_host(url, ("smtp", "smtps"))

    @field_validator("notice_webhook")
    @classmethod
    def _of_a_webhook(cls, url: SecretStr | None) -> SecretStr | None:
        return _with_host(url, ("http", "https"))

    @property
    def dashboards_url(self) -> str:
        """Where people reach the dashboards, without a slash at its end."""
        return (self.public_url or f"http://127.0.0.1:{self.superset_port}").rstrip("/")

    @property
    def landing(self) -> Path:
        return self.home / "landing"

    @property
    def listening(self) -> Path:
        return self.home / "listen"

    @property
    def staging(self) -> Path:
        return self.home / "staging"

    @property
    def archive(self) -> Path:
        return self.home / "archive"

    @property
    def set_aside(self) -> Path:
        return self.home / "set-aside"

    @property
    def lake_readings(self) -> Path:
        return self.home / "lake" / "readings"

    @property
    def lake_rejected(self) -> Path:
        return self.home / "lake" / "rejected_rows"

    @property
    def ledger(self) -> Path:
        return self.home / "ledger.sqlite"

    @property
    def warehouse(self) -> Path:
        return self.home / "warehouse.duckdb"

    @property
    def serving(self) -> Path:
        return self.home / "serving"

    @property
    def quality(self) -> Path:
        return self.home / "quality"

    @property
    def models_page(self) -> Path:
        return self.quality / "models.html"

    @property
    def credentials(self) -> Path:
        return self.home / "credentials.json"

    @property
    def secrets(self) -> Path:
        return self.home / "secrets.json"

    @property
    def dagster_home(self) -> Path:
        return self.home / "dagster"

    @property
    def dbt_target(self) -> Path:
        return self.home / "dbt" / "target"

    def prepare_home(self) -> None:
        """Make the home and prove that it can be written.

        Raises FleetmartError with the path when it cannot.
        """
        try:
            self.home.mkdir(parents=True, exist_ok=True)
            self.landing.mkdir(exist_ok=True)
            with tempfile.TemporaryFile(dir=self.home):
                pass
        except OSError as error:
            raise FleetmartError(
                f"{self.home} cannot be written ({error.strerror}). "
                "Set FLEETMART_HOME to a folder that this user may write to."
            ) from error
