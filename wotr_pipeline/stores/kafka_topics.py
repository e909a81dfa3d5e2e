"""The topics themselves.

Belongs here: creating the topics of the settings where they are missing.
Does not belong here: records (``kafka_records.py``, ``kafka_producer.py``) or offsets (``kafka_offsets.py``).
"""

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from ..config import Settings
from .errors import PermanentError, TransientError

CREATE_SECONDS = 30
BROKERS_CHOICE = -1


def ensure_topics(settings: Settings, partitions: int) -> None:
    """Create the topic of events with so many ``partitions``, and that of dead letters with one.

    A topic that is there stays as it is. The replication factor is the brokers' default.

    Raises:
        TransientError: Kafka is away.
        PermanentError: Kafka refuses.
    """
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap, "log_level": 0})
    wanted = [
        NewTopic(settings.kafka_topic, partitions, BROKERS_CHOICE),
        NewTopic(settings.kafka_dlq_topic, 1, BROKERS_CHOICE),
    ]
    for topic, created in admin.create_topics(wanted, request_timeout=CREATE_SECONDS).items():
        try:
            created.result(timeout=2 * CREATE_SECONDS)
        except KafkaException as raised:
            error: KafkaError = raised.args[0]
            if error.code() == KafkaError.TOPIC_ALREADY_EXISTS:
                continue
            text = f"Topic {topic} could not be created at {settings.kafka_bootstrap}: {error.name()}."
            raise (TransientError if error.retriable() else PermanentError)(text) from None
