"""Asset ``dead_letters``: every rejected record as a typed envelope, one object of JSON lines a batch.

In: the rejected records of a batch. Out: an object below ``dead-letters/`` beside its source's name, or
none if nothing was rejected.
Promise: each envelope says why, where the record lies in Kafka, and holds its original bytes; judged
again by the same rules, the object's bytes are the same.

Belongs here: writing one batch's envelopes. Does not belong here: the envelope itself
(``events/envelope.py``).
"""

from collections.abc import Sequence

from wotr_pipeline.events.columns import JudgedMessage
from wotr_pipeline.events.envelope import dead_letter, to_line
from wotr_pipeline.events.rules import Rejected
from wotr_pipeline.stores.batch import Batch
from wotr_pipeline.stores.loading import Loader
from wotr_pipeline.stores.object_keys import dead_letters_key
from wotr_pipeline.stores.objects import ObjectStore


def bury(batch: Batch, judged: Sequence[JudgedMessage], loader: Loader, objects: ObjectStore) -> str | None:
    """Write the envelopes of the rejected among ``judged``; returns the object's key, None if there are none.

    Raises:
        TransientError: the object store or the engine is away.
    """
    rejected = [(message, message.verdict) for message in judged if isinstance(message.verdict, Rejected)]
    if not rejected:
        return None
    origins = loader.origins(batch)
    lines = []
    for message, verdict in rejected:
        key, headers = origins[message.kafka_offset]
        letter = dead_letter(
            verdict,
            topic=batch.topic,
            partition=batch.partition,
            offset=message.kafka_offset,
            kafka_timestamp=message.created_at,
            batch_id=batch.batch_id,
            value=message.value,
            key=key,
            headers=headers,
        )
        lines.append(to_line(letter))
    where = dead_letters_key(batch, batch.generation)
    objects.put(where, b"".join(lines), {"records": str(len(lines))})
    return where
