import { createRandom, type Random } from './random.ts';

/*
 * The invented data of a small online shop: three months of visits, signups and purchases, with what a dashboard should
 * show. More people come on weekdays and at midday, a launch brings a spike, a page becomes slow at some point, and
 * some visitors come back.
 */

/** A row before it has an ID. `at` is milliseconds since 1970. */
export type ShopRow = { readonly user: string; readonly at: number } & (
  | { readonly metric: string; readonly value: number; readonly label: string }
  | {
      readonly type: string;
      readonly label: string;
      readonly data: Readonly<Record<string, string | number | boolean>>;
    }
);

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;
/** Covers the two previous calendar months on any day. */
const DAYS = 92;

/** New visitors on the first day; each day has {@link GROWTH} more. */
const FIRST_VISITORS = 60;
const GROWTH = 0.012;
/** The day of the launch, how many times more visitors come then, and how this fades from day to day. */
const LAUNCH = { day: DAYS - 13, factor: 2.6, fading: 0.45 };
/** The day on which the checkout becomes slow, at noon, and by which factor. */
const SLOWDOWN = { day: DAYS - 8.5, factor: 2.7, page: '/checkout' };
/** Visitors who arrive in the last minutes before now. */
const RECENT_VISITORS = 24;
const RECENT_MINUTES = 20;
/** How many more visitors come on each day of the week, from Sunday. */
const WEEKDAYS = [0.62, 1.04, 1.1, 1.08, 1.05, 0.98, 0.68];
/** Visits by hour of the day, in UTC. */
const HOURS = [2, 1, 1, 1, 1, 2, 4, 7, 10, 12, 12, 12, 13, 12, 12, 11, 10, 10, 11, 13, 13, 11, 7, 4].map(
  (weight, hour) => [hour, weight] as const,
);

/** Pages: the weight of a visit, the median load time in seconds, and the median size in bytes. */
const PAGES: Readonly<Record<string, { weight: number; seconds: number; bytes: number }>> = {
  '/': { weight: 30, seconds: 0.62, bytes: 48_000 },
  '/products': { weight: 26, seconds: 0.84, bytes: 96_000 },
  '/pricing': { weight: 14, seconds: 0.55, bytes: 31_000 },
  '/docs': { weight: 9, seconds: 0.48, bytes: 27_000 },
  '/blog': { weight: 8, seconds: 0.58, bytes: 41_000 },
  '/account': { weight: 5, seconds: 0.71, bytes: 22_000 },
  '/cart': { weight: 0, seconds: 0.66, bytes: 25_000 },
  '/checkout': { weight: 0, seconds: 0.78, bytes: 29_000 },
};
const BROWSED = Object.entries(PAGES).map(([page, { weight }]) => [page, weight] as const);
const COUNTRIES = [
  ['DE', 30],
  ['US', 24],
  ['GB', 14],
  ['FR', 12],
  ['NL', 8],
  ['ES', 7],
  ['PL', 5],
] as const;
const SOURCES = [
  ['search', 42],
  ['direct', 26],
  ['newsletter', 14],
  ['ads', 12],
  ['partner', 6],
] as const;
/** Plans: how often they are bought, and their price. */
const PLANS: readonly (readonly [{ readonly plan: string; readonly amount: number }, number])[] = [
  [{ plan: 'starter', amount: 19 }, 55],
  [{ plan: 'pro', amount: 49 }, 34],
  [{ plan: 'team', amount: 149 }, 11],
];
const TUTORIAL = ['welcome', 'profile', 'first_project', 'invite', 'finish'];
const ENDPOINTS = [
  ['GET /products', 6],
  ['GET /session', 5],
  ['GET /search', 3],
  ['POST /cart', 2],
] as const;

/** A visitor, and what they are like the whole time. */
interface Visitor {
  readonly user: string;
  readonly country: string;
  readonly source: string;
  readonly device: string;
  isSignedUp: boolean;
}

/**
 * Generates the rows of the last {@link DAYS} days before a time, in chronological order: the same ones for the same seed.
 *
 * @param now milliseconds since 1970
 */
export function generateShop(now: number, seed = 7): ShopRow[] {
  const random = createRandom(seed);
  const rows: ShopRow[] = [];
  const today = Math.floor(now / DAY) * DAY;
  const startOf = (day: number) => today - (DAYS - 1 - day) * DAY;
  const slowFrom = startOf(0) + SLOWDOWN.day * DAY;
  let visitors = 0;
  for (let day = 0; day < DAYS; day++) {
    for (let count = newVisitors(random, day, startOf(day)); count > 0; count--) {
      const visitor = newVisitor(random, ++visitors);
      visit(random, visitor, arrival(random, startOf(day)), { slowFrom, isFirst: true, rows });
      for (let later = day + 1; later < DAYS; later++) {
        if (random.next() < chanceOfReturn(visitor, later - day) * weekdayFactor(startOf(later))) {
          visit(random, visitor, arrival(random, startOf(later)), { slowFrom, isFirst: false, rows });
        }
      }
    }
  }
  // some visitors are there now, at any time of day
  for (let count = RECENT_VISITORS; count > 0; count--) {
    const at = now - random.next() * RECENT_MINUTES * MINUTE;
    visit(random, newVisitor(random, ++visitors), at, { slowFrom, isFirst: true, rows });
  }
  // nothing is in the future
  return rows.filter(({ at }) => at < now).sort((a, b) => a.at - b.at);
}

