import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import { createMetrics } from '../../../src/metrics.ts';
import type { AllocationState } from '../../../src/model/status.ts';
import { sectionsOf } from '../../support/markdown-headings.ts';
import { namedByPromql } from '../../support/promql.ts';

const alert = z.strictObject({
  alert: z.string(),
  expr: z.string(),
  for: z.string().optional(),
  labels: z.strictObject({ severity: z.enum(['info', 'warning', 'critical']) }),
  annotations: z.strictObject({ summary: z.string(), description: z.string(), runbook_url: z.string() }),
});
const rules = z.object({ groups: z.tuple([z.object({ rules: z.array(alert) })]) });
const cases = z.object({
  tests: z.array(
    z.object({ alert_rule_test: z.array(z.object({ alertname: z.string(), exp_alerts: z.array(z.unknown()) })) }),
  ),
});
const datasource = z.strictObject({ type: z.literal('prometheus'), uid: z.string().regex(/^\$\{datasource\}$/) });
const panel = z.object({
  id: z.int(),
  type: z.enum(['row', 'stat', 'timeseries']),
  title: z.string().min(1),
  description: z.string().min(1).optional(),
  datasource: datasource.optional(),
  gridPos: z.strictObject({ x: z.int(), y: z.int(), w: z.int(), h: z.int() }),
  targets: z.array(z.object({ refId: z.string(), expr: z.string(), legendFormat: z.string(), datasource })).optional(),
});
const dashboardSchema = z.object({
  uid: z.string().max(40),
  title: z.string(),
  // Grafana 10 and 11; later ones bring it up to theirs when it is imported.
  schemaVersion: z.literal(39),
  id: z.undefined().optional(),
  templating: z.object({ list: z.array(z.object({ name: z.string(), type: z.string(), query: z.unknown() })) }),
  panels: z.array(panel),
});

const read = (path: string) => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8');
const alerts = rules.parse(parse(read('deploy/prometheus/nomad-rootless.rules.yml'))).groups[0].rules;
const tested = cases.parse(parse(read('test/prometheus/nomad-rootless.test.yml'))).tests;
const dashboard = dashboardSchema.parse(JSON.parse(read('deploy/grafana/nomad-rootless.json')));
const page = read('docs/troubleshooting.md');
const targets = dashboard.panels.flatMap(({ targets: all = [] }) => all);

/** What Prometheus adds to what it has scraped. */
const OF_THE_SCRAPE = ['job', 'instance'];
const STATES: Record<AllocationState, true> = {
  preparing: true,
  ready: true,
  waiting: true,
  refused: true,
  failing: true,
  removing: true,
};

/** The series of a new agent: their names, labels, and the values that these can have, where these are known beforehand. */
async function seriesOfAgent(): Promise<Map<string, ReadonlyMap<string, ReadonlySet<string>>>> {
  const { registry } = createMetrics('0.0.0');
  const known = new Map([['up', new Map<string, ReadonlySet<string>>()]]);
  const measured = await registry.getMetricsAsJSON();
  for (const metric of registry.getMetricsAsArray()) {
    const { type, values = [] } = measured.find(({ name }) => name === metric.name) ?? {};
    const names: unknown = 'labelNames' in metric ? metric.labelNames : [];
    const labels = new Map(
      z
        .array(z.string())
        .parse(names)
        .map((name) => [name, new Set<string>()]),
    );
    for (const { labels: given } of values)
      for (const [name, value] of Object.entries(given)) labels.get(name)?.add(String(value));
    const isHistogram = String(type) === 'histogram';
    for (const suffix of isHistogram ? ['_sum', '_count'] : ['']) known.set(`${metric.name}${suffix}`, labels);
    if (isHistogram) known.set(`${metric.name}_bucket`, new Map([...labels, ['le', new Set<string>()]]));
  }
  known.set(
    'nomad_rootless_allocations',
    new Map([
      ['user', new Set()],
      ['state', new Set(Object.keys(STATES))],
    ]),
  );
  const codes = sectionsOf(page).filter(({ depth }) => depth === 4);
  known.set('nomad_rootless_errors_total', new Map([['code', new Set(codes.map(({ title }) => title))]]));
  return known;
}

const series = await seriesOfAgent();

/** What is wrong with what an expression names, or with the labels that its result is said to have. */
function problemsOf(expression: string, shown: string): string[] {
  const { selected, groupedBy } = namedByPromql(expression);
  const unknown = selected.filter(({ metric }) => !series.has(metric)).map(({ metric }) => `no metric ${metric}`);
  const matched = selected.flatMap(({ metric, matchers }) =>
    matchers.flatMap(({ label, value }) => {
      if (OF_THE_SCRAPE.includes(label)) return [];
      const values = series.get(metric)?.get(label);
      if (!values) return [`${metric} has no label ${label}`];
      const strange = value.split('|').filter((one) => values.size > 0 && !values.has(one));
      return strange.map((one) => `${metric} never has ${label}="${one}"`);
    }),
  );
  const labels = [...OF_THE_SCRAPE, ...selected.flatMap(({ metric }) => [...(series.get(metric)?.keys() ?? [])])];
  const aggregated = /\b(sum|max|min|avg|count)\b/.test(expression) ? groupedBy : labels;
  const strangers = groupedBy.filter((label) => !labels.includes(label)).map((label) => `nothing has label ${label}`);
  const templated = [...shown.matchAll(/\{\{ *(?:\$labels\.)?(\w+) *\}\}/g)].map(([, label = '']) => label);
  const lost = templated.filter((label) => !aggregated.includes(label)).map((label) => `the result has no ${label}`);
  return [...unknown, ...matched, ...strangers, ...lost];
}

