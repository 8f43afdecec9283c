"""Every setting in one place; whatever is stored lives under `home`, and nowhere else."""

import tempfile
from pathlib import Path

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from orchestration.errors import FleetmartError

ROOT = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """Settings from the environment, prefix `FLEETMART_`."""

    model_config = SettingsConfigDict(env_prefix="FLEETMART_", frozen=True)

    home: Path = Field(ROOT / "var", description="Where all data lives.")
    sources: Path = Field(ROOT / "orchestration" / "sources", description="Folder of declared sources.")
    registry: Path = Field(ROOT / "orchestration" / "registry", description="Folder of the registry's tables.")
    superset_port: int = Field(8088, gt=0, lt=65536, description="Port of the dashboards on 127.0.0.1.")
    dagster_port: int = Field(3000, gt=0, lt=65536, description="Port of Dagster's UI on 127.0.0.1.")
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
    lock_wait_seconds: float = Field(900, ge=0, description="How long a writer waits for another one.")

    @field_validator("home", "sources", "registry")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        return path.expanduser().absolute()

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
