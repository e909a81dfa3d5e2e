"""``wotr doctor``: looks at everything at once, and names the bottleneck in the runbook's words.

- ``evidence``   what was seen, as records
- ``looking``    asks every source side by side, each bounded in time
- ``flow``       from evidence to findings: what stops or slows the events on their way
- ``condition``  from evidence to findings: what is wrong beside the way (connections, parts, backups …)
- ``diagnosis``  puts the findings in order, the most likely bottleneck first
- ``report``     as text, and as JSON after ``doctor.1.json``
- ``service``    one service more closely: the end of its log, its resources, its configuration
- ``command``    options and exit codes
"""
