"""``wotr demo``: a realistic stream goes through sensor and runs, and its account is shown.

The account must come out to the number: what the generator says it made, against what Kafka, the
ledger, the objects and ClickHouse hold more than before. A second demo in the same data directory has
new ids, and an account of its own.

Belongs here: producing, waiting by condition, comparing. Does not belong here: how events are made
(``sample_events.py``), counting (``account.py``), speaking HTTP (``visit.py``), starting servers (``cli.py``).
"""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from wotr_pipeline.config import Settings
from wotr_pipeline.operations import visit
from wotr_pipeline.operations.account import Account, account
from wotr_pipeline.operations.sample_events import Sample, SampleAccount, send
from wotr_pipeline.operations.sample_reasons import expected_reasons
from wotr_pipeline.stores.batch import BatchState
from wotr_pipeline.stores.errors import TransientError
from wotr_pipeline.stores.kafka_offsets import KafkaOffsets
from wotr_pipeline.stores.ledger import Ledger
from wotr_pipeline.stores.warehouse import Warehouse

POLL_SECONDS = 2.0
STALLED_SECONDS = 180.0
"""How long nothing may move before the demo gives up; a tick of the sensor and a run take about 10 s."""

Report = Callable[[str], None]


def demo(settings: Settings, events: int, report: Report) -> bool:
    """Send ``events`` records, wait until sensor and runs have carried all, and report the account.

    Returns whether it came out. Dagster must be running. Events that others send meanwhile would be
    counted too, and named as a difference.

    Raises:
        TransientError: a store is away, or nothing moved for ``STALLED_SECONDS``.
        PermanentError: a store refuses.
    """
    now = datetime.now(UTC)
    sample = Sample(events, now, seed=int(now.timestamp() * 1000))
    warehouse = Warehouse(settings)
    with Ledger(settings) as ledger, KafkaOffsets(settings) as offsets:
        _wait_until_carried(settings, ledger, offsets, report)
        before = account(settings, ledger, warehouse, offsets)
        report(f"Producing {events:,} events that arrived over the last {sample.hours:.0f} hours")
        made = send(sample, settings)
        over_http = visit.send(Sample(events // 100, now, seed=sample.seed + 1), settings)
        report(
            f"Sent {over_http.sent:,} more through {settings.wotr_gateway_url}/ingest/batch: {over_http.accepted:,} "
            f"accepted, {over_http.repeated:,} retries answered as before, {over_http.rejected:,} refused with reasons"
        )
        _wait_until_carried(settings, ledger, offsets, report)
        found = account(settings, ledger, warehouse, offsets).since(before)
    warehouse.close()
    report("")
    for line in found.lines():
        report(line)
    problems = [*found.differences(), *_against_generator(made, over_http, found)]
    report("")
    if problems:
        report("THE ACCOUNT IS NOT TRUE:")
        for problem in problems:
            report(f"  - {problem}")
        return False
    report(
        f"The generator's own account agrees to the number: {made.records:,} made = {made.good:,} good "
        f"+ {made.duplicates:,} retries + {made.bad:,} bad in {len(made.damages)} ways "
        f"({made.late:,} of the good ones late). What the gateway accepted is there once, what it refused is not."
    )
    pages = visit.open_pages(settings)
    for page in pages:
        report(f"  {page.status}  {settings.wotr_gateway_url}{page.path}")
    return all(page.status == 200 for page in pages)


def _wait_until_carried(settings: Settings, ledger: Ledger, offsets: KafkaOffsets, report: Report) -> None:
    topic = settings.kafka_topic
    moved, shown = time.monotonic(), None
    while True:
        planned = ledger.planned_until(topic)
        waiting = sum(
            held.high - planned.get(partition, held.low)
            for partition, held in offsets.watermarks(topic).items()
        )
        summary = ledger.summary(topic)
        loaded = summary.of(BatchState.LOADED)
        if not waiting and not summary.unfinished:
            return
        state = (waiting, summary.states)
        if state != shown:
            moved, shown = time.monotonic(), state
            report(
                f"  {datetime.now(UTC):%H:%M:%S}  not planned yet: {waiting:,} events; unfinished: "
                f"{summary.unfinished} batches; loaded: {loaded.batches} batches, {loaded.records:,} records"
            )
        elif time.monotonic() - moved > STALLED_SECONDS:
            raise TransientError(
                f"Nothing has moved for {STALLED_SECONDS:.0f} s: {waiting:,} events are not planned, "
                f"{summary.unfinished} batches unfinished. See wotr status, and the sensor's ticks and the runs "
                "in the Dagster UI."
            )
        time.sleep(POLL_SECONDS)


def _against_generator(made: SampleAccount, over_http: visit.Answered, found: Account) -> Iterator[str]:
    for name, expected, counted in (
        ("records in Kafka", made.records + over_http.accepted, found.produced),
        ("valid rows", made.good + over_http.accepted, found.valid_rows),
        ("duplicates", made.duplicates, found.duplicates),
        ("dead letters", made.bad, found.dead_letters),
    ):
        if counted != expected:
            yield f"{name}: {counted:,} found, {expected:,} made"
    reasons = expected_reasons(made.damages)
    for reason in sorted({*reasons, *found.dead_letters_by_reason}):
        expected, counted = reasons.get(reason, 0), found.dead_letters_by_reason.get(reason, 0)
        if counted != expected:
            yield f"dead letters for {reason}: {counted:,} found, {expected:,} made"


def farewell(settings: Settings) -> Iterator[str]:
    """Where to look now."""
    dagster, gateway = settings.wotr_dagster_url, settings.wotr_gateway_url
    yield f"Admin page     {gateway}/admin/   (sign in with the key of: wotr env --show-secrets | grep API_KEYS)"
    yield f"Data explorer  {gateway}/explorer/"
    yield f"Dagster UI     {dagster}"
    yield f"  look first   {dagster}/assets/ingested_data  (the lineage, the newest runs, the checks)"
    yield f"  the sensor   {dagster}/locations/wotr_pipeline/sensors/kafka_offsets"
    yield (
        f"ClickHouse     http://{settings.clickhouse_host}:{settings.clickhouse_port}, database "
        f"{settings.clickhouse_db}; for example:"
    )
    yield """  eval "$(wotr env --show-secrets)"; curl -sS "http://$CLICKHOUSE_HOST:$CLICKHOUSE_PORT/" \\"""
    yield """    -H "X-ClickHouse-User: $CLICKHOUSE_READER_USER" -H "X-ClickHouse-Key: $CLICKHOUSE_READER_PASSWORD" \\"""
    yield (
        f"""    --data "SELECT event_type, count() FROM {settings.clickhouse_db}.ingested_data """
        """GROUP BY event_type FORMAT PrettyCompact\""""
    )
    yield "The account     wotr account"
    yield f"Dead letters    wotr dlq stats   ({settings.runbook('runbook/dead-letters.md')})"
    yield "Stop            make down   (keeps all data; make up continues)"
