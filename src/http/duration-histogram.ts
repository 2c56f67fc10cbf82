import type { Registry } from 'prom-client';

/** Counts how long something took, in seconds. */
export type Observe = (seconds: number) => void;

/** One sample, as prom-client's metrics give them to the registry. */
interface Sample {
  readonly metricName: string;
  readonly labels: Record<string, string | number>;
  readonly value: number;
}

/**
 * A histogram of requests by method, route and status, in a registry beside those of prom-client.
 *
 * prom-client's own hashes its labels at each observation: 2.5 of the 53 µs of a recording request, in a
 * profile. This one has a line of counters for each combination of labels, found once.
 *
 * @param bounds upper bounds of the buckets in seconds, rising
 */
export function durationHistogram(
  registry: Registry,
  { name, help, bounds }: { name: string; help: string; bounds: readonly number[] },
): (method: string, route: string, status: number) => Observe {
  const series = new Map<string, { observe: Observe; samples: () => Sample[] }>();

  function createSeries(labels: Record<string, string | number>) {
    const counts = new Float64Array(bounds.length + 1); // the last one: above all bounds
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
  // the registry asks a metric for its name and values alone; its type names prom-client's classes
  registry.registerMetric(metric as unknown as Parameters<Registry['registerMetric']>[0]);

  return (method, route, status) => {
    const key = `${method} ${status} ${route}`;
    let found = series.get(key);
    if (!found) {
      found = createSeries({ method, route, status });
      series.set(key, found);
    }
    return found.observe;
  };
}
