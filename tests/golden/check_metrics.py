"""Reads metrics.prom, which telemetry's tests expect of the export for Prometheus, with Prometheus's own parser.

prometheus_client 0.26.0."""
import math
import pathlib

from prometheus_client.parser import text_string_to_metric_families

text = (pathlib.Path(__file__).parent / "metrics.prom").read_text()
families = list(text_string_to_metric_families(text))
samples = {}
for family in families:
    assert family.type == "gauge" and family.documentation, family
    for sample in family.samples:
        key = (sample.name, *(f"{name}={value}" for name, value in sample.labels.items() if name not in ("run", "stage")))
        assert sample.labels["run"] == "runs/rl" and sample.labels["stage"] == "rl" and key not in samples, key
        samples[key] = sample.value
assert len(families) == len({family.name for family in families})
assert samples[("keep_step",)] == 7 and samples[("keep_alive_timestamp_seconds",)] == 1763906729.125
assert math.isnan(samples[("keep_train_loss",)]) and samples[("keep_train_grad_norm",)] == math.inf
assert samples[("keep_train_learning_rate",)] == 1e-6 and samples[("keep_train_time_rollout_seconds",)] == 18.25
assert samples[("keep_eval_chrf", "evaluation=held_out", 'group=a "quoted\\" name')] == 60
assert samples[("keep_gpu_power_watts", "gpu=1")] == 71
print(f"{len(families)} metrics, {len(samples)} samples")
