"""What `fleetmart embed-token` and `fleetmart embed-key` start, with Superset's Python but without Superset.

One JSON object on standard output; exit 1 with the reason on standard error.
"""

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parent / "security")]

from embed_keys import KeyExists, make_key  # noqa: E402
from embed_tokens import NotEmbeddable, NoUser, mint  # noqa: E402
from embedding import EmbeddingError, dashboards_of  # noqa: E402
from generated_secrets import generated_secrets  # noqa: E402
from tenancy import fleetmart_home  # noqa: E402


def main() -> int:
    """Mint a token, or make a key, and say it on standard output."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    acts = parser.add_subparsers(dest="act", required=True)
    token, key = acts.add_parser("token"), acts.add_parser("key")
    for act in (token, key):
        act.add_argument("--tenant", required=True)
    token.add_argument("--dashboard", required=True)
    token.add_argument("--user", required=True)
    key.add_argument("--rotate", action="store_true")
    try:
        print(json.dumps(act_on(parser.parse_args())))
    except (NotEmbeddable, NoUser, KeyExists, EmbeddingError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def act_on(asked: argparse.Namespace) -> dict[str, Any]:
    """The token or the key that was asked for; raises what `mint` and `make_key` raise."""
    home = fleetmart_home()
    if asked.act == "token":
        secret = generated_secrets(home)["guest_token_jwt_secret"]
        return dataclasses.asdict(mint(secret, asked.tenant, asked.dashboard, asked.user))
    if not dashboards_of(asked.tenant):
        raise NotEmbeddable(f"No dashboard can be embedded for {asked.tenant}, so it needs no key.")
    return {"tenant": asked.tenant, "key": make_key(home, asked.tenant, asked.rotate)}


if __name__ == "__main__":
    sys.exit(main())
