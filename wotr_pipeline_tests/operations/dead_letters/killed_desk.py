"""A repair and a retry in a process of its own, which kills itself at a named step.

``python -m wotr_pipeline_tests.operations.dead_letters.killed_desk CLASS.METHOD before|after``
"""

import sys

from wotr_pipeline.config import load_settings
from wotr_pipeline.events.repair import Transformation
from wotr_pipeline.stores.dead_letter import LetterFilter
from wotr_pipeline.stores.dead_letter_contents import LetterContents
from wotr_pipeline.stores.dead_letter_register import DeadLetterRegister
from wotr_pipeline.stores.kafka_producer import EventProducer
from wotr_pipeline_tests.chaos import killed_run
from wotr_pipeline_tests.operations.dead_letters.scenario import Desk, carry


def main() -> None:
    boundary, moment = sys.argv[1:]
    for cls in (DeadLetterRegister, EventProducer, LetterContents):
        killed_run.CLASSES[cls.__name__] = cls
    killed_run.arm(boundary, moment, "1")
    settings = load_settings()
    with DeadLetterRegister(settings) as register:
        desk = Desk(settings, register, "doomed")
        desk.repairs().run(
            LetterFilter(fields=("timestamp",)), Transformation("timestamp_from_epoch"), "epochs", apply=True
        )
        desk.retry().run(LetterFilter(fields=("timestamp",)), "epochs")
        carry(settings)
        desk.triage()
    raise SystemExit("the step was not reached")


if __name__ == "__main__":
    main()
