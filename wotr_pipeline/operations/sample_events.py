"""``wotr sample``: a stream of events as producers send it, with an exact account of what is in it.

Belongs here: the mix (kinds of events, retries, late ones, damaged ones), when each record arrives, and
sending it.
Does not belong here: how an event is damaged (``damaged_events.py``), the contract (``events/``).

The same arguments give the same records, byte for byte.
"""

import json
import random
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

import click

from wotr_pipeline.config import Settings, load_settings
from wotr_pipeline.operations.damaged_events import DAMAGES, damaged
from wotr_pipeline.stores.kafka_producer import EventProducer

TEMPLATES = 64
"""Different payloads of each kind of event."""
LATEST_EVENT = timedelta(hours=30)
"""How long before its arrival a late event happened, at most."""
HOLD = "@id@", "@at@"


@dataclass(frozen=True)
class Sample:
    """What to make. ``end``: arrival of the last record; the first arrives ``hours`` earlier."""

    events: int
    end: datetime
    hours: float = 3.0
    seed: int = 0
    bad: float = 0.01
    retried: float = 0.005
    late: float = 0.02


@dataclass(frozen=True, slots=True)
class SampleRecord:
    """A record to send: ``arrival`` in milliseconds since 1970, ``key`` None where it has none."""

    value: bytes | None
    key: str | None
    arrival: int


@dataclass
class SampleAccount:
    """What must come out at the other end: ``records`` = ``good`` + ``duplicates`` + ``bad``."""

    good: int = 0
    duplicates: int = 0
    bad: int = 0
    late: int = 0
    damages: Counter[str] = field(default_factory=Counter)

    @property
    def records(self) -> int:
        """How many records were made."""
        return self.good + self.duplicates + self.bad


