"""Listening to a real Mosquitto: whatever stops, and whenever, every message lands once."""

import getpass
import json
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import paho.mqtt.client as paho
import pytest

from orchestration.errors import FleetmartError
from orchestration.landing import waiting_files
from orchestration.ledger import rows
from orchestration.listen import line_of, topic_filter
from orchestration.load import load_waiting
from orchestration.settings import Settings
from orchestration.sources import read_source
from tests.conftest import FLEETMART, environment_of, free_port, run_fleetmart

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
TOPIC = "fleet/LHB/R80711/telemetry"
PATIENCE = 30
LOG_IN = ("FLEETMART_MQTT_USERNAME", "FLEETMART_MQTT_PASSWORD")

SOURCE = """\
source: turbines
description: One message per turbine and minute.
tenant: la-haute-borne
site: {column: topic.site}
device: {column: topic.device}
format: {type: jsonl}
measured_at: {column: payload.at}
metrics:
  payload.power: active_power
  payload.wind.speed: wind_speed
mqtt: {topic: "fleet/{site}/{device}/telemetry", PLACE}
"""

# The step of a batch after which the listener dies, as what is replaced by its death.
DIES_BEFORE = {
    "the journal's commit": "listen.Batches._note",
    "the file's name": "listen.os.replace",
    "the acknowledgement": "paho.Client.ack",
}
DYING = """\
import os, signal
import paho.mqtt.client as paho
from orchestration import cli, listen
{step} = lambda *a: os.kill(os.getpid(), signal.SIGKILL)
cli.main(["listen", "turbines"])
"""


class Broker:
    """A Mosquitto of its own, which can be stopped and started again with what it remembers."""

    def __init__(self, folder: Path, *more: str) -> None:
        folder.mkdir()
        self.port = free_port()
        self._log = folder / "mosquitto.log"
        self._config = folder / "mosquitto.conf"
        lines = [
            f"listener {self.port} 127.0.0.1",
            f"user {getpass.getuser()}",
            "persistence true",
            f"persistence_location {folder}/",
            "max_queued_messages 0",
            *(more or ["allow_anonymous true"]),
        ]
        self._config.write_text("\n".join(lines) + "\n")
        self.start()

    def start(self) -> None:
        with self._log.open("a") as log:
            self._process = subprocess.Popen([MOSQUITTO, "-c", str(self._config)], stdout=log, stderr=log)
        wait_until(self._answers, lambda: self._log.read_text())

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=PATIENCE)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def publish(self, payloads: list[bytes], topic: str = TOPIC) -> None:
        """Publish with QoS 1; returns when the broker has acknowledged all of it."""
        client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        client.connect("127.0.0.1", self.port)
        client.loop_start()
        try:
            for sent in [client.publish(topic, payload, qos=1) for payload in payloads]:
                sent.wait_for_publish(timeout=PATIENCE)
        finally:
            client.disconnect()
            client.loop_stop()


class Listening:
    """`fleetmart listen turbines` as a process, and what it says."""

    def __init__(
        self,
        settings: Settings,
        log: Path,
        command: list[str] | None = None,
        log_in: tuple[str, str] = ("", ""),
        **options,
    ) -> None:
        self._log = log
        self._said_before = len(log.read_text()) if log.exists() else 0
        with log.open("a") as said:
            self.process = subprocess.Popen(
                command or [FLEETMART, "listen", "turbines", "--json"],
                env=environment_for(settings) | dict(zip(LOG_IN, log_in, strict=True)),
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
                **options,
            )

    def said(self) -> str:
        return self._log.read_text()[self._said_before :]

    def wait_for(self, words: str, times: int = 1) -> "Listening":
        wait_until(lambda: self.said().count(words) >= times or self.process.poll() is not None, self.said)
        assert self.said().count(words) >= times, self.said()
        return self

    def connected(self) -> "Listening":
        return self.wait_for("listen: connected")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> dict:
        """Ask it to end as a supervisor does; returns its answer."""
        self.process.send_signal(signal.SIGTERM)
        answer, _ = self.process.communicate(timeout=PATIENCE)
        assert self.process.returncode == 0, self.said()
        return json.loads(answer)

    def ended(self) -> str:
        """Wait until it ends by itself, with exit code 1; returns what it said."""
        assert self.process.wait(timeout=PATIENCE) == 1, self.said()
        assert "Traceback" not in self.said()
        return self.said()


