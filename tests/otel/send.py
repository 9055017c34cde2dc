"""An application instrumented with OpenTelemetry's SDK, driven from outside.

Arguments: service name, protocol (grpc or http), compression, temporality (cumulative or delta), endpoint.
For every line on standard input it records ten requests and three latencies, exports them, and answers
"ok" or "failed". The SDK and its exporters are used as their documentation says.
"""

import sys

import grpc
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

name, protocol, compression, temporality, endpoint = sys.argv[1:]
preferred = {}
if temporality == "delta":
    preferred = {kind: AggregationTemporality.DELTA for kind in (Counter, Histogram)}
if protocol == "grpc":
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter

    chosen = grpc.Compression.Gzip if compression == "gzip" else grpc.Compression.NoCompression
    exporter = OTLPMetricExporter(
        endpoint=endpoint, insecure=True, compression=chosen, preferred_temporality=preferred
    )
else:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    exporter = OTLPMetricExporter(
        endpoint=endpoint, compression=Compression(compression), preferred_temporality=preferred
    )
reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
resource = Resource.create({"service.name": name, "service.instance.id": "1", "host.name": "h"})
fine = View(instrument_name="size", aggregation=ExponentialBucketHistogramAggregation())
provider = MeterProvider(metric_readers=[reader], resource=resource, views=[fine])
meter = provider.get_meter("application", "1.0")
requests = meter.create_counter("requests", description="Requests served.")
latency = meter.create_histogram("latency", unit="ms")
size = meter.create_histogram("size", unit="By")
print("ready", flush=True)
for _ in sys.stdin:
    requests.add(10, {"http.route": "/a"})
    for value in (1, 7, 300):
        latency.record(value)
        size.record(value)
    print("ok" if provider.force_flush(timeout_millis=30_000) else "failed", flush=True)
