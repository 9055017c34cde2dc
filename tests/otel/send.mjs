// An application instrumented with OpenTelemetry's SDK for JavaScript, driven from outside.
//
// Arguments: service name, compression (none or gzip), temporality (cumulative or delta), endpoint. Its exporter
// writes JSON. For every line on standard input it records ten requests and three latencies, exports them, and
// answers "ok" or "failed". It must stand where `node_modules` is found.

import { createInterface } from "node:readline";
import { OTLPMetricExporter, AggregationTemporalityPreference } from "@opentelemetry/exporter-metrics-otlp-http";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { AggregationType, MeterProvider, PeriodicExportingMetricReader } from "@opentelemetry/sdk-metrics";

const [name, compression, temporality, url] = process.argv.slice(2);
const exporter = new OTLPMetricExporter({
  url,
  compression,
  temporalityPreference:
    temporality === "delta" ? AggregationTemporalityPreference.DELTA : AggregationTemporalityPreference.CUMULATIVE,
});
// Whether the last export was acknowledged; the reader only logs that it was not.
let failed = false;
const send = exporter.export.bind(exporter);
exporter.export = (metrics, done) =>
  send(metrics, (result) => {
    failed ||= result.code !== 0;
    done(result);
  });
const provider = new MeterProvider({
  resource: resourceFromAttributes({ "service.name": name, "service.instance.id": "1", "host.name": "h" }),
  readers: [new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 })],
  views: [{ instrumentName: "size", aggregation: { type: AggregationType.EXPONENTIAL_HISTOGRAM } }],
});
const meter = provider.getMeter("application", "1.0");
const requests = meter.createCounter("requests", { description: "Requests served." });
const latency = meter.createHistogram("latency", { unit: "ms" });
const size = meter.createHistogram("size", { unit: "By" });
console.log("ready");
for await (const _ of createInterface({ input: process.stdin })) {
  requests.add(10, { "http.route": "/a" });
  for (const value of [1, 7, 300]) {
    latency.record(value);
    size.record(value);
  }
  failed = false;
  await provider.forceFlush().catch(() => (failed = true));
  console.log(failed ? "failed" : "ok");
}
