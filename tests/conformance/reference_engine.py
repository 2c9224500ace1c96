"""A naive second implementation of vLLM's scheduler, to check the real engine against.

It walks every iteration, every request and every block, and shares no code with
`simulator.engine`: two implementations that agree are unlikely to be wrong in the same way. Rules:
vLLM 0.33.0, as written down in ../shared/data/vllm_schedules/SPEC.md, whose section numbers stand
in brackets below. Here is the loop; `reference_scheduler` decides the iterations.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .reference_records import (
    Chunk,
    EngineConfig,
    Outcome,
    Request,
    State,
    Step,
    fill_outcome,
    token_names,
)
from .reference_scheduler import Scheduler, Scheduling

__all__ = [
    "Chunk",
    "EngineConfig",
    "Outcome",
    "Request",
    "Scheduling",
    "State",
    "Step",
    "simulate",
    "token_names",
]


@dataclass
class _Batch:
    """An iteration handed to the GPU; `step` is None if nothing was scheduled."""

    end_s: float
    scheduled: list[tuple[State, int, bool]]  # tokens, whether they sample one
    step: Step | None


def at_or_before(time_s: float, boundary_s: float) -> bool:
    """Whether something at `time_s` counts as there at the boundary (1e-9 relative)."""
    return time_s <= boundary_s * (1 + 1e-9) + 1e-12


def simulate(
    config: EngineConfig,
    requests: Iterable[Request],
    iteration_time_s: Callable[[list[Chunk]], float],
    scheduling: Scheduling = Scheduling(),  # noqa: B008 - frozen
    prefix_caching: bool = False,
) -> tuple[list[Outcome], list[Step]]:
    """Serve `requests` to the end; outcomes in the order given, and every iteration.

    `iteration_time_s` maps the chunks of an iteration, in scheduling order, to seconds. Raises
    RuntimeError if the head of the queue can never be admitted (chunked prefill off and more known
    tokens than the budget), ValueError for options that do not go together.
    """
    engine = ReferenceEngine(Scheduler(config, scheduling, prefix_caching), iteration_time_s)
    states = [State(request, position) for position, request in enumerate(requests)]
    engine.run(states)
    return [state.outcome for state in states], engine.steps


class ReferenceEngine:
    """The engine loop and its state; use `simulate`."""

    def __init__(
        self, scheduler: Scheduler, iteration_time_s: Callable[[list[Chunk]], float]
    ) -> None:
        self.config = scheduler.config
        self.scheduler = scheduler
        self.iteration_time_s = iteration_time_s
        self.now_s = 0.0
        self.steps: list[Step] = []
        self.batches: deque[_Batch] = deque()  # in flight, oldest first

    def run(self, states: list[State]) -> None:
        """(2) Serve all requests; ties of arrival go by submission order."""
        scheduler = self.scheduler
        arrivals: deque[State] = deque()
        for state in sorted(states, key=lambda state: state.request.arrival_s):
            if self.never_fits(state.request):
                state.outcome.status = "rejected"
            else:
                arrivals.append(state)
        depth = 2 if self.config.async_scheduling else 1
        while arrivals or scheduler.waiting or scheduler.running or self.batches:
            if not scheduler.waiting and not scheduler.running and not self.batches:
                self.now_s = max(self.now_s, arrivals[0].request.arrival_s)
            while arrivals and at_or_before(arrivals[0].request.arrival_s, self.now_s):
                scheduler.arrive(arrivals.popleft())
            self.cancel_due()
            if scheduler.waiting or scheduler.running:
                self.dispatch()
                if len(self.batches) < depth:
                    continue
            if self.batches:
                self.process_output()

    def never_fits(self, request: Request) -> bool:
        """Whether the request can become too long for the model or for the whole cache."""
        config = self.config
        longest = config.max_model_len
        if request.max_tokens is not None:
            longest = request.prompt_tokens + request.max_tokens
        return (
            request.prompt_tokens >= config.max_model_len
            or longest > config.max_model_len
            # The last token never gets keys and values.
            or self.scheduler.blocks(longest - 1) > self.scheduler.usable_blocks
        )

    def cancel_due(self) -> None:
        """Remove the waiting and running requests whose cancellation is due."""
        for state in [*self.scheduler.waiting, *self.scheduler.running]:
            cancel_s = state.request.cancel_s
            if cancel_s is not None and at_or_before(cancel_s, self.now_s):
                self.leave(state, "cancelled")

    def dispatch(self) -> None:
        """Schedule an iteration (3) and hand it to the GPU, which runs them back to back (8)."""
        scheduler = self.scheduler
        start_s = max(self.now_s, self.batches[-1].end_s) if self.batches else self.now_s
        decision = scheduler.schedule(start_s)
        if not decision.scheduled:
            # An empty call takes no time and is no step, but has its place among the batches.
            if not scheduler.running and not decision.preempted:
                request = scheduler.head().request
                raise RuntimeError(f"request {request.id} can never be admitted")
            self.batches.append(_Batch(start_s, [], None))
            return
        chunks = []
        batch = _Batch(0.0, [], None)
        for state, n in decision.scheduled.items():
            is_decode = state.known + state.placeholders - state.computed == 1
            state.computed += n
            state.in_flight += n
            state.chunk = state.computed < state.known + state.placeholders
            state.placeholders += not state.chunk
            batch.scheduled.append((state, n, not state.chunk))
            chunks.append((n, state.computed, is_decode))
        dt_s = self.iteration_time_s(chunks)
        batch.step = Step(
            sched_s=self.now_s,
            t_s=start_s,
            dt_s=dt_s,
            scheduled={state.request.id: n for state, n in decision.scheduled.items()},
            admitted={state.request.id: cached for state, cached in decision.admitted.items()},
            preempted=[state.request.id for state in decision.preempted],
            finished=[],
            free_blocks=len(scheduler.pool.free),
            num_running=len(scheduler.running),
            num_waiting=len(scheduler.waiting),
            free_blocks_end=0,
            context_sum=sum(context for _, context, _ in chunks),
        )
        batch.end_s = start_s + dt_s
        self.steps.append(batch.step)
        self.batches.append(batch)

    def process_output(self) -> None:
        """Wait for the oldest batch and process its output (7)."""
        batch = self.batches.popleft()
        self.now_s = batch.end_s
        for state, n, samples in batch.scheduled:
            if state.outcome.status:  # it has left meanwhile
                continue
            state.in_flight -= n
            evicted = state.stale > 0  # after this was scheduled
            if evicted:
                state.stale -= n
            else:
                state.placeholders -= samples
            if not samples:
                continue
            state.known += 1
            state.tokens_s.append(self.now_s)
            if not evicted:  # (8) a block may be full of known tokens only now
                self.scheduler.register(state, state.computed - state.in_flight)
            emitted = len(state.tokens_s)
            wanted = (state.request.output_tokens, state.request.max_tokens)
            if emitted in wanted or state.known >= self.config.max_model_len:
                self.leave(state, "completed")
                batch.step.finished.append(state.request.id)
        if batch.step is not None:
            batch.step.free_blocks_end = len(self.scheduler.pool.free)

    def leave(self, state: State, status: str) -> None:
        """The request leaves the engine now."""
        self.scheduler.leave(state)
        fill_outcome(state, status, self.now_s)
