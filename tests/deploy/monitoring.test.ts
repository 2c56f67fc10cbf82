import { beforeAll, describe, expect, test } from 'bun:test';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { METRIC, post, send } from '../harness/client.ts';
import { SECRET, startTarget, temporaryFolder } from '../harness/target.ts';

/*
 * The files in deploy/ for Prometheus and Grafana, checked by promtool and against the metrics of a server.
 */

const FOLDER = join(import.meta.dir, '../../deploy');
const hasPromtool = Bun.which('promtool') !== null;
if (!hasPromtool) console.warn('SKIPPED: checks of the alerts; run "apt-get install prometheus"');

interface Dashboard {
  readonly panels: readonly {
    readonly id: number;
    readonly title: string;
    readonly targets: readonly { expr: string }[];
  }[];
  readonly annotations: { readonly list: readonly { readonly expr: string }[] };
}
const dashboard: Dashboard = JSON.parse(readFileSync(join(FOLDER, 'grafana-dashboard.json'), 'utf8'));
const rules = readFileSync(join(FOLDER, 'rawlog.rules.yml'), 'utf8');

/** Returns the queries of the dashboard, with values in place of Grafana's variables. */
function dashboardQueries(): string[] {
  return [...dashboard.panels.flatMap(({ targets }) => targets), ...dashboard.annotations.list].map(({ expr }) =>
    expr.replaceAll('$__rate_interval', '5m').replaceAll('$job', 'rawlog').replaceAll('$instance', '.*'),
  );
}

/** Runs promtool in a folder with the files for Prometheus. */
function promtool(args: readonly string[], files: Record<string, string> = {}): { exitCode: number; output: string } {
  using folder = temporaryFolder();
  cpSync(FOLDER, folder.path, { recursive: true });
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder.path, name), text);
  const { exitCode, stdout, stderr } = Bun.spawnSync(['promtool', ...args], { cwd: folder.path });
  return { exitCode, output: stdout.toString() + stderr.toString() };
}

describe('the metrics', () => {
  let exposed: string;
  beforeAll(async () => {
    const target = await startTarget({
      ...{ JWT_SECRET: SECRET, METRICS_TOKEN: 'a-token-for-metrics', FORWARD_URL: 'nats://127.0.0.1:1/rawlog' },
    });
    await post(target, '/log_raw_metric', METRIC);
    await post(target, '/log_raw_metric', {});
    await target.logged(({ sink }) => sink !== undefined); // the forwarder has started
    const { text } = await send(`${target.url}/metrics`, { headers: { authorization: 'Bearer a-token-for-metrics' } });
    exposed = text;
    await target.stop();
  });

  test.each([
    ['alerts', () => rules],
    ['dashboard', () => dashboardQueries().join('\n')],
  ])('that the %s use exist', (_, text) => {
    const names = new Set(text().match(/\b(?:rawlog|process|nodejs|http_request)_\w+/g));
    names.delete('rawlog_token');
    expect(names.size).toBeGreaterThan(8);
    expect([...names].filter((name) => !new RegExp(`^${name}[ {]`, 'm').test(exposed))).toEqual([]);
  });
});

