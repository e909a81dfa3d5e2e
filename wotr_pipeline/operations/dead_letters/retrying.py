"""Retry: dead letters go through Kafka again, the normal way, once each, in waves.

Each step is safe to be killed in:

==========================  ================================================================================
killed                      what the next retry or triage finds
==========================  ================================================================================
before ``begin``            letters that are NEW: nothing has happened
after ``begin``             RETRYING without a place in Kafka: the attempt is sent (again). If Kafka had it
                            already, the event's id keeps it single: the second copy is a counted duplicate
after the places are noted  RETRYING with a place: the verdict comes with the batch that holds it
==========================  ================================================================================

Only letters that today's rules accept are sent, unless ``force`` says otherwise: the others would come back.
The first wave is small and its verdicts are waited for; if too few of them pass, the rest stays NEW.

Belongs here: choosing, sending, bounds. Does not belong here: the register's rules, or repairs
(``repairing.py``).
"""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from wotr_pipeline.config import Settings
from wotr_pipeline.events.rules import Rejected, judge
from wotr_pipeline.operations.dead_letters.triage import Triage
from wotr_pipeline.stores.dead_letter import LetterFilter, LetterState
from wotr_pipeline.stores.dead_letter_contents import ATTEMPT_HEADER, LETTER_HEADER, LetterContents
from wotr_pipeline.stores.dead_letter_register import DeadLetterRegister
from wotr_pipeline.stores.errors import TransientError
from wotr_pipeline.stores.kafka_producer import EventProducer
from wotr_pipeline.stores.objects import ObjectStore

FIRST_WAVE = 100
WAVE = 5_000
VERDICT_SECONDS = 120.0
"""How long the first wave's verdicts are waited for: a sensor's tick and a run take about ten."""
OURS = {LETTER_HEADER, ATTEMPT_HEADER}


@dataclass
class Retried:
    """What a retry did, or (``applied`` False) would do."""

    chosen: int = 0
    applied: bool = False
    passing: int = 0
    """Letters among the chosen that today's rules accept."""
    failing: Counter[str] = field(default_factory=Counter)
    """Letters that today's rules reject, by reason."""
    unreadable: list[str] = field(default_factory=list)
    """Sentences about letters whose content cannot be had."""
    resumed: int = 0
    """Attempts of an earlier retry that were begun and perhaps not sent."""
    sent: int = 0
    passed: int = 0
    rejected: int = 0
    waiting: int = 0
    stopped: str = ""
    """Why it ended before all passing letters were sent; '' if it did not."""


