/**
 * Average distance of the steps that a test tries, of those at which it could interrupt something. CI tries some, others in
 * each run; 1 tries every step, which takes several minutes per test.
 */
const STRIDE = Number(Bun.env['TEST_STRIDE'] ?? 10);

/** Returns the step to try after this one. */
export function nextStep(step: number): number {
  return step + 1 + Math.floor(Math.random() * (2 * STRIDE - 1));
}

/** Returns the values to try: all, or a third of them if steps are left out. */
export function sampleOf<Value>(values: readonly Value[]): Value[] {
  if (STRIDE === 1) return [...values];
  const shuffled = values.map((value) => ({ value, order: Math.random() })).sort((a, b) => a.order - b.order);
  return shuffled.slice(0, Math.ceil(values.length / 3)).map(({ value }) => value);
}
