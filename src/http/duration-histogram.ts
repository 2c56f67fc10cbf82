import type { Registry } from 'prom-client';

/** Adds a duration to a histogram, in seconds. */
export type Observe = (seconds: number) => void;

/** A sample in the format that prom-client's registry expects. */
interface Sample {
  readonly metricName: string;
  readonly labels: Record<string, string | number>;
  readonly value: number;
}

/**
 * Registers a histogram of request durations by method, route and status, and returns a function that looks up the
 * observer for a combination of labels.
 *
 * prom-client's histogram hashes its labels on every observation, which took 2.5 of the 53 µs of a recording request in
 * a profile. This one keeps an array of counters per combination of labels, so callers can look it up once.
 *
 * @param bounds upper bounds of the buckets in seconds, ascending
 */
export function durationHistogram(
  registry: Registry,
  { name, help, bounds }: { name: string; help: string; bounds: readonly number[] },
): (method: string, route: string, status: number) => Observe {
  const series = new Map<string, { observe: Observe; samples: () => Sample[] }>();

  function createSeries(labels: Record<string, string | number>) {
    const counts = new Float64Array(bounds.length + 1); // the last bucket is +Inf
    let sum = 0;
    return {
      observe(seconds: number) {
        let bucket = 0;
        while (bucket < bounds.length && seconds > (bounds[bucket] as number)) bucket++;
        (counts[bucket] as number)++;
        sum += seconds;
      },
      samples(): Sample[] {
        let total = 0;
        const buckets = [...bounds, '+Inf'].map((le, i) => {
          total += counts[i] as number;
          return { metricName: `${name}_bucket`, labels: { ...labels, le }, value: total };
        });
        return [
          ...buckets,
          { metricName: `${name}_sum`, labels, value: sum },
          { metricName: `${name}_count`, labels, value: total },
        ];
      },
    };
  }

  const metric = {
    name,
    get: async () => ({
      name,
      help,
      type: 'histogram',
      aggregator: 'sum',
      values: [...series.values()].flatMap(({ samples }) => samples()),
    }),
  };
  // the registry only uses a metric's name and values, but its type requires prom-client's classes
  registry.registerMetric(metric as unknown as Parameters<Registry['registerMetric']>[0]);

  return (method, route, status) => {
    const key = `${method} ${status} ${route}`;
    let labeled = series.get(key);
    if (!labeled) {
      labeled = createSeries({ method, route, status });
      series.set(key, labeled);
    }
    return labeled.observe;
  };
}
