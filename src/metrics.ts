import { Counter, collectDefaultMetrics, Gauge, Histogram, type OpenMetricsContentType, Registry } from 'prom-client';

const PREFIX = 'nomad_rootless_';
const FAST = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** The values that labels can take: each is there from the start with zero, so that rates and alerts work from the first event. */
export const LABELS = {
  result: ['settled', 'refused', 'retry', 'failed', 'gone'],
  step: ['acl', 'view', 'log_fifo', 'netns', 'volume'],
  ghost: ['container', 'network'],
  verdict: ['passed', 'created', 'refused', 'timeout', 'bad_request', 'bad_peer', 'upstream_error', 'abandoned'],
} as const;

/** How a pass over one allocation ended; the `result` label. */
export type PassResult = (typeof LABELS.result)[number];
/** What the gate did with a request; the `verdict` label. */
export type GateVerdict = (typeof LABELS.verdict)[number];
/** The kinds of step a plan has; the `kind` label. */
export type StepKind = (typeof LABELS.step)[number];

/** The labels of an exemplar: which allocation an observation was of. Where there is none, no exemplar is kept. */
export function exemplarOf(allocation: string | undefined): Record<string, string> {
  return allocation === undefined ? {} : { allocation };
}

/**
 * All metrics of the agent, in a registry of their own. Allocation ids are never labels, since they would grow without bound;
 * `openMetrics` has the same metrics with exemplars, which name some.
 */
export type Metrics = ReturnType<typeof createMetrics>;

/** Makes the metrics. `version` and `node` go into build_info. Durations are in seconds, as Prometheus has it. */
export function createMetrics(version: string) {
  const registry = new Registry();
  const registers = [registry];
  const openMetrics = new Registry<OpenMetricsContentType>();
  openMetrics.setContentType(Registry.OPENMETRICS_CONTENT_TYPE);
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 100 });
  // Gauges with the name of a counter: promtool calls that an error, and nobody needs them.
  for (const what of ['handles', 'resources', 'requests']) registry.removeSingleMetric(`nodejs_active_${what}_total`);
  const gauge = <L extends string>(name: string, help: string, labelNames: readonly L[] = []) =>
    new Gauge<L>({ name: PREFIX + name, help, labelNames, registers });
  const counter = <L extends string>(name: string, help: string, labelNames: readonly L[] = []) =>
    new Counter<L>({ name: PREFIX + name, help, labelNames, registers });
  const histogram = <L extends string>(name: string, help: string, labelNames: readonly L[]) => {
    // prom-client has exemplars only of what is made for OpenMetrics; they are not in its text for Prometheus.
    const options = { labelNames, registers: [openMetrics], buckets: FAST, enableExemplars: true };
    const made = new Histogram<L>({ name: PREFIX + name, help, ...options });
    registry.registerMetric(made);
    return made;
  };

  const metrics = {
    registry,
    openMetrics,
    buildInfo: gauge('build_info', 'Always 1; the labels say what runs.', ['version', 'node_version']),
    allocations: gauge('allocations', 'Allocations known, by user and state.', ['user', 'state']),
    reconcile: counter('reconcile_total', 'Passes over an allocation, by result.', ['result']),
    reconcileSeconds: histogram('reconcile_duration_seconds', 'Time of a pass over an allocation.', ['result']),
    stepSeconds: histogram('step_duration_seconds', 'Time of one applied step, by kind.', ['kind']),
    queueDepth: gauge('queue_depth', 'Allocations waiting for a pass.'),
    queueAdds: counter('queue_adds_total', 'Allocations put into the queue.'),
    queueRetries: counter('queue_retries_total', 'Passes postponed after a retryable error.'),
    gateRequests: counter('gate_requests_total', 'Requests at the gates, by verdict.', ['verdict']),
    gateHoldSeconds: histogram(
      'gate_hold_duration_seconds',
      'Time a container create was held until its allocation was ready.',
      ['user'],
    ),
    gateAnswerSeconds: histogram(
      'gate_answer_duration_seconds',
      "Time until a user's Podman began to answer a request that was passed on to it.",
      ['user'],
    ),
    gateHeld: gauge('gate_held', 'Container creates held now.'),
    gateUnknownFields: counter('gate_unknown_fields_total', 'Fields of container creates that the gate does not know.'),
    userPodmanUp: gauge('user_podman_up', "Whether a user's Podman answers: 1 or 0.", ['user']),
    latePreparations: counter('late_preparations_total', 'Containers found running before their allocation was ready.'),
    streamConnected: gauge('event_stream_connected', 'Whether the event stream is connected: 1 or 0.'),
    streamLastEvent: gauge(
      'event_stream_last_event_timestamp_seconds',
      'When the event stream last sent anything, heartbeats included.',
    ),
    streamReconnects: counter('event_stream_reconnects_total', 'Times the event stream was opened again.'),
    resyncTimestamp: gauge('resync_timestamp_seconds', 'When all allocations of this node were last listed.'),
    cleanup: counter('cleanup_total', 'Things removed, by kind.', ['kind']),
    ghosts: gauge('ghosts', 'Containers and networks left by allocations that have ended, by kind.', ['kind']),
    ghostsRemoved: counter('ghosts_removed_total', 'Ghosts that were removed, by kind.', ['kind']),
    errors: counter('errors_total', 'Errors, by code.', ['code']),
  };

  metrics.buildInfo.set({ version, node_version: process.version }, 1);
  for (const result of LABELS.result) {
    metrics.reconcile.inc({ result }, 0);
    metrics.reconcileSeconds.zero({ result });
  }
  for (const kind of LABELS.step) {
    metrics.stepSeconds.zero({ kind });
    metrics.cleanup.inc({ kind }, 0);
  }
  for (const kind of LABELS.ghost) {
    metrics.ghosts.set({ kind }, 0);
    metrics.ghostsRemoved.inc({ kind }, 0);
  }
  for (const verdict of LABELS.verdict) metrics.gateRequests.inc({ verdict }, 0);
  for (const metric of registry.getMetricsAsArray()) {
    // prom-client renames counters when it writes OpenMetrics: these are to be other objects, with the same values.
    if (!openMetrics.getSingleMetric(metric.name)) openMetrics.registerMetric(Object.create(metric));
  }
  return metrics;
}
