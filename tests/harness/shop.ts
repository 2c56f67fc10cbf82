import { post } from './client.ts';
import { randomNumbers } from './random.ts';
import type { Target } from './target.ts';
import { token } from './tokens.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const BATCH_ITEMS = 1000;

/** The size of a simulated shop. */
export interface Shop {
  /** Number of days, the last one ending at `end`. */
  readonly days: number;
  /** Average number of new users per day. Each makes about a hundred rows in two months. */
  readonly signupsPerDay: number;
  /** When the last day ends, in milliseconds since 1970; by default, now. */
  readonly end?: number;
  readonly seed?: number;
}

/** A metric or an event of a user, as an item of a batch. */
export type ShopRow = { readonly user_id: string; readonly timestamp: string } & (
  | { readonly metric_name: string; readonly metric_value: number; readonly data_string: string }
  | { readonly type: string; readonly data_index: string; readonly data: Readonly<Record<string, string | number>> }
);

interface User {
  readonly id: string;
  readonly firstDay: number;
  readonly plan: string;
  readonly country: string;
  readonly device: string;
  readonly interest: number;
}

const PLANS = [
  ['free', 0.68],
  ['pro', 0.24],
  ['team', 0.08],
] as const;
const COUNTRIES = [
  ['DE', 0.34],
  ['US', 0.22],
  ['FR', 0.14],
  ['GB', 0.12],
  ['NL', 0.08],
  ['JP', 0.06],
  ['BR', 0.04],
] as const;
const DEVICES = [
  ['ios', 0.41],
  ['android', 0.35],
  ['web', 0.24],
] as const;
const PAGES = [
  ['/products', 0.4],
  ['/', 0.22],
  ['/search', 0.16],
  ['/pricing', 0.12],
  ['/account', 0.07],
  ['/help', 0.03],
] as const;
const TUTORIAL = ['welcome', 'profile', 'first_search', 'notifications', 'finish'];

/** Monday to Sunday: a shop sells more on weekends. */
const WEEKDAYS = [0.92, 0.88, 0.9, 0.95, 1.05, 1.22, 1.18];
/** Days before the end: a campaign, a slow release of the search page, and a night without any rows. */
const CAMPAIGN = 12;
const SLOW_SEARCH = 9;
const OUTAGE = 5;

/**
 * Yields the rows of a small shop, day by day and within a day in chronological order: visits with page loads and
 * events, signups with a tutorial, carts and purchases. Visits grow, follow the weekdays, and have a spike; one page
 * becomes slow; the API becomes faster.
 */
