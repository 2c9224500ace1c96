"""What must hold of every policy, registered or not: a suite to run on one's own.

`check_scheduler(MyScheduler)`, `check_router(MyRouter)` and `check_strategy(MyStrategy)` raise an
AssertionError that names the properties it lacks; `python -m simulator.conformance scheduler
./my_policy.py:MyScheduler` prints all of them.
"""

from simulator.conformance.engine_case import scheduler_cases
from simulator.conformance.fleet_case import router_cases
from simulator.conformance.routers import check_router, router_verdicts
from simulator.conformance.schedulers import check_scheduler, scheduler_verdicts
from simulator.conformance.strategies import check_strategy, strategy_verdicts
from simulator.conformance.verdict import ConformanceError, Verdict

__all__ = [
    "ConformanceError",
    "Verdict",
    "check_router",
    "check_scheduler",
    "check_strategy",
    "router_cases",
    "router_verdicts",
    "scheduler_cases",
    "scheduler_verdicts",
    "strategy_verdicts",
]
