"""``wotr dlq`` as a person uses it: dry first, masked unless asked, everything on record."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from wotr_pipeline.cli import main
from wotr_pipeline.stores.dead_letter import LetterState
from wotr_pipeline.stores.dead_letter_tables import accesses
from wotr_pipeline.stores.ledger_database import connect
from wotr_pipeline_tests.conftest import environment_of
from wotr_pipeline_tests.operations.dead_letters.conftest import EPOCH, GOOD
from wotr_pipeline_tests.operations.dead_letters.scenario import Desk, carry, copies
from wotr_pipeline_tests.produced import BAD, event

CLASS = ("--reason", "wrong_type", "--field", "timestamp")


def wotr(desk: Desk, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["dlq", "--who", "ann", *arguments], env=environment_of(desk.settings))


def done(desk: Desk, *arguments: str) -> str:
    result = wotr(desk, *arguments)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_newcomer_sees_repairs_and_retries_a_class(rejected: Desk) -> None:
    stats = done(rejected, "stats")
    assert "wrong_type" in stats
    assert "timestamp_from_epoch" in stats
    assert f"{len(EPOCH)} pass after the repair" in done(
        rejected, "fix", *CLASS, "--transform", "timestamp_from_epoch"
    )
    assert "Nothing was changed" in done(rejected, "fix", *CLASS, "--transform", "timestamp_from_epoch")
    done(rejected, "fix", *CLASS, "--transform", "timestamp_from_epoch", "--apply", "--why", "epochs")
    assert "Nothing was sent" in done(rejected, "retry", *CLASS)
    assert f"{len(EPOCH)} sent" in done(rejected, "retry", *CLASS, "--apply", "--why", "epochs", "--no-wait")
    carry(rejected.settings)
    assert f"{len(EPOCH)} passed" in done(rejected, "triage")
    assert copies(rejected.settings) == dict.fromkeys([*GOOD, *EPOCH], 1)


@pytest.mark.parametrize("command", ["fix", "retry", "discard"])
def test_what_changes_something_needs_a_reason(rejected: Desk, command: str) -> None:
    repair = ["--transform", "timestamp_from_epoch"] if command == "fix" else []
    result = wotr(rejected, command, *CLASS, *repair, "--apply")
    assert result.exit_code == 2
    assert "--why" in result.output
    assert rejected.register.by_state()[LetterState.NEW] == len(EPOCH) + len(BAD)


def test_content_is_masked_unless_asked_for_and_who_asks_is_kept(rejected: Desk) -> None:
    letter = next(letter for letter in rejected.letters() if letter.event_id == EPOCH[0])
    shown = done(rejected, "show", letter.name)
    assert EPOCH[0] in shown, "the id is what people ask for"
    assert '"/"' not in shown
    assert "--why" in wotr(rejected, "show", letter.name, "--unmask").output
    assert '"/"' in done(rejected, "show", letter.name, "--unmask", "--why", "the producer asks")
    with connect(rejected.settings, "test").connect() as connection:
        (access,) = connection.execute(accesses.select()).all()
    assert (access.who, access.what, access.why, access.names) == (
        "ann",
        "show",
        "the producer asks",
        [letter.name],
    )


def test_one_letter_is_mended_by_a_patch_from_a_file(rejected: Desk, tmp_path: Path) -> None:
    letter = next(letter for letter in rejected.letters() if letter.event_id == EPOCH[0])
    patch = tmp_path / "patch.json"
    patch.write_text('[{"op": "replace", "path": "/timestamp", "value": "2026-11-23T08:00:00Z"}]')
    assert "1 new versions" in done(
        rejected, "fix", letter.name, "--patch", str(patch), "--apply", "--why", "by hand"
    )
    assert rejected.register.letter(letter.name).fix_version == 1
    patch.write_text('[{"op": "repalce", "path": "/timestamp"}]')
    broken = wotr(rejected, "fix", letter.name, "--patch", str(patch))
    assert broken.exit_code == 2
    assert "operation 1 of 1" in broken.output


def test_an_export_has_content_only_when_asked_for(rejected: Desk, tmp_path: Path) -> None:
    file = tmp_path / "letters.ndjson"
    done(rejected, "export", *CLASS, "--to", str(file))
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(lines) == len(EPOCH)
    assert not any("content_base64" in line for line in lines)
    done(rejected, "export", *CLASS, "--to", str(file), "--unmask", "--why", "for the producer")
    assert all("content_base64" in json.loads(line) for line in file.read_text().splitlines())


def test_discarding_is_dry_first_and_never_everything_by_accident(rejected: Desk) -> None:
    assert wotr(rejected, "discard").exit_code == 2
    assert f"{len(EPOCH)} dead letters would be discarded" in done(rejected, "discard", *CLASS)
    assert f"{len(EPOCH)} dead letters are discarded" in done(
        rejected, "discard", *CLASS, "--apply", "--why", "spam"
    )
    assert f"{len(EPOCH)} dead letters are open again" in done(
        rejected, "reopen", *CLASS, "--apply", "--why", "not spam"
    )


def test_the_kill_switch_stops_a_retry(rejected: Desk) -> None:
    done(rejected, "fix", *CLASS, "--transform", "timestamp_from_epoch", "--apply", "--why", "epochs")
    done(rejected, "stop", "--why", "the table is being repaired")
    stopped = wotr(rejected, "retry", *CLASS, "--apply", "--why", "epochs")
    assert stopped.exit_code == 1
    assert "stopped by ann" in stopped.output
    assert "STOPPED" in done(rejected, "stats")
    done(rejected, "go", "--why", "repaired")
    assert f"{len(EPOCH)} sent" in done(rejected, "retry", *CLASS, "--apply", "--why", "epochs", "--no-wait")


def test_a_name_that_is_not_in_the_register_says_what_names_look_like(rejected: Desk) -> None:
    result = wotr(rejected, "show", "no-such-letter")
    assert result.exit_code == 1
    assert "topic:partition:offset" in result.output


def test_an_edited_message_is_of_one_letter(rejected: Desk, tmp_path: Path) -> None:
    edited = tmp_path / "event.json"
    edited.write_bytes(event("by-hand"))
    assert wotr(rejected, "fix", *CLASS, "--payload", str(edited)).exit_code == 2
