"""Messages of an MQTT broker become files in landing, each message once.

A batch is made durable in four steps: its file under a hidden name, the journal's commit, the file's
real name, and only then the acknowledgements to the broker. The commit decides. Killed before it, the
next start removes the hidden file, and the broker sends all of the batch again. Killed after it, the
next start gives the file its name, and what the broker sends again is known and dropped.

What is sent again carries the DUP flag, its first packet identifier and the same content (MQTT 5,
4.4). So the journal keeps, for each of the 65,535 identifiers, the digest of the message that was last
stored under it. A digest alone would not do: an equal message that was sent, but never stored,
would be taken for the earlier one and be lost. Landing cannot be asked: loads take its files away.

MQTT 5, not 3.1.1: its receive maximum lets the broker have a whole batch on its way unacknowledged
(Mosquitto's own limit is 20), and retained messages do not come anew with each connection.
"""

import base64
import fcntl
import hashlib
import json
import os
import signal
import sqlite3
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from orchestration.errors import FleetmartError, WrongUse
from orchestration.settings import Settings
from orchestration.sources import Mqtt, Source, source_named

# A load reads lines of up to 16 MB: a longer message lands alone, so that no other is set aside with it.
BATCH_BYTES = 15_000_000
POLL_SECONDS = 0.2
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 1, 60
KEEPALIVE_SECONDS = 30
NEVER_EXPIRES = 0xFFFFFFFF
SESSION_TAKEN_OVER = 142
# Server unavailable, server busy, quota exceeded, connection rate exceeded.
PASSING = {136, 137, 151, 159}
SCHEMA = """
create table if not exists stored (packet_id integer primary key, digest blob not null);
create table if not exists last_batch (sequence integer primary key, file_name text not null);
"""
Report = Callable[[str], None]


@dataclass
class Listened:
    """What a call of listen took: messages and batches that landed, and messages sent again that were dropped."""

    source: str
    messages: int = 0
    batches: int = 0
    duplicates: int = 0


@dataclass(frozen=True)
class Message:
    """One message as it lands; without a packet identifier (QoS 0) there is nothing to acknowledge."""

    packet_id: int | None
    digest: bytes
    line: bytes


def listen(settings: Settings, name: str, report: Report = lambda line: None) -> Listened:
    """Land the messages of a source's broker until SIGINT or SIGTERM; returns what was taken.

    Raises WrongUse when the source has no `mqtt`, FleetmartError when another process listens to it, when the
    broker refuses, or when a batch cannot be written. A broker that is not there is waited for.
    """
    source = source_named(settings.sources, name)
    if source.mqtt is None:
        raise WrongUse(
            f"{source.file} has no mqtt. To listen to a broker, add for example: "
            'mqtt: {topic: "fleet/{site}/{device}/telemetry", host: 127.0.0.1}'
        )
    settings.prepare_home()
    settings.listening.mkdir(exist_ok=True)
    with _alone(settings, name), closing(Batches(settings, name)) as batches, _stop_asked() as is_stopped:
        return Listener(settings, source, batches, is_stopped, report).run()


def topic_filter(topic: str) -> str:
    """The topic as the broker subscribes it: each `{name}` is any one level."""
    return "/".join("+" if level.startswith("{") else level for level in topic.split("/"))


def line_of(topic: str, topic_text: str, payload: bytes, received_at: datetime) -> bytes:
    """A message as a line of JSON; the payload's own text is kept, so that no number changes by being read."""
    levels = zip(topic.split("/"), topic_text.split("/"), strict=False)
    head = {
        "topic": {level[1:-1]: text for level, text in levels if level.startswith("{")},
        "topic_text": topic_text,
        "received_at": received_at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
    }
    return f"{json.dumps(head)[:-1]}, {_payload_member(payload)}}}\n".encode()


def _payload_member(payload: bytes) -> str:
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return f'"payload_base64": "{base64.b64encode(payload).decode()}"'
    if not _is_json_object(text):
        return f'"payload_text": {json.dumps(text)}'
    # Within JSON's strings a line break is always escaped: these stand between members.
    return '"payload": ' + text.translate({ord("\r"): " ", ord("\n"): " "})


def _is_json_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text, parse_constant=_refuse), dict)
    except (ValueError, RecursionError):
        return False


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


