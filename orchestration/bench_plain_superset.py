"""Configuration of the plain Superset that `fleetmart bench serve` compares with: its defaults, and a file cache.

Named by SUPERSET_CONFIG_PATH, read by Superset alone; its folder is the variable PLAIN_SUPERSET.
"""

import json
import os
from pathlib import Path

_folder = Path(os.environ.get("PLAIN_SUPERSET", "."))
SECRET_KEY = json.loads((_folder / "secret.json").read_text())
SQLALCHEMY_DATABASE_URI = f"sqlite:///{_folder / 'superset.db'}?timeout=30"
DATA_DIR = str(_folder)
DATA_CACHE_CONFIG = {
    "CACHE_TYPE": "FileSystemCache",
    "CACHE_DIR": str(_folder / "cache"),
    "CACHE_THRESHOLD": 5000,
    # Nothing tells it of new data, so it may be as old as the time between two publishings.
    "CACHE_DEFAULT_TIMEOUT": 60,
}
FEATURE_FLAGS = {"DASHBOARD_RBAC": True, "DASHBOARD_VIRTUALIZATION": True}
LOG_LEVEL = "WARNING"
