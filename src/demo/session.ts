import { createOperatorIssuer } from '../auth/issuer.ts';
import type { Secrets } from '../auth/secrets.ts';

/** How long a demo that another server runs can be viewed, in seconds. */
export const DEMO_SECONDS = 4 * 3_600;

/** What the demo reports to the server that runs it, as a line of JSON. */
export interface DemoReport {
  readonly url: string;
  /** A token of the demo's own secret that can only read. */
  readonly token: string;
  readonly expires_at: string;
  readonly rows: number;
}

/** Returns the report of a demo that listens. */
export async function reportOf(
  url: URL,
  { operator: [secret] }: Secrets,
  rows: number,
  now: number,
): Promise<DemoReport> {
  if (secret === undefined) throw new Error('the demo has no secret of its own');
  const token = await createOperatorIssuer(secret).issue({ sub: 'demo', role: 'viewer', expires: DEMO_SECONDS }, now);
  return {
    url: url.origin,
    token,
    expires_at: new Date((Math.floor(now / 1000) + DEMO_SECONDS) * 1000).toISOString(),
    rows,
  };
}