class Batches:
    """The durable side: a source's files in landing, and the journal of the messages that they hold."""

    def __init__(self, settings: Settings, source: str) -> None:
        self._folder = settings.landing / source
        with self._durably("The listener's journal"):
            self._folder.mkdir(exist_ok=True)
            _sync(self._folder.parent)
            self._journal = sqlite3.connect(settings.listening / f"{source}.sqlite", isolation_level=None)
            self._journal.execute("pragma journal_mode = wal")
            self._journal.execute("pragma synchronous = full")
            self._journal.executescript(SCHEMA)
            self._finish_last()

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()

    def holds(self, packet_id: int, digest: bytes) -> bool:
        """Whether this message is the one that was last stored under its packet identifier."""
        query = "select 1 from stored where packet_id = ? and digest = ?"
        return self._journal.execute(query, (packet_id, digest)).fetchone() is not None

    def forget(self) -> None:
        """A new session begins: nothing of the old one is sent again, and packet identifiers start over."""
        with self._durably("The listener's journal"):
            self._journal.execute("delete from stored")

    def write(self, messages: list[Message]) -> str:
        """Make the messages durable as one file of landing; returns its name, raises FleetmartError."""
        sequence = self._last()[0] + 1
        name = f"mqtt-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{sequence:08d}.jsonl"
        part = self._part(name)
        with self._durably(f"{name}, a batch of {len(messages):,} messages,"):
            with part.open("wb") as file:
                file.writelines(message.line for message in messages)
                file.flush()
                os.fsync(file.fileno())
            _sync(self._folder)
            self._note(sequence, name, messages)
            os.replace(part, self._folder / name)
            _sync(self._folder)
        return name

    def _note(self, sequence: int, name: str, messages: list[Message]) -> None:
        stored = [(message.packet_id, message.digest) for message in messages if message.packet_id is not None]
        self._journal.execute("begin immediate")
        try:
            self._journal.executemany("insert or replace into stored values (?, ?)", stored)
            self._journal.execute("delete from last_batch")
            self._journal.execute("insert into last_batch values (?, ?)", (sequence, name))
            self._journal.execute("commit")
        except BaseException:
            if self._journal.in_transaction:
                self._journal.execute("rollback")
            raise

    def _last(self) -> tuple[int, str]:
        return self._journal.execute("select sequence, file_name from last_batch").fetchone() or (0, "")

    def _finish_last(self) -> None:
        """After a crash: the journal's last batch gets its name; any other hidden file was not acknowledged."""
        name = self._last()[1]
        for part in self._folder.glob(self._part("mqtt-*").name):
            if part == self._part(name):
                os.replace(part, self._folder / name)
            else:
                part.unlink()
        _sync(self._folder)

    def _part(self, name: str) -> Path:
        return self._folder / f".{name}.part"

    @contextmanager
    def _durably(self, what: str) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise FleetmartError(
                f"{what} could not be written below {self._folder.parent.parent} "
                f"({getattr(error, 'strerror', None) or error}). Nothing of it was acknowledged: the broker keeps it "
                "and sends it again. Make room, or mend what is named, then listen again."
            ) from error


