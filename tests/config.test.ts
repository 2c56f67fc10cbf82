import { describe, expect, test } from 'bun:test';
import { ConfigError, loadConfig } from '../src/config.ts';
import { SECRET } from './harness/target.ts';

const load = (env: Record<string, string>) =>
  loadConfig({ flags: {}, env: { JWT_SECRET: SECRET, ...env }, readFile: String });

/** What is wrong with a configuration. */
function problems(env: Record<string, string>): readonly string[] {
  try {
    load(env);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.faults;
    throw error;
  }
}

describe('roles', () => {
  test('are the admin role alone by default, also where a variable is empty', () => {
    for (const env of [{}, { JWT_ADMIN_ROLES: '', JWT_VIEWER_ROLES: '' }]) {
      expect(load(env).jwt).toMatchObject({ adminRoles: ['admin'], viewerRoles: [] });
    }
  });

  test('are lists separated by commas', () => {
    const { jwt } = load({ JWT_ADMIN_ROLES: 'owner, Admin', JWT_VIEWER_ROLES: 'analyst,' });
    expect(jwt).toMatchObject({ adminRoles: ['owner', 'Admin'], viewerRoles: ['analyst'] });
  });

  test('that can never match are rejected, all at once', () => {
    expect(problems({ JWT_ADMIN_ROLES: ',', JWT_VIEWER_ROLES: ' , ' })).toEqual([
      'JWT_ADMIN_ROLES should name at least one role',
      'JWT_VIEWER_ROLES should name at least one role',
    ]);
    expect(problems({ JWT_VIEWER_ROLES: 'analyst,admin' })).toEqual([
      'JWT_VIEWER_ROLES names a role that JWT_ADMIN_ROLES makes an admin',
    ]);
  });
});

test('a METRICS_TOKEN is one that a header can carry, and is long enough not to be guessed', () => {
  expect(load({}).metricsToken).toBeUndefined();
  expect(load({ METRICS_TOKEN: 'a-token-for-scrapes' }).metricsToken).toBe('a-token-for-scrapes');
  for (const METRICS_TOKEN of [
    'short',
    'a token of many characters',
    'a-token-for-scrapes\n',
    `${'x'.repeat(20)}\u00e9`,
  ]) {
    const [problem, ...more] = problems({ METRICS_TOKEN });
    expect(problem).toStartWith('METRICS_TOKEN should have');
    expect(more).toEqual([]);
    expect(problem).not.toContain(METRICS_TOKEN);
  }
});
