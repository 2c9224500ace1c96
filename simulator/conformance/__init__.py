"""What must hold of every policy, registered or not: a suite to run on one's own.

`check_scheduler(MyScheduler)` raises an AssertionError that names the properties it lacks;
`python -m simulator.conformance scheduler ./my_policy.py:MyScheduler` prints all of them.
"""

from simulator.conformance.schedulers import check_scheduler, scheduler_verdicts
from simulator.conformance.verdict import ConformanceError, Verdict
from simulator.conformance.workloads import scheduler_cases

__all__ = [
    "ConformanceError",
    "Verdict",
    "check_scheduler",
    "scheduler_cases",
    "scheduler_verdicts",
]
