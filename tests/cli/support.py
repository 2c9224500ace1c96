"""What the tests of the command line share."""

from dataclasses import dataclass

GOOD = """\
name: small
seed: 0
pools:
  reasoning:
    model: llama-3.1-8b
    gpu: h100-sxm
    replicas: 1
    tensor_parallel_size: 1
    engine:
      preset: vllm-0.33
      max_num_seqs: 64
      max_num_batched_tokens: 2048
      max_model_len: 16384
workload:
  kind: synthetic
  arrivals: {kind: poisson, rate_rps: 4.0}
  prompt_tokens: {kind: lognormal, mu: 5.0, sigma: 0.5, max: 1024}
  thinking_tokens: {kind: lognormal, mu: 5.0, sigma: 0.5, max: 2048}
  answer_tokens: {kind: lognormal, mu: 4.0, sigma: 0.5, max: 512}
  num_requests: 40
slo: {ttft_s: 2.0, tpot_s: 0.05}
"""


@dataclass
class Outcome:
    """What one command left behind."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        return [line for line in self.err.splitlines() if line.startswith("error: ")]
