"""What the performance promises are measured with; ``make bench`` runs it all (``__main__.py``).

Belongs here: measurements on real servers in a scratch data directory, and the table of docs/performance.md.
Does not belong here: tests of behaviour (``wotr_pipeline_tests/``). Nothing in the package imports this.
"""