class Retry:
    """Sends dead letters again. One at a time: a second one is refused while the first is at work."""

    def __init__(
        self,
        settings: Settings,
        register: DeadLetterRegister,
        objects: ObjectStore,
        who: str,
        log: logging.Logger,
    ) -> None:
        self._settings = settings
        self._register = register
        self._contents = LetterContents(objects)
        self._triage = Triage(settings, register, objects, who, log)
        self._who = who
        self._log = log

    def preview(self, wanted: LetterFilter, *, force: bool = False) -> Retried:
        """What ``run`` would do: how many would pass now, how many would fail and of what."""
        done = Retried()
        self._worklist(wanted, done, force=force)
        return done

    def run(
        self,
        wanted: LetterFilter,
        why: str,
        *,
        force: bool = False,
        first_wave: int = FIRST_WAVE,
        verdict_seconds: float = VERDICT_SECONDS,
        wait: bool = False,
    ) -> Retried:
        """Send the NEW letters that the filter chooses and today's rules accept.

        ``force``: send those that the rules reject too. ``wait``: until every verdict is known, or
        ``verdict_seconds`` brought none.

        Raises:
            TransientError: another retry is at work, or a store is away. What was begun goes on with the next
                retry or triage.
            PermanentError: a store refuses.
        """
        started = self._register.now()
        done = Retried(applied=True)
        with self._register.exclusively("retry"):
            done.resumed = self._resume()
            worklist = self._worklist(wanted, done, force=force)
            waves = [worklist[:first_wave], *_pages(worklist[first_wave:], WAVE)]
            for number, wave in enumerate(waves):
                self._wait_for_room(len(wave))
                done.stopped = self._reason_to_stop(started, number, done, verdict_seconds)
                if done.stopped:
                    break
                done.sent += self._send(self._register.begin(wave, self._who, why))
        if wait and not done.stopped:
            self._wait_for_verdicts(started, verdict_seconds)
        outcomes = self._register.outcomes(started)
        done.passed, done.rejected = outcomes.get("passed", 0), outcomes.get("rejected", 0)
        done.waiting = outcomes.get("", 0)
        return done

    def resume(self) -> int:
        """Send the attempts that an earlier retry began and did not note as sent; 0 while one is at work."""
        if not self._register.unsent():
            return 0
        try:
            with self._register.exclusively("retry"):
                return self._resume()
        except TransientError as error:
            self._log.info("%s", error)
            return 0

    def _resume(self) -> int:
        return 0 if self._register.switch().stopped else self._send(self._register.unsent())

    def _worklist(self, wanted: LetterFilter, done: Retried, *, force: bool) -> list[int]:
        """Row numbers of what is to be sent: frozen before the first is."""
        new = LetterFilter(**{**wanted.__dict__, "states": (LetterState.NEW,)})
        ids = self._register.ids(new)
        done.chosen = len(ids)
        passing: set[int] = set()
        for letter, content in self._contents.of_letters(self._register.of_ids(ids), done.unreadable):
            verdict = judge(content.value)
            if isinstance(verdict, Rejected):
                done.failing[verdict.reason.value] += 1
                if force:
                    passing.add(letter.id)
            else:
                done.passing += 1
                passing.add(letter.id)
        return [number for number in ids if number in passing]

    def _reason_to_stop(self, started: datetime, wave: int, done: Retried, verdict_seconds: float) -> str:
        switch = self._register.switch()
        if switch.stopped:
            return (
                f"Retries are stopped by {switch.who} since {switch.at:%Y-%m-%d %H:%M:%S} UTC ({switch.why}). "
                "wotr dlq go lets them go on."
            )
        if wave == 0:
            return ""
        if wave == 1 and not self._wait_for_verdicts(started, verdict_seconds):
            return (
                f"No verdict on the first {done.sent} within {verdict_seconds:.0f} s, so no more were sent. Is the "
                "sensor kafka_offsets on, and does its run get on? They go on by themselves; then retry the rest."
            )
        outcomes = self._register.outcomes(started)
        passed, rejected = outcomes.get("passed", 0), outcomes.get("rejected", 0)
        share = passed / (passed + rejected) if passed + rejected else 1.0
        if share < self._settings.wotr_retry_success_share:
            return (
                f"Only {passed} of {passed + rejected} retries passed, fewer than WOTR_RETRY_SUCCESS_SHARE "
                f"({self._settings.wotr_retry_success_share:.0%}) allows: no more were sent. Look at the rejected "
                "ones (wotr dlq stats), then repair them first."
            )
        return ""

    def _wait_for_verdicts(self, started: datetime, seconds: float) -> bool:
        """Whether every attempt since ``started`` has its verdict within ``seconds`` of the last one that came."""
        waiting = self._without_verdict(started)
        while waiting:
            fewer = retry_if_result(waiting.__le__)
            try:
                waiting = Retrying(stop=stop_after_delay(seconds), wait=wait_fixed(0.5), retry=fewer)(
                    self._without_verdict, started
                )
            except RetryError:
                return False
        return True

    def _without_verdict(self, started: datetime) -> int:
        self._triage.settle()
        return self._register.outcomes(started).get("", 0)

    def _wait_for_room(self, wanted: int) -> None:
        """Wait until the last minute's retries and these are within the bound, or retries are stopped."""
        most = self._settings.wotr_retries_per_minute

        def too_many() -> bool:
            begun = sum(self._register.outcomes(self._register.now() - timedelta(minutes=1)).values())
            return begun > 0 and begun + wanted > most and not self._register.switch().stopped

        Retrying(wait=wait_fixed(1), stop=stop_after_delay(3600), retry=retry_if_result(bool))(too_many)

    def _send(self, ids: Sequence[int]) -> int:
        """Send the begun attempts of these letters, and note where Kafka keeps them; returns how many."""
        if not ids:
            return 0
        problems: list[str] = []
        topic = self._settings.kafka_topic
        producer = EventProducer(self._settings, receipts=True)
        try:
            with producer:
                for letter, content in self._contents.of_letters(self._register.of_ids(ids), problems):
                    headers = [
                        *(header for header in content.headers if header[0] not in OURS),
                        (LETTER_HEADER, letter.name.encode()),
                        (ATTEMPT_HEADER, str(letter.attempts).encode()),
                    ]
                    producer.send(content.value, content.key, headers, tag=(letter.id, letter.attempts))
        finally:
            # Also of a broken off wave: what Kafka has acknowledged need not be sent again.
            receipts = producer.receipts
            self._register.note_positions(
                (letter_id, attempt, topic, partition, offset)
                for (letter_id, attempt), partition, offset in receipts
            )
        for problem in problems:
            self._log.error("A begun retry could not be sent: %s", problem)
        return len(receipts)


def _pages(worklist: Sequence[int], size: int) -> list[Sequence[int]]:
    return [worklist[start : start + size] for start in range(0, len(worklist), size)]
