"""``wotr keys`` and ``wotr maintenance`` as a person at a terminal uses them."""

import getpass
import json

from click.testing import CliRunner, Result

from wotr_pipeline.cli import main
from wotr_pipeline.config import Settings
from wotr_pipeline.stores.operations_log import OperationsLog
from wotr_pipeline_tests.conftest import environment_of


def wotr(settings: Settings, *arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments], env=environment_of(settings))


def told(settings: Settings, *arguments: str) -> str:
    result = wotr(settings, *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def listed(settings: Settings) -> dict[str, dict[str, object]]:
    return {key["id"]: key for key in json.loads(told(settings, "keys", "list", "--json"))}


def test_a_key_is_made_printed_once_rotated_and_revoked_and_each_is_on_record(space: Settings) -> None:
    assert told(space, "keys", "list") == "There is no key.\n"
    options = ("--scope", "ingest", "--scope", "read", "--expires-in", "90d", "--why", "a producer")
    text = told(space, "keys", "create", "checkout", *options).strip()
    key_id = text.split("_")[1]
    key = listed(space)[key_id]
    assert (key["name"], key["scopes"], key["valid"]) == ("checkout", ["ingest", "read"], True)
    assert key["expires_at"] is not None
    new = json.loads(told(space, "keys", "rotate", key_id, "--overlap", "0m", "--json"))
    assert new["key"].startswith(f"wotr_{new['id']}_")
    assert [listed(space)[name]["valid"] for name in (key_id, new["id"])] == [False, True]
    told(space, "keys", "revoke", new["id"])
    assert listed(space)[new["id"]]["valid"] is False
    table = told(space, "keys", "list")
    assert "expired" in table
    assert "revoked" in table
    log = OperationsLog(space)
    done = log.actions()
    log.close()
    assert [action.action for action in done] == ["revoke a key", "rotate a key", "create a key"]
    assert {action.who for action in done} == {getpass.getuser()}
    for secret in (text, new["key"]):
        assert secret.split("_", 2)[2] not in repr(done) + table


def test_what_makes_no_sense_is_refused_and_changes_nothing(space: Settings) -> None:
    for wrong in (
        ("create", "name"),
        ("create", "name", "--scope", "everything"),
        ("create", "", "--scope", "read"),
        ("create", "two\nlines", "--scope", "read"),
        ("create", "name", "--scope", "read", "--expires-in", "soon"),
        ("create", "name", "--scope", "read", "--expires-in", "9999d"),
        ("create", "name", "--scope", "read", "--expires-in", "²d"),
    ):
        assert wotr(space, "keys", *wrong).exit_code == 2, wrong
    for command in ("rotate", "revoke"):
        result = wotr(space, "keys", command, "no-such-key")
        assert result.exit_code == 1
        assert "There is no key no-such-key" in result.stderr
    assert listed(space) == {}


def test_maintenance_begins_is_shown_and_ends(space: Settings) -> None:
    assert told(space, "maintenance", "status") == "Maintenance is off.\n"
    told(space, "maintenance", "on", "--why", "new disks", "--for", "90m")
    shown = told(space, "maintenance", "status")
    for word in ("is on", getpass.getuser(), "new disks", "expected to end"):
        assert word in shown
    told(space, "maintenance", "off", "--why", "done")
    assert told(space, "maintenance", "status") == "Maintenance is off.\n"
    assert wotr(space, "maintenance", "on").exit_code == 2, "why is needed"
