"""Checks /metrics with the parser of Prometheus and the naming rules of promtool."""

import urllib.request

from prometheus_client.openmetrics.parser import text_string_to_metric_families

# Metrics that dashboards use, by the family name of the parser.
REQUIRED = {
    "inferd_requests": "counter", "inferd_request_duration_seconds": "histogram", "inferd_queued_requests": "gauge",
    "inferd_queue_duration_seconds": "histogram", "inferd_tokens": "counter", "inferd_batch_sequences": "histogram",
    "inferd_batch_duration_seconds": "histogram", "inferd_batch_tokens": "histogram",
    "inferd_model_load_duration_seconds": "gauge", "inferd_memory_estimate_bytes": "gauge",
    "inferd_memory_loaded_bytes": "gauge", "inferd_memory_anonymous_bytes": "gauge",
    "process_resident_memory_bytes": "gauge", "inferd_blas_threads": "gauge", "process_threads": "gauge",
    "inferd_inflight_requests": "gauge", "inferd_model_loaded": "gauge", "inferd_uptime_seconds": "gauge",
    "inferd_connections": "gauge", "inferd_reloads": "counter", "inferd_build": "info",
}


def check(url):
    with urllib.request.urlopen(url + "/metrics", timeout=30) as response:
        assert response.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
        text = response.read().decode()
    return judge(text)


def judge(text):
    findings, families = [], {}
    for family in text_string_to_metric_families(text):
        if family.name in families:
            findings.append(f"metrics: {family.name} is listed twice")
        families[family.name] = family
        if not family.documentation:
            findings.append(f"metrics: {family.name} has no help text")
        if family.type == "unknown":
            findings.append(f"metrics: {family.name} has no type")
        if not family.samples:
            findings.append(f"metrics: {family.name} has no sample")
        if family.type == "histogram":
            findings += histogram(family)
        if family.type == "counter" and not all(sample.name.endswith("_total") for sample in family.samples):
            findings.append(f"metrics: the counter {family.name} does not end in _total")
        if any(family.name.endswith(end) for end in ("_ms", "_milliseconds", "_mib", "_total_total")):
            findings.append(f"metrics: {family.name} is not in a base unit")
    for name, kind in REQUIRED.items():
        if name not in families:
            findings.append(f"metrics: {name} is missing")
        elif families[name].type not in (kind, "info"):
            findings.append(f"metrics: {name} is a {families[name].type}, not a {kind}")
    if not findings:
        print(f"  pass  metrics: {len(families)} families, {len(text.splitlines())} lines", flush=True)
    return findings


def histogram(family):
    buckets = [sample.value for sample in family.samples if sample.name.endswith("_bucket")]
    count = [sample.value for sample in family.samples if sample.name.endswith("_count")]
    if buckets != sorted(buckets) or buckets[-1:] != count:
        return [f"metrics: the buckets of {family.name} are not cumulative"]
    return []