def records(sample: Sample, account: SampleAccount) -> Iterator[SampleRecord]:
    """The stream, in the order of arrival; ``account`` counts what was yielded.

    ``sample.events`` records in all. A retry has the bytes of the event before: half of them follow at
    once, half much later and without a key, so that they may meet another partition.
    """
    chance = random.Random(sample.seed)  # noqa: S311 (a sample, not a secret)
    templates = _templates(chance)
    first = sample.end - timedelta(hours=sample.hours)
    start, span = _milliseconds(first), sample.hours * 3_600_000
    damages = list(DAMAGES)
    later: deque[tuple[int, bytes]] = deque()
    at_once: SampleRecord | None = None
    for index in range(sample.events):
        arrival = start + int(span * (index + 1) / sample.events)
        if at_once is not None:
            account.duplicates += 1
            yield SampleRecord(at_once.value, at_once.key, arrival)
            at_once = None
            continue
        if later and later[0][0] <= index:
            account.duplicates += 1
            yield SampleRecord(later.popleft()[1], None, arrival)
            continue
        drawn = chance.random()
        event_id = f"{chance.getrandbits(128):032x}"
        happened = arrival - chance.randrange(2_000)
        if drawn < sample.bad:
            name = damages[account.bad % len(damages)]
            account.bad += 1
            account.damages[name] += 1
            yield SampleRecord(damaged(name, event_id, _iso(happened), chance), None, arrival)
            continue
        if drawn > 1 - sample.late:
            account.late += 1
            happened -= chance.randrange(3_600_000, LATEST_EVENT // timedelta(milliseconds=1))
        value = chance.choice(templates) % (event_id.encode(), _iso(happened).encode())
        record = SampleRecord(value, event_id, arrival)
        account.good += 1
        yield record
        if drawn < sample.bad + sample.retried / 2:
            at_once = record
        elif drawn < sample.bad + sample.retried:
            later.append((index + 1 + max(1, sample.events // 3), value))


def send(sample: Sample, settings: Settings) -> SampleAccount:
    """Produce the sample to the settings' topic; raises as ``EventProducer`` does."""
    account = SampleAccount()
    with EventProducer(settings) as producer:
        for record in records(sample, account):
            producer.send(record.value, record.key, timestamp_ms=record.arrival)
    return account


def _templates(chance: random.Random) -> list[bytes]:
    """Events of about 530 bytes as ``%`` templates of id and timestamp, mixed as they come in practice."""
    made: list[bytes] = []
    for _ in range(TEMPLATES):
        made += [_template(kind, chance) for kind in _KINDS]
    return made


_KINDS = ("user_action", "user_action", "api_call", "api_call", "system_event", "error", "metric")
_SOURCES = ("web-frontend", "mobile-ios", "mobile-android", "billing", "gateway", "search", "checkout")
_PAGES = ("/", "/search", "/cart", "/checkout", "/account/settings", "/product/{}", "/help/returns")
_AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148",
    "okhttp/4.12.0 (Android 15; Pixel 9) com.example.shop/7.31.2-release",
)
_OF_VERSION_2 = {"user_id", "session_id", "ip_address", "tags"}
_WORDS = [
    "request",
    "order",
    "customer",
    "basket",
    "payment",
    "shipment",
    "timeout",
    "upstream",
    "retry",
    "cache",
    "worker",
    "partition",
    "queue",
    "deadline",
    "résumé",
    "日本",
    "latency",
    "threshold",
    "connection",
    "pool",
    "exhausted",
]


def _template(kind: str, chance: random.Random) -> bytes:
    payload: dict[str, object] = {"event_type": kind, "source": chance.choice(_SOURCES)}
    data = _data(kind, chance)
    data["trace_id"] = f"{chance.getrandbits(128):032x}"
    data["note"] = ""
    payload["data"] = data
    if kind in ("user_action", "api_call"):
        payload["user_id"] = f"user-{chance.randrange(100_000)}"
        payload["session_id"] = f"{chance.getrandbits(96):024x}"
        payload["ip_address"] = ".".join(str(chance.randrange(1, 255)) for _ in range(4))
    if chance.random() < 0.5:
        payload["tags"] = chance.sample(("beta", "eu-west", "vip", "canary", "mobile_app", "A-B-7"), 3)
    payload["version"] = chance.choice(("2.0", "2.1") if payload.keys() & _OF_VERSION_2 else ("1.0", "1.1"))
    missing = max(0, chance.randrange(375, 455) - len(json.dumps(payload, ensure_ascii=False)))
    note = " ".join(chance.choices(_WORDS, k=80))
    data["note"] = note[:missing]
    text = json.dumps({"id": HOLD[0], "timestamp": HOLD[1], "payload": payload}, ensure_ascii=False)
    text = text.replace("%", "%%").replace(HOLD[0], "%s", 1).replace(HOLD[1], "%s", 1)
    return text.encode()


def _data(kind: str, chance: random.Random) -> dict[str, object]:
    match kind:
        case "user_action":
            page = chance.choice(_PAGES).format(chance.randrange(10_000))
            return {
                "action": chance.choice(("click", "view", "scroll")),
                "page": page,
                "x": chance.randrange(1440),
            }
        case "api_call":
            return {
                "method": chance.choice(("GET", "POST", "PUT")),
                "path": f"/v2/orders/{chance.randrange(10_000)}",
                "status": chance.choice((200, 200, 200, 201, 404, 503)),
                "duration_ms": round(chance.expovariate(1 / 40), 3),
                "agent": chance.choice(_AGENTS),
            }
        case "system_event":
            return {
                "component": chance.choice(("scheduler", "db", "cache")),
                "state": "restarted",
                "load": [0.5, 1, 2],
            }
        case "error":
            return {
                "error_message": 'upstream "billing" timed out',
                "code": 504,
                "stack": ["a.py:1", "b.py:22"],
            }
        case _:
            name = chance.choice(("cpu.load", "queue.depth", "latency.p95"))
            return {"metric_name": name, "metric_value": round(chance.gauss(50, 20), 4), "unit": "ms"}


def _iso(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{_iso_second(seconds)}.{rest:03d}Z"


@lru_cache(maxsize=1024)
def _iso_second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


def _milliseconds(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


@click.command()
@click.option("--events", type=click.IntRange(1), default=200_000, show_default=True, help="Records to send.")
@click.option(
    "--hours", type=click.FloatRange(0, 24 * 30), default=3.0, show_default=True, help="Arrival window."
)
@click.option(
    "--bad", type=click.FloatRange(0, 0.5), default=0.01, show_default=True, help="Share of bad ones."
)
@click.option("--seed", type=int, help="By default another one each time, so that ids are new.")
@click.pass_obj
def sample(data_dir: Path | None, events: int, hours: float, bad: float, seed: int | None) -> None:
    """Send a realistic mixed stream to the topic, and say what is in it."""
    settings = load_settings(**({"wotr_data_dir": data_dir} if data_dir else {}))
    end = datetime.now(UTC)
    seed = int(end.timestamp()) if seed is None else seed
    account = send(Sample(events, end, hours, seed, bad), settings)
    click.echo(
        f"{account.records} records are in Kafka, topic {settings.kafka_topic}: {account.good} good events, "
        f"{account.duplicates} retries of the same ids, {account.bad} bad ones in {len(account.damages)} ways; "
        f"{account.late} of the good ones are late. Seed {seed}."
    )