describe.skipIf(!hasPromtool)('promtool', () => {
  test('accepts the configuration', () => {
    const credentials = 'rawlog-token';
    const configuration = readFileSync(join(FOLDER, 'prometheus.yml'), 'utf8').replace('/etc/prometheus/', '');
    const { exitCode, output } = promtool(['check', 'config', 'prometheus.yml'], {
      [credentials]: 'a-token-for-metrics',
      'prometheus.yml': configuration,
    });
    expect({ exitCode, output }).toEqual({ exitCode: 0, output: expect.stringContaining('SUCCESS') });
  });

  test('accepts the queries of the dashboard', () => {
    const list = dashboardQueries().map((expr, i) => ({ record: `panel:query${i}:dashboard`, expr }));
    const text = JSON.stringify({ groups: [{ name: 'dashboard', rules: list }] });
    const { exitCode, output } = promtool(['check', 'rules', 'dashboard.yml'], { 'dashboard.yml': text });
    expect({ exitCode, output }).toEqual({
      exitCode: 0,
      output: expect.stringContaining(`${list.length} rules found`),
    });
  });

  test('fires an alert when rows or tokens are rejected, the disk fills up, recording stops, backups are late, queries are slow, and the server is down', () => {
    const series = (name: string, values: string) => ({ series: `${name}`, values });
    const alert = (alertname: string, evalTime: string, labels: Record<string, string>[]) => ({
      eval_time: evalTime,
      alertname,
      exp_alerts: labels.map((exp_labels) => ({ exp_labels })),
    });
    const instance = 'a:3000';
    const job = 'rawlog';
    const tests = {
      rule_files: ['rawlog.rules.yml'],
      evaluation_interval: '1m',
      tests: [
        {
          interval: '1m',
          input_series: [
            series(`up{job="rawlog",instance="${instance}"}`, '1x10 0x20'),
            series(
              `rawlog_items_rejected_total{job="rawlog",instance="${instance}",code="overloaded"}`,
              '0x5 10+10x25',
            ),
            series(
              `rawlog_items_rejected_total{job="rawlog",instance="${instance}",code="validation_failed"}`,
              '0+10x30',
            ),
            ...['signature', 'expired'].map((reason) =>
              series(
                `rawlog_tokens_rejected_total{job="rawlog",instance="${instance}",reason="${reason}"}`,
                '0+600x30',
              ),
            ),
            series(`rawlog_ingest_lag_seconds{job="rawlog",instance="${instance}"}`, '5x5 100x25'),
            // nine of ten queries take more than 5 s
            ...[
              ['5', '0+1x30'],
              ['10', '0+10x30'],
              ['+Inf', '0+10x30'],
            ].map(([le, values = '']) =>
              series(
                `rawlog_query_duration_seconds_bucket{job="rawlog",instance="${instance}",query="series",le="${le}"}`,
                values,
              ),
            ),
            series(`rawlog_disk_free_bytes{job="rawlog",instance="${instance}"}`, '9e9-3e8x30'),
            // of two servers, one will have less than MIN_FREE_BYTES in three days, but more than 0
            ...['a', 'b'].map((name) => series(`rawlog_disk_free_bytes{instance="slow-${name}"}`, '1e11-1e7x120')),
            series('rawlog_disk_min_free_bytes{instance="slow-a"}', '8e10x120'),
            series('rawlog_disk_min_free_bytes{instance="slow-b"}', '1e9x120'),
            series(`rawlog_recording_stopped{instance="${instance}"}`, '0x5 1x25'),
            series(`rawlog_backup_age_seconds{instance="${instance}"}`, '172000+60x30'),
          ],
          alert_rule_test: [
            alert('RawlogDown', '9m', []),
            alert('RawlogDown', '15m', [{ severity: 'page', instance, job }]),
            alert('RawlogOverloaded', '4m', []),
            alert('RawlogOverloaded', '20m', [{ severity: 'page', instance }]),
            alert('RawlogStorageFails', '20m', []),
            alert('RawlogTokensRejected', '25m', [{ severity: 'ticket', instance, reason: 'signature' }]),
            alert('RawlogColumnStoreLags', '10m', []),
            alert('RawlogColumnStoreLags', '25m', [{ severity: 'ticket', instance, job }]),
            alert('RawlogQueriesSlow', '25m', [{ severity: 'ticket', instance, query: 'series' }]),
            alert('RawlogDiskFillsUp', '110m', [{ severity: 'ticket', instance: 'slow-a' }]),
            alert('RawlogRecordingStopped', '5m', []),
            alert('RawlogRecordingStopped', '6m', [{ severity: 'page', instance }]),
            alert('RawlogBackupLate', '10m', []),
            alert('RawlogBackupLate', '20m', [{ severity: 'ticket', instance }]),
            alert('RawlogDiskLow', '10m', []),
            alert('RawlogDiskLow', '25m', [{ severity: 'page', instance, job }]),
          ],
        },
      ],
    };
    // annotations are compared too, so the rules are tested without them
    const bare = rules.replace(/^ +annotations:\n(?: {10}.*\n)+/gm, '');
    const { exitCode, output } = promtool(['test', 'rules', 'test.yml'], {
      'rawlog.rules.yml': bare,
      'test.yml': JSON.stringify(tests),
    });
    expect({ exitCode, output }).toEqual({ exitCode: 0, output: expect.stringContaining('SUCCESS') });
  });
});

test('panels of the dashboard have distinct IDs and titles, and queries', () => {
  const { panels } = dashboard;
  expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
  expect(new Set(panels.map(({ title }) => title)).size).toBe(panels.length);
  for (const { targets } of panels) expect(targets.length).toBeGreaterThan(0);
});
