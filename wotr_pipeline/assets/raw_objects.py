"""Asset ``raw_objects``: Kafka's records as Parquet objects, byte for byte.

In: a PLANNED batch and the topic. Out: one object a batch below ``raw/`` and the state LANDED.
Promise: what Kafka acknowledged is in an object before anything else is done with it; an object,
once landed, is never written again.

Belongs here: landing one batch. Does not belong here: judging (``validated_batches.py``).
"""

import hashlib

from wotr_pipeline import telemetry
from wotr_pipeline.stores.batch import Batch
from wotr_pipeline.stores.kafka_records import OffsetsGoneError, RecordReader
from wotr_pipeline.stores.ledger_writer import LedgerWriter
from wotr_pipeline.stores.object_keys import raw_key
from wotr_pipeline.stores.objects import ObjectInfo, ObjectStore
from wotr_pipeline.stores.raw_parquet import encode
from wotr_pipeline.stores.trace_headers import trace_headers


def land(
    batch: Batch, reader: RecordReader, objects: ObjectStore, writer: LedgerWriter, max_bytes: int
) -> Batch:
    """Bring a PLANNED batch to LANDED; a batch of too many bytes is split and its first part landed.

    An object of the batch's name whose bytes have the sum noted with them is adopted: the run that wrote
    it was killed before it could tell the ledger, and Kafka may have dropped the records since. One that
    is damaged is in no ledger, and is written anew.

    Raises:
        OffsetsGoneError: Kafka no longer holds the range, or its beginning: then the rest is split off.
        PermanentError: Kafka refuses.
        TransientError: Kafka, the object store or the ledger is away.
    """
    found = objects.head(raw_key(batch))
    if found is not None and _is_whole(found, objects):
        return writer.landed(
            batch,
            records=int(found.metadata["records"]),
            raw_key=found.key,
            raw_sha256=found.metadata["sha256"],
            raw_bytes=found.size,
        )
    try:
        records = reader.read(batch.partition, batch.first_offset, batch.last_offset, max_bytes)
    except OffsetsGoneError as gone:
        if batch.first_offset < gone.low <= batch.last_offset:
            # What Kafka still holds is a batch of its own, before it is gone too.
            writer.split(batch, gone.low - 1)
        raise
    if records.last_offset < batch.last_offset:
        batch = writer.split(batch, records.last_offset)
    telemetry.linked_to(trace_headers(records.table))
    data = encode(records.table)
    digest = hashlib.sha256(data).hexdigest()
    key = raw_key(batch)
    objects.put(key, data, {"sha256": digest, "records": str(records.table.num_rows)})
    return writer.landed(
        batch,
        records=records.table.num_rows,
        raw_key=key,
        raw_sha256=digest,
        raw_bytes=len(data),
    )


def _is_whole(found: ObjectInfo, objects: ObjectStore) -> bool:
    if not {"sha256", "records"} <= found.metadata.keys():
        return False
    return hashlib.sha256(objects.get(found.key)).hexdigest() == found.metadata["sha256"]