class Listener:
    """The broker's side: one session, on as many connections as it takes."""

    def __init__(
        self, settings: Settings, source: Source, batches: Batches, is_stopped: Callable[[], bool], report: Report
    ) -> None:
        self._mqtt = source.mqtt
        self._client_id = source.mqtt.client_id or f"fleetmart-{source.source}"
        self._broker = f"{source.mqtt.host}:{source.mqtt.port}"
        self._batches = batches
        self._is_stopped = is_stopped
        self._report = report
        self._listened = Listened(source.source)
        self._batch: list[Message] = []
        self._batch_bytes = 0
        self._batch_since = 0.0
        self._wait_seconds = FIRST_WAIT_SECONDS
        self._ended, self._suspicion = "", ""
        self._client = _client(settings, self._mqtt, self._client_id)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._client.on_disconnect = self._on_disconnect

    def run(self) -> Listened:
        """Listen until asked to stop, connecting again whenever the connection is lost."""
        while not self._is_stopped():
            reason = self._converse()
            # Also when the connection is lost: what is held here stays, even if the broker forgets the session.
            self._flush()
            if not self._is_stopped():
                self._pause(reason)
        self._leave()
        return self._listened

    def _converse(self) -> str:
        """Take messages until the connection ends; returns why it did."""
        self._ended, self._suspicion = "", "does the broker want TLS?"
        try:
            self._connect()
        except ssl.SSLCertVerificationError as error:
            raise FleetmartError(
                f"The certificate of the broker at {self._broker} is not trusted ({error.verify_message}). "
                "Set FLEETMART_MQTT_CA_FILE to the file of the authority that signed it."
            ) from error
        except OSError as error:
            return error.strerror or str(error)
        code = paho.MQTT_ERR_SUCCESS
        while code == paho.MQTT_ERR_SUCCESS and not self._is_stopped():
            code = self._client.loop(POLL_SECONDS)
            if self._is_due():
                self._flush()
        return self._ended or paho.error_string(code)

    def _connect(self) -> None:
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = NEVER_EXPIRES
        properties.ReceiveMaximum = self._mqtt.batch_messages
        self._client.connect(
            self._mqtt.host, self._mqtt.port, KEEPALIVE_SECONDS, clean_start=False, properties=properties
        )

    def _on_connect(self, client: paho.Client, _: Any, flags: paho.ConnectFlags, reason: ReasonCode, *__: Any) -> None:
        if reason.value in PASSING:
            self._ended = str(reason)
            return
        if reason.is_failure:
            raise FleetmartError(
                f"The broker at {self._broker} refuses the connection ({reason}). Check FLEETMART_MQTT_USERNAME, "
                f"FLEETMART_MQTT_PASSWORD and whether the broker allows the client id {self._client_id}."
            )
        if not flags.session_present:
            self._batches.forget()
        self._wait_seconds = FIRST_WAIT_SECONDS
        self._suspicion = f"does another client use the id {self._client_id}?"
        session = "its session goes on" if flags.session_present else "a new session begins"
        self._report(f"listen: connected to {self._broker} as {self._client_id}; {session}")
        options = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
        client.subscribe(topic_filter(self._mqtt.topic), options=options)

    def _on_subscribe(self, _: paho.Client, __: Any, ___: int, reasons: list[ReasonCode], *____: Any) -> None:
        if reasons[0].is_failure:
            raise FleetmartError(
                f"The broker at {self._broker} refuses the subscription to {topic_filter(self._mqtt.topic)} "
                f"({reasons[0]}). Allow it to this user at the broker, or set FLEETMART_MQTT_USERNAME to one that may."
            )

    def _on_disconnect(
        self, _: paho.Client, __: Any, flags: paho.DisconnectFlags, reason: ReasonCode, *___: Any
    ) -> None:
        if reason.value == SESSION_TAKEN_OVER:
            raise FleetmartError(
                f"Another client took over the session {self._client_id} at {self._broker}. "
                "Stop it, or give this source a client_id of its own in its mqtt."
            )
        # Mosquitto before 2.0.15 closes a session that is taken over without saying so.
        lost = f"it was closed without a word; {self._suspicion}"
        self._ended = self._ended or (str(reason) if flags.is_disconnect_packet_from_server else lost)

    def _on_message(self, client: paho.Client, _: Any, message: paho.MQTTMessage) -> None:
        digest = hashlib.sha256(message.topic.encode() + b"\0" + message.payload).digest()
        if message.dup and self._batches.holds(message.mid, digest):
            self._listened.duplicates += 1
            client.ack(message.mid, message.qos)
            return
        line = line_of(self._mqtt.topic, message.topic, message.payload, datetime.now(UTC))
        if self._batch_bytes + len(line) > BATCH_BYTES:
            self._flush()
        if not self._batch:
            self._batch_since = time.monotonic()
        self._batch.append(Message(message.mid if message.qos else None, digest, line))
        self._batch_bytes += len(line)

    def _is_due(self) -> bool:
        if not self._batch:
            return False
        is_old = time.monotonic() - self._batch_since >= self._mqtt.batch_seconds
        return is_old or len(self._batch) >= self._mqtt.batch_messages

    def _flush(self) -> None:
        """Write the batch, then acknowledge it; without a connection it is dropped when it is sent again."""
        if not self._batch:
            return
        name = self._batches.write(self._batch)
        for message in self._batch:
            if message.packet_id is not None and self._client.socket():
                self._client.ack(message.packet_id, 1)
        self._report(f"listen: {len(self._batch):,} messages in {name}")
        self._listened.messages += len(self._batch)
        self._listened.batches += 1
        self._batch, self._batch_bytes = [], 0

    def _pause(self, reason: str) -> None:
        self._report(
            f"listen: no connection to the broker at {self._broker} ({reason}); "
            f"the next attempt is in {self._wait_seconds} s"
        )
        until = time.monotonic() + self._wait_seconds
        self._wait_seconds = min(2 * self._wait_seconds, LONGEST_WAIT_SECONDS)
        while time.monotonic() < until and not self._is_stopped():
            time.sleep(POLL_SECONDS)

    def _leave(self) -> None:
        """Send what is still to be sent, and say goodbye; the session stays with the broker."""
        self._client.disconnect()
        while self._client.want_write() and self._client.loop(POLL_SECONDS) == paho.MQTT_ERR_SUCCESS:
            pass


def _client(settings: Settings, mqtt: Mqtt, client_id: str) -> paho.Client:
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id, protocol=paho.MQTTv5, manual_ack=True)
    if settings.mqtt_username:
        password = settings.mqtt_password.get_secret_value() if settings.mqtt_password else None
        client.username_pw_set(settings.mqtt_username, password)
    if mqtt.tls:
        try:
            client.tls_set_context(ssl.create_default_context(cafile=settings.mqtt_ca_file))
        except OSError as error:
            raise FleetmartError(
                f"FLEETMART_MQTT_CA_FILE, {settings.mqtt_ca_file}, is no file of certificates ({error.strerror}). "
                "Set it to a PEM file."
            ) from error
    return client


@contextmanager
def _alone(settings: Settings, source: str) -> Iterator[None]:
    """Hold the source's lock; the kernel frees it when its holder dies, however it dies."""
    with (settings.listening / f"{source}.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise FleetmartError(
                f"{source} is listened to already, by {file.read() or 'another process'}. "
                "A source has one listener; stop that one first."
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
        yield


@contextmanager
def _stop_asked() -> Iterator[Callable[[], bool]]:
    """Whether SIGINT or SIGTERM came; neither breaks off the writing of a batch."""
    signals: list[int] = []
    before = {
        kind: signal.signal(kind, lambda number, _: signals.append(number)) for kind in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield lambda: bool(signals)
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


def _sync(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
