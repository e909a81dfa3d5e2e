"""Step ``smoke_test``: one event on the whole way, while nobody else is on it.

It is a real event and stays one: its row is in ``ingested_data`` for good, with the source ``wotr-smoke-test``, which
nobody else uses; analysts leave it out by that. Deleting it would break what the ledger says of its batch. Its id is
made of the run's, so that doing the step again sends the same event, which is then not counted twice.

Belongs here: sending it and looking for it. Does not belong here: the way itself.
"""

import json
from datetime import UTC, datetime, timedelta

import dagster as dg
import requests
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from wotr_pipeline.config import Settings
from wotr_pipeline.operations.maintenance.window import Report, StepFailedError, Window
from wotr_pipeline.stores.kafka_producer import EventProducer
from wotr_pipeline.stores.ledger import Ledger
from wotr_pipeline.stores.warehouse import Warehouse
from wotr_pipeline.stores.warehouse_upkeep import rows_of_id

SOURCE = "wotr-smoke-test"
GATEWAY_SECONDS = 10
ROW_SECONDS = 60


def smoke_test(window: Window, instance: dg.DagsterInstance) -> Report:
    """Send the event, carry its hour to the table as the sensor's runs do, find it there once.

    Raises:
        StepFailedError: it is not there, or more than once. TransientError: a store is away.
    """
    event_id = f"{SOURCE}-{window.run_id}"
    if window.dry_run:
        return Report(
            (f"Would send the event {event_id} (source {SOURCE}), ingest its hour and look for its row.",)
        )
    begun = datetime.now(UTC)
    message = _event(event_id, begun)
    way = (
        "the gateway"
        if _through_the_gateway(window.settings, message)
        else "Kafka (the gateway does not take it)"
    )
    if not way.startswith("the"):
        with EventProducer(window.settings) as producer:
            producer.send(message)
    _ingest(window.settings, begun, instance)
    warehouse = Warehouse(window.settings, window.run_id)
    try:
        # Outside a window a run of the sensor may have the batch in its hands: then this one had nothing to do.
        rows: int = Retrying(
            retry=retry_if_result(lambda found: found == 0),
            stop=stop_after_delay(ROW_SECONDS),
            wait=wait_fixed(1),
            retry_error_callback=lambda _: 0,
        )(rows_of_id, warehouse, event_id, begun - timedelta(minutes=1))
    finally:
        warehouse.close()
    seconds = (datetime.now(UTC) - begun).total_seconds()
    if rows != 1:
        raise StepFailedError(
            f"The smoke test's event {event_id} went in through {way} and has {rows} rows in the table instead of 1. "
            f"See where it is: wotr trace {event_id}."
        )
    return Report(
        (
            f"{event_id} went in through {way} and was in the table once after {seconds:.1f} s. It stays there.",
        ),
        {"seconds to the table": round(seconds, 3)},
    )


def _event(event_id: str, now: datetime) -> bytes:
    return json.dumps(
        {
            "id": event_id,
            "timestamp": f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03d}Z",
            "payload": {
                "event_type": "system_event",
                "source": SOURCE,
                "data": {"check": "maintenance window"},
            },
        }
    ).encode()


def _through_the_gateway(settings: Settings, message: bytes) -> bool:
    keys = settings.api_keys.get_secret_value()
    if not keys:
        return False
    try:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.post(
                f"{settings.wotr_gateway_url.rstrip('/')}/ingest",
                data=message,
                headers={"X-API-Key": keys.split(",")[0], "Content-Type": "application/json"},
                timeout=GATEWAY_SECONDS,
            )
    except requests.RequestException:
        return False
    return answer.status_code in (200, 202)


def _ingest(settings: Settings, begun: datetime, instance: dg.DagsterInstance) -> None:
    """Plan everything, then run the hours in which the event may have arrived: the sensor rests."""
    # Imported here: it wires every job, this one included.
    from wotr_pipeline.definitions import INGEST_JOB, build_definitions
    from wotr_pipeline.operations.run_etl import plan_everything, run_hour

    job = build_definitions(settings).resolve_job_def(INGEST_JOB)
    first_hour = begun.replace(minute=0, second=0, microsecond=0)
    with Ledger(settings) as ledger:
        plan_everything(settings, ledger)
        hours = {batch.hour for batch in ledger.unfinished(settings.kafka_topic) if batch.hour >= first_hour}
    for hour in sorted(hours):
        result = run_hour(job, hour, instance)
        if not result.success:
            raise StepFailedError(
                f"The ingest of the hour {hour:%Y-%m-%d %H:00} failed: see its run {result.run_id} in Dagster."
            )
