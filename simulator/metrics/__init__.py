"""What a run measured: recording, latencies, intervals, load, cost, summary."""
