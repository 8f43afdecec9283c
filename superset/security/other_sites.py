"""Which other sites' scripts may read the interface's answers: none, but those that the operator lists.

They come with a token of a log-in (`Authorization`): a browser sends this product's cookies to no other site.
"""

import os
from typing import Any

from embedding import ORIGIN

LISTED = "FLEETMART_CORS_HOSTS"


class SiteError(ValueError):
    """What is listed and is no site."""


def options() -> dict[str, Any]:
    """Superset's CORS_OPTIONS for the listed origins; empty when there are none.

    Raises SiteError for what is no origin: a wildcard would let everybody's scripts in.
    """
    listed = os.environ.get(LISTED, "").split()
    for site in listed:
        if not ORIGIN.fullmatch(site):
            raise SiteError(f"{LISTED}: {site!r} is no origin. Write such as https://portal.example, and no wildcard.")
    if not listed:
        return {}
    return {
        "resources": r"/api/v1/.*",
        "origins": listed,
        "methods": ["GET", "POST", "PUT", "DELETE"],
        "allow_headers": ["Authorization", "Content-Type"],
        "vary_header": True,
    }