function newVisitor(random: Random, number: number): Visitor {
  return {
    user: `shopper-${String(number).padStart(5, '0')}`,
    country: random.pick(COUNTRIES),
    source: random.pick(SOURCES),
    device: random.next() < 0.46 ? 'phone' : 'desktop',
    isSignedUp: false,
  };
}

/** Returns when a visit begins on the day that starts at a time. */
function arrival(random: Random, start: number): number {
  return start + random.pick(HOURS) * 60 * MINUTE + random.next() * 60 * MINUTE;
}

function weekdayFactor(start: number): number {
  return WEEKDAYS[new Date(start).getUTCDay()] ?? 1;
}

function newVisitors(random: Random, day: number, start: number): number {
  const sinceLaunch = day - LAUNCH.day;
  const launch = sinceLaunch < 0 ? 0 : (LAUNCH.factor - 1) * LAUNCH.fading ** sinceLaunch;
  const noise = 1 + 0.05 * random.normal();
  return Math.round(FIRST_VISITORS * (1 + GROWTH * day) * weekdayFactor(start) * (1 + launch) * noise);
}

function chanceOfReturn({ isSignedUp }: Visitor, days: number): number {
  if (isSignedUp) return 0.02 + 0.09 * Math.exp(-days / 30) + 0.34 * Math.exp(-days / 4);
  return 0.012 * Math.exp(-days / 20) + 0.07 * Math.exp(-days / 3);
}

interface Visit {
  readonly slowFrom: number;
  readonly isFirst: boolean;
  readonly rows: ShopRow[];
}

/** Adds the rows of one visit to the shop. */
function visit(random: Random, visitor: Visitor, begin: number, { slowFrom, isFirst, rows }: Visit): void {
  const { user, country, source, device } = visitor;
  let at = begin;
  const wait = (seconds: number) => {
    at += seconds * 1000 * Math.exp(0.6 * random.normal());
  };
  const event = (type: string, label = '', data: Readonly<Record<string, string | number | boolean>> = {}) =>
    rows.push({ user, at, type, label, data });
  const metric = (name: string, value: number, label: string) => rows.push({ user, at, metric: name, value, label });

  const open = (page: string) => {
    const { seconds, bytes } = PAGES[page] ?? { seconds: 1, bytes: 1 };
    const isSlow = page === SLOWDOWN.page && at >= slowFrom;
    const load = seconds * (device === 'phone' ? 1.35 : 1) * (isSlow ? SLOWDOWN.factor : 1);
    event('page_view', page, { device, country, source });
    metric('page_load_time', round(load * Math.exp(0.35 * random.normal()), 3), page);
    if (random.next() < 0.4) metric('response_bytes', Math.round(bytes * Math.exp(0.25 * random.normal())), page);
    if (random.next() < 0.6) {
      metric('api_latency_ms', round(70 * Math.exp(0.5 * random.normal()), 1), random.pick(ENDPOINTS));
    }
    wait(35);
    return isSlow;
  };

  if (visitor.isSignedUp) event('app_open', device, { device, country });
  for (let pages = 1 + random.integer(isFirst ? 4 : 5); pages > 0; pages--) open(random.pick(BROWSED));
  if (!visitor.isSignedUp && random.next() < (isFirst ? 0.24 : 0.18)) {
    if (random.next() < 0.8) open('/pricing');
    event('signup', source, { source, country, device });
    visitor.isSignedUp = true;
    for (const [i, step] of TUTORIAL.entries()) {
      wait(50);
      if (i > 0 && random.next() < 0.18) break;
      event('tutorial_step', step, { step: i + 1 });
    }
  }
  if (random.next() > (visitor.isSignedUp ? 0.42 : 0.08)) return;
  const { plan, amount } = random.pick(PLANS);
  event('add_to_cart', plan, { plan, amount });
  wait(45);
  open('/cart');
  if (random.next() < 0.36) return;
  const isSlow = open('/checkout');
  event('checkout_start', plan, { plan, amount, country });
  wait(140);
  if (!visitor.isSignedUp || random.next() < (isSlow ? 0.47 : 0.33)) return;
  const seats = plan === 'team' ? 1 + random.integer(4) : 1;
  event('purchase', plan, { plan, amount: amount * seats, country, seats });
  metric('purchase_amount', amount * seats, plan);
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
