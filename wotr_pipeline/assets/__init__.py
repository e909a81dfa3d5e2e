"""The assets, in the order of the lineage. Modules here define; ``definitions.py`` wires."""
