"""``wotr ingest FILE``: the events of a file, sent to the topic.

Belongs here: sending what was read, and saying where to go on after a stop.
Does not belong here: how events lie in files (``event_files.py``), or how they are judged.
"""

from dataclasses import dataclass
from pathlib import Path

import click

from wotr_pipeline.config import Settings, load_settings
from wotr_pipeline.operations.event_files import FileError, FileFormat, format_of, read_events
from wotr_pipeline.stores.errors import PermanentError, StoreError
from wotr_pipeline.stores.kafka_producer import EventProducer

CHECKPOINT_EVENTS = 20_000
"""After so many events, wait until Kafka has them all: no more are sent again after a stop."""


@dataclass
class Ingestion:
    """How far a file has come. Everything up to ``safe_until`` is acknowledged by Kafka."""

    path: Path
    format: FileFormat
    start: int = 1
    safe_until: int = 0
    acknowledged: int = 0

    @property
    def unit(self) -> str:
        """What ``start`` and ``safe_until`` count, from 1."""
        return "event" if self.format is FileFormat.JSON else "line"

    def run(self, settings: Settings) -> None:
        """Send the events from place ``start`` on.

        Raises:
            FileError: the file is not of its format; what was sent before is acknowledged.
            StoreError: Kafka is away or refuses. The text says from where to go on.
        """
        place = sent = self.safe_until = self.start - 1
        try:
            with self.path.open("rb") as file, EventProducer(settings) as producer:
                try:
                    for count, event in enumerate(read_events(file, self.format), start=1):
                        if event.place < self.start:
                            continue
                        place = event.place
                        producer.send(event.value, event.id)
                        sent = place
                        if count % CHECKPOINT_EVENTS == 0:
                            producer.flush()
                            self.safe_until = sent
                    producer.flush()
                    self.safe_until = sent
                except PermanentError:
                    # One event cannot be read or sent; those before it can still be made safe.
                    producer.flush()
                    self.safe_until = sent
                    raise
                finally:
                    self.acknowledged = producer.acknowledged
        except OSError as error:
            raise FileError(f"{self.path}: {error.strerror}. {self.account()}") from error
        except StoreError as error:
            near = "" if isinstance(error, FileError) or place < self.start else f", at {self.unit} {place}"
            raise type(error)(f"{self.path}{near}: {error}\n{self.account()}") from error

    def account(self) -> str:
        """What is safe, and where to go on."""
        if self.acknowledged == 0:
            return "No event was sent."
        return (
            f"{self.acknowledged} events are acknowledged. To go on: --from {self.safe_until + 1}. Events "
            "after that which did arrive are sent again; the pipeline counts an id once."
        )


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--format",
    "format_name",
    type=click.Choice([*FileFormat]),
    help="By default told from the file's name or beginning.",
)
@click.option("--from", "start", type=click.IntRange(1), default=1, help="First line (JSON: event) to send.")
@click.pass_obj
def ingest(data_dir: Path | None, file: Path, format_name: str | None, start: int) -> None:
    """Send the events of FILE (NDJSON, JSON array or CSV with a header) to the topic."""
    settings = load_settings(**({"wotr_data_dir": data_dir} if data_dir else {}))
    ingestion = Ingestion(file, FileFormat(format_name) if format_name else format_of(file), start)
    try:
        ingestion.run(settings)
    except KeyboardInterrupt:
        click.echo(f"Interrupted. {ingestion.account()}", err=True)
        raise SystemExit(130) from None
    click.echo(f"{ingestion.acknowledged} events of {file} are in Kafka, topic {settings.kafka_topic}.")
