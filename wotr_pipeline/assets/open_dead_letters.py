"""Asset ``open_dead_letters``: the dead letters that somebody or something still has to act on.

In: envelopes of loaded batches, the dead-letter topic, objects of others. Out: the register, retries with their
verdicts, and on the asset's page what is failing and why, grouped, with what is offered for it.
Promise: a materialization is a triage; a letter is never entered twice, and its state never lies.

Belongs here: what Dagster sees of a triage. Does not belong here: the triage (``operations/dead_letters/``), the
comparisons (``checks/dead_letters.py``).
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg

from wotr_pipeline.checks.dead_letters import ASSET, check_results, check_specs
from wotr_pipeline.checks.presentation import moment, table
from wotr_pipeline.config import Settings
from wotr_pipeline.operations.dead_letters.presentation import offers, triage_lines
from wotr_pipeline.operations.dead_letters.retrying import Retry
from wotr_pipeline.operations.dead_letters.triage import Triage, Triaged
from wotr_pipeline.stores.dead_letter import Group
from wotr_pipeline.stores.dead_letter_register import DeadLetterRegister
from wotr_pipeline.stores.errors import TransientError
from wotr_pipeline.stores.objects import ObjectStore
from wotr_pipeline.stores.warehouse import Warehouse

CHART_HOURS = 24
CHART_WIDTH = 40
DESCRIPTION = (
    "What was rejected and is still open, by reason, field, source and version, with examples and what is offered to "
    "repair it. A materialization enters new dead letters into the register and gives retries their verdict. The "
    "sensor dead_letters asks for it; to work on them: wotr dlq, or the jobs repair_dead_letters and "
    "retry_dead_letters."
)


def open_dead_letters_asset(settings: Settings) -> dg.AssetsDefinition:
    """The asset, with its four checks."""

    @dg.asset(
        name=ASSET,
        deps=["dead_letters", "dead_letters_hourly"],
        check_specs=check_specs(),
        group_name="dead_letters",
        kinds={"postgres", "s3"},
        owners=["team:platform"],
        description=DESCRIPTION,
    )
    def open_dead_letters(
        context: dg.AssetExecutionContext,
        objects: dg.ResourceParam[ObjectStore],
        warehouse: dg.ResourceParam[Warehouse],
    ) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]:
        who, now = f"run {context.run_id}", datetime.now(UTC)
        engine = warehouse.for_run(context.run_id)
        with DeadLetterRegister(settings) as register:
            try:
                done = Triage(settings, register, objects, who, context.log).run()
                resumed = Retry(settings, register, objects, who, context.log).resume()
                yield from check_results(settings, engine, register, now)
                chart = _chart(engine, now)
            except TransientError as error:
                raise dg.RetryRequested(max_retries=3, seconds_to_wait=5) from error
            for line in triage_lines(done):
                context.log.info("%s", line)
            if resumed:
                context.log.info("%d retries that were begun and perhaps not sent were sent again.", resumed)
            yield dg.MaterializeResult(metadata=_metadata(settings, register, done, chart))

    return open_dead_letters


def _metadata(
    settings: Settings, register: DeadLetterRegister, done: Triaged, chart: str
) -> dict[str, dg.MetadataValue]:
    counts = register.by_state()
    groups = register.groups()
    open_letters = sum(group.letters for group in groups)
    switch = register.switch()
    stopped = f"stopped by {switch.who} since {moment(switch.at)}: {switch.why}" if switch.at else ""
    return {
        "dagster/row_count": dg.MetadataValue.int(open_letters),
        "open": dg.MetadataValue.int(open_letters),
        **{state.value: dg.MetadataValue.int(count) for state, count in counts.items()},
        "entered in this run": dg.MetadataValue.int(done.letters + done.received + done.others),
        "retries that passed": dg.MetadataValue.int(done.settled.passed),
        "retries that were rejected": dg.MetadataValue.int(done.settled.rejected),
        "retries": dg.MetadataValue.text(stopped if switch.stopped else "may be sent"),
        "what is open": table([_line(group) for group in groups]),
        "rejected events by hour": dg.MetadataValue.md(chart),
        "problems": dg.MetadataValue.md("\n".join(f"- {problem}" for problem in done.problems) or "none"),
        "what to do": dg.MetadataValue.url(settings.runbook("runbook/dead-letters.md")),
    }


def _line(group: Group) -> dict[str, str | int | float | bool]:
    return {
        "letters": group.letters,
        "reason": group.reason,
        "field": group.field,
        "source": group.source or "(unreadable)",
        "version": group.version or "(unreadable)",
        **{state.value: count for state, count in group.states.items()},
        "first seen": moment(group.first_seen),
        "last seen": moment(group.last_seen),
        "examples": ", ".join(group.examples),
        "offered": ", ".join(offers(group.reason, group.field)) or "patch, payload, or a change of rules",
    }


def _chart(warehouse: Warehouse, now: datetime) -> str:
    """Rejected events of the last day as a bar an hour."""
    last = now.replace(minute=0, second=0, microsecond=0)
    first = last - timedelta(hours=CHART_HOURS - 1)
    found = warehouse.select(
        "check_dead_letters_by_hour",
        {"first_hour": int(first.timestamp()), "last_hour": int(last.timestamp())},
    ).to_pylist()
    letters = {row["hour"]: int(row["letters"]) for row in found}
    highest = max(letters.values(), default=0)
    lines = []
    for number in range(CHART_HOURS):
        hour = first + timedelta(hours=number)
        count = letters.get(int(hour.timestamp()), 0)
        bar = "█" * max(1, round(CHART_WIDTH * count / highest)) if count else ""
        lines.append(f"{hour:%m-%d %H}h {count:>9,} {bar}".rstrip())
    return "```\n" + "\n".join(lines) + "\n```"
