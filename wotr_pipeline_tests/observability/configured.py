"""What observability/ holds: alerts, dashboards, and every PromQL expression in them with the metrics that it names.

Belongs here: reading those files. Does not belong here: what is asserted about them.
"""

import json
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from wotr_pipeline.config import PROJECT_ROOT

OBSERVABILITY = PROJECT_ROOT / "observability"
DASHBOARDS = sorted((OBSERVABILITY / "grafana" / "dashboards").glob("*.json"))
PROMETHEUS_OWN = {"up"}
"""Made by Prometheus itself for each scrape."""

_WORDS = {"and", "or", "unless", "bool", "offset", "inf", "nan", "atan2", "start", "end"}
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'')
_LABELS = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")
_NAME = re.compile(r"(?<![\w:.])[A-Za-z_:][\w:]*(?!\w)(?!\s*\()")


@dataclass(frozen=True)
class Expression:
    """A piece of PromQL, and where it stands."""

    where: str
    text: str

    @property
    def query(self) -> str:
        """With Grafana's variables replaced by what they may stand for."""
        return re.sub(r"\$__(rate_interval|interval|range)", "5m", self.text)


def tool(name: str) -> str:
    """The path of a program of Prometheus; the test is skipped where it is missing."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is missing: `make observability-tools` installs it (Debian, as root)")
    return found


def alerts() -> dict[str, dict[str, Any]]:
    """Every alert rule by its name."""
    loaded = yaml.safe_load((OBSERVABILITY / "alerts.yml").read_text())
    return {rule["alert"]: rule for group in loaded["groups"] for rule in group["rules"]}


def expressions() -> list[Expression]:
    """All of alerts and dashboards."""
    found = [Expression(f"alert {name}", rule["expr"]) for name, rule in alerts().items()]
    for file in DASHBOARDS:
        for panel in json.loads(file.read_text())["panels"]:
            found += [
                Expression(f"{file.name}, panel {panel['title']}", target["expr"])
                for target in panel["targets"]
            ]
    return found


def metrics_of(query: str) -> set[str]:
    """The metrics that a PromQL query names."""
    bare = _STRING.sub('""', query)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", bare)
    bare = _LABELS.sub(" ", bare)
    return {name for name in _NAME.findall(bare) if name.lower() not in _WORDS}


def unknown(exported: set[str], asked: Iterable[Expression]) -> Iterator[str]:
    """A line for each expression that names a metric which nobody exports."""
    for expression in asked:
        missing = metrics_of(expression.query) - exported - PROMETHEUS_OWN
        if missing:
            yield f"{expression.where}: {', '.join(sorted(missing))}"
