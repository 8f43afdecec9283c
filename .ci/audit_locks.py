"""Ask whether known vulnerabilities stand in what the locks install; `make audit`.

A vulnerability that a newer version mends fails, unless accepted_vulnerabilities.yml says until when it may stand, and
why. Where nobody can be asked, this says so and passes: being offline is no fault of the locks.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("requirements.lock", "superset/requirements.lock")
ACCEPTED = Path(__file__).with_name("accepted_vulnerabilities.yml")
# What the HTTP client says when it reaches nobody.
UNREACHED = ("ConnectionError", "ConnectTimeout", "ReadTimeout", "ProxyError", "SSLError", "ServiceError")
TIMEOUT_SECONDS = 15


class NobodyAsked(Exception):
    """The service that knows vulnerabilities could not be reached, or knows no package."""


@dataclass(frozen=True)
class Finding:
    """A vulnerability of a package at its locked version, and the versions that mend it."""

    lock: str
    package: str
    names: tuple[str, ...]
    mended_in: tuple[str, ...]

    def __str__(self) -> str:
        mended = f"mended in {', '.join(self.mended_in)}" if self.mended_in else "mended in no version yet"
        return f"{self.lock}: {self.package}: {', '.join(self.names)}, {mended}"


def main() -> int:
    """Say what was found; 1 when something is to be done."""
    accepted, today = read_accepted(ACCEPTED), datetime.now(UTC).date()
    try:
        found = [finding for lock in LOCKS for finding in findings(lock)]
    except NobodyAsked as error:
        print(f"audit: nobody could be asked about vulnerabilities, so nothing is known of them: {error}")
        return 0
    failing = [finding for finding in found if finding.mended_in and not is_accepted(finding, accepted, today)]
    for finding in found:
        print(f"audit: {'FAIL' if finding in failing else 'known'}: {finding}")
    if failing:
        print(f"audit: `make lock` takes newer versions, or accept one for a while in {ACCEPTED.relative_to(ROOT)}.")
        return 1
    print(f"audit: {len(LOCKS)} locks asked about, nothing to be done")
    return 0


def findings(lock: str) -> Iterator[Finding]:
    """The known vulnerabilities of what a lock installs here.

    Raises NobodyAsked when the service cannot be asked, RuntimeError when pip-audit fails otherwise.
    """
    command = [
        sys.executable,
        "-m",
        "pip_audit",
        "--disable-pip",
        "--require-hashes",
        "--requirement",
        str(ROOT / lock),
    ]
    options = ["--format", "json", "--progress-spinner", "off", "--timeout", str(TIMEOUT_SECONDS)]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except ValueError:
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        if any(word in done.stderr for word in UNREACHED):
            raise NobodyAsked(said[-1]) from None
        raise RuntimeError(f"pip-audit failed for {lock}: {said[-1]}") from None
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    # A mirror of an index serves packages, and knows nothing about them.
    if len(unknown) == len(packages):
        raise NobodyAsked(f"none of the {len(packages)} packages of {lock} is known to the service")
    if unknown:
        print(f"audit: {lock}: the service does not know {', '.join(unknown)}")
    for package in packages:
        for one in package.get("vulns", []):
            names = (one["id"], *one.get("aliases", []))
            yield Finding(lock, f"{package['name']} {package['version']}", names, tuple(one["fix_versions"]))


def read_accepted(path: Path) -> dict[str, date]:
    """Until which day each vulnerability may stand, by its name.

    Raises ValueError for one without a reason or a day.
    """
    accepted = {}
    for one in yaml.safe_load(path.read_text()) or []:
        if not (set(one) == {"id", "until", "why"} and isinstance(one["until"], date) and str(one["why"]).strip()):
            raise ValueError(f"{path}: {one} needs an id, a day `until` which it may stand, and why.")
        accepted[one["id"]] = one["until"]
    return accepted


def is_accepted(finding: Finding, accepted: dict[str, date], today: date) -> bool:
    """Whether somebody said that it may stand today."""
    return any(accepted.get(name, date.min) >= today for name in finding.names)


if __name__ == "__main__":
    sys.exit(main())
