"""Runs of an hour as many tests start them.

Belongs here: making one. Does not belong here: what it finds to do.
"""

import logging

from wotr_pipeline.assets.hour_run import Gate, HourRun
from wotr_pipeline.checks.expectations import GateResult
from wotr_pipeline.config import Settings
from wotr_pipeline.stores.batch import Batch
from wotr_pipeline.stores.ledger import Ledger
from wotr_pipeline.stores.objects import ObjectStore
from wotr_pipeline.stores.warehouse import Warehouse


def unjudged(warehouse: Warehouse, staging: str, batch: Batch) -> GateResult:
    """A gate that lets every batch pass: half a second less a batch, where judging it is not what is tested."""
    return GateResult(batch.batch_id, 0, ())


def hour_run(settings: Settings, ledger: Ledger, gate: Gate = unjudged, run_id: str = "tests") -> HourRun:
    """A run that has not begun."""
    objects, warehouse = ObjectStore(settings), Warehouse(settings)
    return HourRun(settings, ledger, objects, warehouse, gate, run_id, logging.getLogger(run_id))