export function* shopDays({ days, signupsPerDay, end = Date.now(), seed = 7 }: Shop): Generator<ShopRow[]> {
  const random = randomNumbers(seed);
  const pick = <Value>(choices: readonly (readonly [Value, number])[]): Value => {
    let left = random();
    for (const [value, share] of choices) {
      left -= share;
      if (left < 0) return value;
    }
    return (choices[0] as readonly [Value, number])[0]; // the shares add up to one, but for rounding
  };
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  const logNormal = (median: number, spread: number) => median * Math.exp(spread * normal());
  const users: User[] = [];
  for (let day = 0; day < days; day++) {
    const start = end - (days - day) * DAY;
    const daysLeft = days - day - 1;
    const weekday = WEEKDAYS[(new Date(start + DAY / 2).getUTCDay() + 6) % 7] as number;
    const trend = 0.9 + (0.2 * day) / Math.max(1, days - 1);
    const spike = daysLeft === CAMPAIGN ? 2.6 : daysLeft === CAMPAIGN - 1 ? 1.6 : 1;
    const newUsers = Math.max(1, Math.round(signupsPerDay * weekday * trend * spike * (0.9 + 0.2 * random())));
    for (let i = 0; i < newUsers; i++) {
      users.push({
        id: `user-${String(users.length + 1).padStart(5, '0')}`,
        firstDay: day,
        plan: pick(PLANS),
        country: pick(COUNTRIES),
        device: pick(DEVICES),
        interest: 0.4 + 1.2 * random() ** 2,
      });
    }
    const rows: ShopRow[] = [];
    for (const user of users) {
      const age = day - user.firstDay;
      const visits = age === 0 ? 1 : 0.3 * user.interest * weekday * (1 + age) ** -0.4 > random() ? 1 : 0;
      if (visits > 0) visit(user, age === 0, start, daysLeft, rows);
    }
    yield rows.sort((a, b) => (a.timestamp < b.timestamp ? -1 : a.timestamp > b.timestamp ? 1 : 0));
  }

  function visit(user: User, isFirst: boolean, start: number, daysLeft: number, rows: ShopRow[]): void {
    const { id: user_id, plan, country, device } = user;
    // most visits are around noon and in the evening, UTC, and some at any time
    const peak = random() < 0.45 ? 12 + 2.5 * normal() : 19.5 + 2 * normal();
    const hour = Math.min(23.9, Math.max(0, random() < 0.15 ? 24 * random() : peak));
    const midnight = Math.floor(start / DAY) * DAY;
    let at = midnight + hour * HOUR;
    if (at < start) at += DAY;
    const isOut = daysLeft === OUTAGE && hour > 10 && hour < 13;
    const add = (seconds: number, row: object) => {
      at += seconds * 1000;
      if (at < end && !isOut) rows.push({ user_id, timestamp: new Date(at).toISOString(), ...row } as ShopRow);
    };
    const event = (seconds: number, type: string, data_index: string, data: ShopData) =>
      add(seconds, { type, data_index, data });
    const metric = (metric_name: string, value: number, digits: number, data_string: string) =>
      add(0, { metric_name, metric_value: Number(value.toFixed(digits)), data_string });
    const call = (path: string) => {
      metric('api_latency_ms', logNormal(daysLeft < 20 ? 76 : 88, 0.45), 1, path);
      if (random() < 0.5) metric('response_bytes', logNormal(42_000, 0.7), 0, path);
    };

    event(0, 'app_open', device, { device, plan });
    if (isFirst) {
      event(20 + 60 * random(), 'signup', plan, { plan, country, device });
      for (const [step, name] of TUTORIAL.entries()) {
        if (step > 0 && random() < 0.2) break;
        event(15 + 50 * random(), 'tutorial_step', name, { step: step + 1 });
      }
    }
    const views = 1 + Math.floor(logNormal(4, 0.6));
    for (let view = 0; view < views; view++) {
      const page = view === 0 ? '/' : pick(PAGES);
      const isSlow = page === '/search' && daysLeft < SLOW_SEARCH;
      event(5 + 40 * random(), 'page_view', page, { page, country, device });
      metric('page_load_time', logNormal(isSlow ? 1.7 : 0.68, 0.35) * (random() < 0.02 ? 5 : 1), 3, page);
      if (random() < 0.6) call(page === '/search' ? '/api/search' : '/api/products');
    }
    if (random() > 0.24) return;
    const amount = Number(logNormal(plan === 'team' ? 74 : plan === 'pro' ? 46 : 29, 0.5).toFixed(2));
    event(30 + 60 * random(), 'add_to_cart', plan, { amount, plan });
    if (random() > 0.55) return;
    event(20 + 120 * random(), 'checkout_start', plan, { amount, plan });
    call('/api/checkout');
    if (random() > 0.66) return;
    event(30 + 90 * random(), 'purchase', plan, { plan, amount, country });
    metric('purchase_amount', amount, 2, country);
  }
}

type ShopData = Readonly<Record<string, string | number>>;

/**
 * Records the rows of a shop. The server must run without RATE_LIMIT.
 *
 * @returns the number of rows recorded
 */
export async function recordShop(target: Pick<Target, 'url'>, shop: Shop): Promise<number> {
  const authorization = `Bearer ${await token({ sub: 'seeder', role: 'admin' })}`;
  let recorded = 0;
  for (const rows of shopDays(shop)) {
    for (let i = 0; i < rows.length; i += BATCH_ITEMS) {
      const items = rows.slice(i, i + BATCH_ITEMS);
      const metrics = items.filter((item) => 'metric_name' in item);
      const analytics = items.filter((item) => 'type' in item);
      const response = await post(target, '/log_batch', { metrics, analytics }, { authorization });
      if (response.status !== 200) throw new Error(response.text);
      recorded += items.length;
    }
  }
  return recorded;
}
