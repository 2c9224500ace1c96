"""What no single field can tell: does the model fit, is the trace there, does the run end."""

from __future__ import annotations

from dataclasses import replace

from simulator.config.experiment import Experiment, PoolSettings
from simulator.config.resolve import resolve_pool
from simulator.errors import InputError, Problem
from simulator.policy import Policy
from simulator.predictors import unanswered
from workloads.workload import Workload


def check_experiment(experiment: Experiment) -> list[Problem]:
    """Everything wrong with an experiment whose single fields are sound.

    The problems name fields, not files. A trace is opened only if something else is wrong too:
    otherwise the run reads it anyway, and reads it once.
    """
    problems: list[Problem] = []
    for name, pool in experiment.pools.items():
        problems += check_pool(name, pool)
    problems += _length_problems(experiment)
    problems += _prediction_problems(experiment)
    problems += _need_problems(experiment)
    for family in ("router", "predictor", "admission", "strategy"):
        problems += _parameter_problems(family, getattr(experiment, family).build())
    for name, strategy in experiment.strategies.items():
        problems += _parameter_problems(f"strategies.{name}", strategy.build())
    problems += check_workload(experiment.workload, read_trace=bool(problems))
    return problems


def check_pool(name: str, pool: PoolSettings) -> list[Problem]:
    """Everything that keeps `pool` from starting."""
    problems = _parameter_problems(f"pools.{name}.engine.scheduler", pool.engine.scheduler.build())
    try:
        resolve_pool(name, pool)
    except InputError as error:
        problems += error.problems
    return problems


def check_workload(workload: Workload, *, read_trace: bool = True) -> list[Problem]:
    """Whether the files are there and, with `read_trace`, whether their rows can be read."""
    problems = workload.check()
    if read_trace and not problems and workload.inputs():
        try:
            workload.generate(seed=0)
        except InputError as error:
            return error.problems
    return problems


def _prediction_problems(experiment: Experiment) -> list[Problem]:
    """A policy that goes by predicted lengths needs somebody to predict them."""
    policies = {
        f"pools.{name}.engine.scheduler": pool.engine.scheduler.build()
        for name, pool in experiment.pools.items()
    }
    policies |= {"router": experiment.router.build(), "admission": experiment.admission.build()}
    return unanswered(experiment.predictor.build(), policies)


def _need_problems(experiment: Experiment) -> list[Problem]:
    """A scheduler that goes by deadlines or priorities needs requests that have some."""
    workload, problems = experiment.workload, []
    due = any(slo.e2el_s is not None for slo in (experiment.slo, *workload.slos))
    ordered = len(set(workload.priorities)) > 1
    for name, pool in experiment.pools.items():
        scheduler = pool.engine.scheduler
        policy, field = scheduler.build(), f"pools.{name}.engine.scheduler"
        if policy.needs_deadline and not due:
            message = (
                f"{scheduler.kind} goes by deadlines, and no request has one: give slo.e2el_s, or"
                " the slo of a class its own"
            )
            problems.append(Problem(message, field=field))
        if policy.needs_priority and not ordered:
            message = (
                f"{scheduler.kind} goes by the priority of classes, and all requests have the same:"
                " give classes of a mix different ones"
            )
            problems.append(Problem(message, field=field))
    return problems


def _parameter_problems(field: str, policy: Policy) -> list[Problem]:
    return [
        replace(problem, field=f"{field}.{problem.field}" if problem.field else field)
        for problem in policy.problems()
    ]


def _length_problems(experiment: Experiment) -> list[Problem]:
    """A workload that is drawn has to end somewhere."""
    if not experiment.workload.needs_an_end:
        return []
    if experiment.arrivals_duration_s or experiment.measure.num_requests:
        return []
    message = "must say how much: give num_requests or duration_s here, or measure.window_s"
    return [Problem(message, field="workload")]