def wait_until(holds: Callable[[], bool], said: Callable[[], str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, said()
        time.sleep(0.05)


def environment_for(settings: Settings) -> dict[str, str]:
    return environment_of(settings.home) | {
        "FLEETMART_SOURCES": str(settings.sources),
        "FLEETMART_REGISTRY": str(settings.registry),
    }


@pytest.fixture
def make_broker(tmp_path: Path) -> Iterator[Callable[..., Broker]]:
    if MOSQUITTO is None:
        reason = "There is no mosquitto on this machine; install the package of that name."
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    brokers = []

    def make(*more: str) -> Broker:
        brokers.append(Broker(tmp_path / "broker", *more))
        return brokers[-1]

    yield make
    for broker in brokers:
        broker.stop()


@pytest.fixture
def broker(make_broker: Callable[..., Broker]) -> Broker:
    return make_broker()


@pytest.fixture
def home(small: Callable[..., Settings]) -> Settings:
    return small()


@pytest.fixture
def start(home: Settings, tmp_path: Path) -> Iterator[Callable[..., Listening]]:
    """Starts listeners, and ends those that a failed test left."""
    started = []

    def make(settings: Settings = home, **options) -> Listening:
        started.append(Listening(settings, tmp_path / f"{settings.home.name}.log", **options))
        return started[-1]

    yield make
    for one in started:
        if one.process.poll() is None:
            one.kill()
        one.process.stdout.close()


def declare(settings: Settings, broker: Broker, more: str = "batch_seconds: 0.2") -> None:
    place = f"port: {broker.port}, {more}"
    (settings.sources / "turbines.yml").write_text(SOURCE.replace("PLACE", place))


def reading_of(number: int) -> bytes:
    at = datetime.fromtimestamp(1_400_000_000 + 60 * number, UTC).isoformat()
    return json.dumps({"at": at, "power": number, "wind": {"speed": 5.5}}).encode()


def landed(settings: Settings) -> list[dict]:
    files = [waiting.path for waiting in waiting_files(settings)]
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def powers(settings: Settings) -> Counter:
    """How often each number of `reading_of` stands in landing."""
    return Counter(message["payload"]["power"] for message in landed(settings))


def wait_for_landed(settings: Settings, count: int, listening: Listening) -> None:
    wait_until(lambda: len(landed(settings)) >= count, listening.said)


def once_each(count: int) -> Counter:
    return Counter(range(count))


def test_messages_arrive_and_load_as_readings(home: Settings, broker: Broker, start: Callable[..., Listening]) -> None:
    declare(home, broker)
    listening = start().connected()
    broker.publish([reading_of(number) for number in range(20)])
    broker.publish([b"not for us"], "fleet/LHB/R80711/alarms")
    wait_for_landed(home, 20, listening)
    answer = listening.stop()
    assert answer["source"] == "turbines" and answer["messages"] == 20 and answer["duplicates"] == 0
    assert answer["batches"] == len(waiting_files(home))
    first = landed(home)[0]
    assert first["topic"] == {"site": "LHB", "device": "R80711"} and first["topic_text"] == TOPIC
    assert first["payload"] == json.loads(reading_of(0)) and first["received_at"].endswith("Z")
    loaded = load_waiting(home)
    assert (loaded.readings, loaded.rejected, loaded.problems) == (40, 0, [])


def test_what_was_published_while_nobody_listened_comes_later(
    home: Settings, broker: Broker, start: Callable[..., Listening]
) -> None:
    declare(home, broker)
    start().connected().stop()
    broker.publish([reading_of(number) for number in range(200)])
    listening = start().wait_for("its session goes on")
    wait_for_landed(home, 200, listening)
    listening.stop()
    assert powers(home) == once_each(200)


def test_a_payload_that_is_no_json_object_is_a_rejected_row(
    home: Settings, broker: Broker, start: Callable[..., Listening]
) -> None:
    declare(home, broker)
    listening = start().connected()
    garbage = [b"ERROR 17", b"", b"[1, 2]", b'{"power": NaN}', b"\xff\x00\x1e", b'{"power": 1']
    broker.publish([reading_of(0), *garbage, reading_of(1)])
    wait_for_landed(home, 8, listening)
    listening.stop()
    texts = [message["payload_text"] for message in landed(home) if "payload_text" in message]
    assert texts == ["ERROR 17", "", "[1, 2]", '{"power": NaN}', '{"power": 1']
    assert [message["payload_base64"] for message in landed(home) if "payload_base64" in message] == ["/wAe"]
    loaded = load_waiting(home)
    assert (loaded.readings, loaded.rejected) == (4, 6)
    found = rows(home, "select reason, sum(rejected_count) as count from load_rejections group by reason")
    assert found == [{"reason": "payload not a JSON object", "count": 6}]


def test_a_listener_killed_at_random_loses_nothing_and_doubles_nothing(
    home: Settings, broker: Broker, start: Callable[..., Listening]
) -> None:
    declare(home, broker, "batch_seconds: 0.1, batch_messages: 40")
    start().connected().stop()
    count, burst = 3000, 30
    messages = [reading_of(number) for number in range(count)]

    def publish_on() -> None:
        for first in range(0, count, burst):
            broker.publish(messages[first : first + burst])
            time.sleep(0.08)

    publishing = threading.Thread(target=publish_on)
    publishing.start()
    instants = random.Random()
    for _ in range(6):
        listening = start().connected()
        time.sleep(instants.uniform(0, 0.6))
        listening.kill()
    listening = start().connected()
    publishing.join()
    wait_for_landed(home, count, listening)
    listening.stop()
    assert powers(home) == once_each(count)


@pytest.mark.parametrize("step", DIES_BEFORE)
def test_a_listener_killed_before_a_step_of_its_batch_lands_it_once(
    step: str, home: Settings, broker: Broker, start: Callable[..., Listening]
) -> None:
    declare(home, broker, "batch_seconds: 60, batch_messages: 52")
    start().connected().stop()
    broker.publish([reading_of(0)] * 3 + [reading_of(number) for number in range(1, 50)])
    dying = [sys.executable, "-c", DYING.format(step=DIES_BEFORE[step])]
    assert start(command=dying).process.wait(timeout=PATIENCE) == -signal.SIGKILL
    # a load takes away what landed: only the journal knows it now
    readings = load_waiting(home).readings
    assert (readings > 0) == (step == "the acknowledgement")
    declare(home, broker)
    listening = start().connected()
    broker.publish([reading_of(50)])
    wait_until(lambda: powers(home)[50] == 1, listening.said)
    answer = listening.stop()
    readings += load_waiting(home).readings
    assert readings == 2 * (3 + 50)
    assert answer["duplicates"] == (0 if step == "the journal's commit" else 52)


def test_an_equal_message_is_kept_even_if_it_was_on_its_way_when_the_listener_died(
    home: Settings, broker: Broker, start: Callable[..., Listening]
) -> None:
    declare(home, broker)
    listening = start().connected()
    broker.publish([reading_of(0)])
    wait_for_landed(home, 1, listening)
    listening.stop()
    broker.publish([reading_of(0)] * 2)
    dying = [sys.executable, "-c", DYING.format(step=DIES_BEFORE["the journal's commit"])]
    assert start(command=dying).process.wait(timeout=PATIENCE) == -signal.SIGKILL
    listening = start().connected()
    wait_for_landed(home, 3, listening)
    assert listening.stop()["duplicates"] == 0
    assert powers(home) == Counter({0: 3})


def test_a_restarted_broker_costs_nothing(home: Settings, broker: Broker, start: Callable[..., Listening]) -> None:
    declare(home, broker, "batch_seconds: 60, batch_messages: 150")
    listening = start().connected()
    for restart in range(1, 4):
        # enough for a batch and a half: some are on their way or held, and not acknowledged, when the broker goes
        broker.publish([reading_of(number) for number in range(225 * (restart - 1), 225 * restart)])
        broker.stop()
        broker.start()
        listening.wait_for("its session goes on", restart)
    listening.stop()
    declare(home, broker)
    listening = start().connected()
    wait_for_landed(home, 675, listening)
    listening.stop()
    assert powers(home) == once_each(675)


def test_a_full_disk_is_said_and_loses_nothing(home: Settings, broker: Broker, start: Callable[..., Listening]) -> None:
    declare(home, broker, "batch_seconds: 60, batch_messages: 2000")
    start().connected().stop()
    broker.publish([reading_of(number) for number in range(2000)])
    small_disk = 100_000
    listening = start(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (small_disk, small_disk)))
    said = listening.ended()
    assert "a batch of 2,000 messages, could not be written" in said and "the broker keeps it" in said
    assert landed(home) == []
    listening = start().connected()
    wait_for_landed(home, 2000, listening)
    assert listening.stop()["duplicates"] == 0
    assert powers(home) == once_each(2000)


def test_a_second_listener_is_refused(home: Settings, broker: Broker, start: Callable[..., Listening]) -> None:
    declare(home, broker)
    listening = start().connected()
    second = run_fleetmart(home.home, "listen", "turbines", **environment_for(home))
    assert second.returncode == 1 and f"listened to already, by process {listening.process.pid}" in second.stderr
    listening.stop()


def test_a_client_with_the_same_id_is_said(
    home: Settings, small: Callable[..., Settings], broker: Broker, start: Callable[..., Listening]
) -> None:
    declare(home, broker)
    listening = start().connected()
    start(small("other")).connected()
    # which of the two depends on the broker's version
    says = ("took over the session fleetmart-turbines", "does another client use the id fleetmart-turbines?")
    wait_until(lambda: any(words in listening.said() for words in says), listening.said)


def test_a_broker_that_is_not_there_is_waited_for(
    home: Settings, broker: Broker, start: Callable[..., Listening]
) -> None:
    declare(home, broker)
    broker.stop()
    listening = start().wait_for("the next attempt is in 2 s")
    assert f"no connection to the broker at 127.0.0.1:{broker.port} (Connection refused)" in listening.said()
    broker.start()
    listening.connected().stop()


def test_a_wrong_log_in_is_said(
    home: Settings, tmp_path: Path, make_broker: Callable[..., Broker], start: Callable[..., Listening]
) -> None:
    passwords = tmp_path / "passwords"
    passwords.write_text("reader:right\n")
    subprocess.run(["mosquitto_passwd", "-U", passwords], check=True)
    declare(home, make_broker(f"password_file {passwords}"))
    wrong = start(log_in=("reader", "not-this")).ended()
    assert "refuses the connection (Not authorized). Check FLEETMART_MQTT_USERNAME" in wrong
    assert "not-this" not in wrong
    start(log_in=("reader", "right")).connected().stop()


def test_a_source_that_cannot_be_listened_to_says_what_to_add(home: Settings) -> None:
    for source, says in (("lhb_scada", "lhb_scada.yml has no mqtt"), ("nothing", "There is no source 'nothing'")):
        done = run_fleetmart(home.home, "listen", source, **environment_for(home))
        assert done.returncode == 2 and says in done.stderr


@pytest.mark.parametrize(
    ("mqtt", "says"),
    [
        ('{topic: "fleet/{site/telemetry"}', "level '{site'"),
        ('{topic: "fleet/#/telemetry"}', "level '#'"),
        ('{topic: "fleet/a+/telemetry"}', "level 'a+'"),
        ('{topic: "fleet/{site}/{site}"}', "stands twice"),
        ('{topic: "$share/group/fleet/#"}', "shared subscription"),
        ('{topic: "fleet/#", batch_messages: 70000}', "less than 65536"),
        ('{topic: "fleet/#", passwort: x}', "mqtt.passwort"),
        ("{host: 127.0.0.1}", "mqtt.topic"),
    ],
)
def test_a_wrong_declaration_is_said_with_its_place(mqtt: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "turbines.yml"
    path.write_text(SOURCE.rsplit("mqtt:", 1)[0] + f"mqtt: {mqtt}\n")
    with pytest.raises(FleetmartError) as raised:
        read_source(path)
    assert says in str(raised.value) and "line 11" in str(raised.value)


def test_messages_land_as_lines_of_json_only(tmp_path: Path) -> None:
    path = tmp_path / "turbines.yml"
    path.write_text(SOURCE.replace("PLACE", "port: 1883").replace("jsonl", "csv"))
    with pytest.raises(FleetmartError, match="needs format"):
        read_source(path)


def test_a_line_keeps_the_payloads_own_numbers() -> None:
    at = datetime(2024, 4, 1, tzinfo=UTC)
    line = line_of("a/{x}/+/#", "a/b/c/d/e", b'{\r\n "n": 1.10,\n "big": 12345678901234567890.5}', at)
    assert line == (
        b'{"topic": {"x": "b"}, "topic_text": "a/b/c/d/e", "received_at": "2024-04-01T00:00:00.000000Z", '
        b'"payload": {   "n": 1.10,  "big": 12345678901234567890.5}}\n'
    )
    assert topic_filter("a/{x}/+/#") == "a/+/+/#"
