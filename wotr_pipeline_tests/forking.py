"""What the process that tests fork from has done before the first fork.

Belongs here: imports, and what can be read once for all children. Does not belong here: anything with a thread, a
connection or a client in it.
"""

import gc
from importlib import import_module

from wotr_pipeline.stores.objects import SESSION

for _module in (
    "wotr_pipeline.definitions",
    "wotr_pipeline.gateway.__main__",
    "wotr_pipeline.gateway.app",
    "wotr_pipeline_tests.conftest",
    "wotr_pipeline_tests.chaos.scenario",
    "wotr_pipeline_tests.operations.dead_letters.scenario",
    "wotr_pipeline_tests.operations.maintenance.scenario",
    "wotr_pipeline_tests.operations.recovery_place",
):
    import_module(_module)
# Each child would read what S3 is anew.
_loader = SESSION.get_component("data_loader")
_loader.load_data("endpoints")
for _what in ("service-2", "endpoint-rule-set-1"):
    _loader.load_service_model("s3", _what)
# A child's garbage collection would copy every page that it looks at.
gc.freeze()