describe('what an expression names', () => {
  test('is read out of it', () => {
    const expression =
      'sum by (le, user) (rate(a_bucket{x=~"b|c", y!="d by e"}[5m])) > 0.5 and on (job) f offset 1h or g unless time() - h == 1e3';
    expect(namedByPromql(expression)).toEqual({
      selected: [
        {
          metric: 'a_bucket',
          matchers: [
            { label: 'x', value: 'b|c' },
            { label: 'y', value: 'd by e' },
          ],
        },
        ...['f', 'g', 'h'].map((metric) => ({ metric, matchers: [] })),
      ],
      groupedBy: ['le', 'user', 'job'],
    });
    expect(() => namedByPromql('a ; b')).toThrow('; b');
  });

  test.each([
    ['nomad_rootless_gate_request_total', '', 'no metric nomad_rootless_gate_request_total'],
    ['nomad_rootless_queue_depth{user="x"}', '', 'nomad_rootless_queue_depth has no label user'],
    ['nomad_rootless_ghosts{kind=~"container|pod"}', '', 'nomad_rootless_ghosts never has kind="pod"'],
    ['sum by (user) (nomad_rootless_ghosts)', '', 'nothing has label user'],
    ['sum(nomad_rootless_ghosts)', '{{kind}}', 'the result has no kind'],
  ])('is compared with what the agent has: %s', (expression, shown, problem) => {
    expect(problemsOf(expression, shown)).toEqual([problem]);
  });
});

describe('the alerts', () => {
  test.each(alerts)('$alert: the agent has what it asks for', ({ expr, annotations }) => {
    expect(problemsOf(expr, `${annotations.summary} ${annotations.description}`)).toEqual([]);
  });

  test('have a page each, in their order, and no other alert has one', () => {
    const inPage = sectionsOf(sectionsOf(page).find(({ title }) => title === 'Alerts')?.text ?? '');
    expect(inPage.map(({ title }) => title)).toEqual(alerts.map((one) => one.alert));
    const base = 'file:///usr/share/doc/nomad-rootless/docs/troubleshooting.md';
    expect(alerts.map(({ annotations }) => annotations.runbook_url)).toEqual(
      inPage.map(({ anchor }) => `${base}#${anchor}`),
    );
  });

  test('have a case each that they fire in and one that they do not', () => {
    const seen = tested.flatMap((one) => one.alert_rule_test);
    const firing = seen.filter((one) => one.exp_alerts.length > 0).map(({ alertname }) => alertname);
    const quiet = seen.filter((one) => one.exp_alerts.length === 0).map(({ alertname }) => alertname);
    const names = alerts.map((one) => one.alert);
    expect([firing, quiet]).toEqual([names, names]);
  });
});

describe('the dashboard', () => {
  test.each(targets)('the agent has $expr', ({ expr, legendFormat }) => {
    expect(problemsOf(expr.replaceAll('$__rate_interval', '5m'), legendFormat)).toEqual([]);
  });

  test('shows every metric of the agent', () => {
    const shown = new Set(
      targets.flatMap(({ expr }) =>
        namedByPromql(expr.replaceAll('$__rate_interval', '5m')).selected.map(({ metric }) => metric),
      ),
    );
    const names = [...series.keys()].filter((name) => /^nomad_rootless_.*(?<!_sum|_count)$/.test(name));
    expect(names.length).toBeGreaterThan(15);
    expect(names.filter((name) => !shown.has(name))).toEqual([]);
  });

  test('has its rows, and a panel with a word to it in each place', () => {
    const rows = dashboard.panels.filter(({ type }) => type === 'row').map(({ title }) => title);
    expect(rows).toEqual(['Gate', 'Users', 'Reconcile', 'Nomad', 'Agent']);
    for (const { type, title, ...rest } of dashboard.panels.filter((one) => one.type !== 'row')) {
      expect(rest.description, title).toBeDefined();
      expect(rest.datasource, title).toBeDefined();
      expect(rest.targets?.length, title).toBeGreaterThan(0);
      expect(new Set(rest.targets?.map(({ refId }) => refId)).size, title).toBe(rest.targets?.length);
    }
    expect(new Set(dashboard.panels.map(({ id }) => id)).size).toBe(dashboard.panels.length);
  });

  test('lays no panel over another one, nor beside its 24 columns', () => {
    const taken = new Set<string>();
    for (const { title, gridPos } of dashboard.panels) {
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
          expect(x < 24 && !taken.has(`${x},${y}`), `${title} at ${x},${y}`).toBe(true);
          taken.add(`${x},${y}`);
        }
      }
    }
  });

  test('asks which Prometheus, which jobs and which instances', () => {
    const variables = dashboard.templating.list.map(({ name, type }) => `${type} ${name}`);
    expect(variables).toEqual(['datasource datasource', 'query job', 'query instance']);
    for (const { expr } of targets) expect(expr).toContain('{job=~"$job", instance=~"$instance"');
  });
});
