import { post } from './client.ts';
import { randomNumbers } from './random.ts';
import type { Target } from './target.ts';
import { token } from './tokens.ts';

const DAY = 86_400_000;
const STEPS = ['step_1', 'step_2', 'step_3', 'step_4', 'finish'];
const PAGES = ['/', '/dashboard', '/settings', '/reports', '/search', '/help', '/billing'];

/** The size of a simulated product. */
interface Product {
  /** Number of users. */
  readonly users: number;
  /** Number of days, ending today. */
  readonly days: number;
  /** Approximate number of rows per user and day. */
  readonly rowsPerDay: number;
}

/**
 * Records the data of a small product up to now: load times by page, response sizes, tutorial steps and other events
 * of several users over several days. The server must run without RATE_LIMIT.
 *
 * @returns the number of rows recorded
 */
export async function recordProduct(target: Target, { users, days, rowsPerDay }: Product): Promise<number> {
  const random = randomNumbers(7);
  const now = Date.now();
  const authorization = `Bearer ${await token({ sub: 'seeder', role: 'admin' })}`;
  let rows = 0;
  for (let user = 0; user < users; user++) {
    const metrics: object[] = [];
    const analytics: object[] = [];
    const firstDay = Math.floor(random() * days * 0.8);
    for (let day = firstDay; day < days; day++) {
      if (day > firstDay && random() < 0.4) continue;
      // more in the middle of the day, and none in the future
      const at = () => now - (days - 1 - day) * DAY - Math.floor((random() + random()) * 0.49 * DAY) - 1000;
      for (let i = 0; i < rowsPerDay; i++) {
        const timestamp = new Date(at()).toISOString();
        const page = PAGES[Math.floor(random() ** 2 * PAGES.length)] ?? '/';
        const slow = random() < 0.05 ? 6 : 1;
        metrics.push(
          i % 4 === 3
            ? {
                metric_name: 'response_bytes',
                metric_value: Math.round(900 + random() * 90_000),
                data_string: page,
                timestamp,
              }
            : {
                metric_name: 'page_load_time',
                metric_value: Math.round((0.3 + random() * 1.4) * slow * 1000) / 1000,
                data_string: page,
                timestamp,
              },
        );
        analytics.push({
          type: 'page_view',
          data: { page, width: random() < 0.4 ? 390 : 1440 },
          data_index: page,
          timestamp,
        });
      }
      if (day === firstDay) {
        let time = at();
        for (const [step, name] of STEPS.entries()) {
          if (step > 0 && random() < 0.25) break;
          analytics.push({
            type: 'tutorial_step',
            data: { step: step + 1, outcome: 'completed' },
            data_index: name,
            timestamp: new Date(time).toISOString(),
          });
          time = Math.min(now - 500, time + 20_000 + Math.floor(random() * 300_000));
        }
      } else if (random() < 0.5) {
        analytics.push({
          type: 'tutorial_step',
          data: { step: 5 },
          data_index: 'finish',
          timestamp: new Date(at()).toISOString(),
        });
      }
    }
    for (let i = 0; i < Math.max(metrics.length, analytics.length); i += 500) {
      const body = { metrics: metrics.slice(i, i + 500), analytics: analytics.slice(i, i + 500) };
      const response = await post(target, '/log_batch', body, {
        authorization,
        'x-act-as-user-id': `user-${user + 1}`,
      });
      if (response.status !== 200) throw new Error(response.text);
      rows += body.metrics.length + body.analytics.length;
    }
  }
  return rows;
}
