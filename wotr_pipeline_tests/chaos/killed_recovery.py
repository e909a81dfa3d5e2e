"""A recovery of everything in a process of its own, which can kill itself at a named boundary.

``python -m wotr_pipeline_tests.chaos.killed_recovery CLASS.METHOD before|after TIMES``
"""

import logging
import sys

from wotr_pipeline.config import load_settings
from wotr_pipeline.operations.recovery import Recovery, Stores
from wotr_pipeline.stores.ledger import Ledger
from wotr_pipeline.stores.objects import ObjectStore
from wotr_pipeline.stores.warehouse import Warehouse
from wotr_pipeline_tests.chaos import killed_run

killed_run.CLASSES |= {cls.__name__: cls for cls in (Ledger, Recovery, Warehouse)}


def main() -> None:
    killed_run.arm(*sys.argv[1:4])
    settings = load_settings()
    stores = Stores(settings, Ledger(settings), ObjectStore(settings), Warehouse(settings))
    for _ in Recovery(stores, None, "killed", logging.getLogger("killed")).apply():
        pass
    raise SystemExit("the boundary was not reached")


if __name__ == "__main__":
    main()
