/** How long a step takes if it writes nothing, in milliseconds. */
const STEP_MS = 5;

/** Creates a function that returns whether a step of a job has taken long enough, and if so, begins the next one. */
export function createStepClock(): () => boolean {
  let startedAt = performance.now();
  return () => {
    if (performance.now() - startedAt < STEP_MS) return false;
    startedAt = performance.now();
    return true;
  };
}
