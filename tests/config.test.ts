import { describe, expect, test } from 'bun:test';
import { generateKeyPairSync } from 'node:crypto';
import { ConfigError, loadConfig } from '../src/config.ts';
import { FILE_SETTING_NAMES, SETTING_NAMES, SETTINGS } from '../src/settings.ts';
import { SECRET } from './harness/target.ts';

const load = (env: Record<string, string>, files: Record<string, string> = {}) =>
  loadConfig({
    flags: {},
    env: { ...('JWT_SECRET_FILE' in env ? {} : { JWT_SECRET: SECRET }), ...env },
    readFile(path) {
      const text = files[path];
      if (text === undefined) throw Object.assign(new Error(path), { code: 'ENOENT' });
      return text;
    },
  });

/** Returns the issues of a configuration. */
function issuesOf(env: Record<string, string>, files?: Record<string, string>): readonly string[] {
  try {
    load(env, files);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.issues;
    throw error;
  }
}

describe('roles', () => {
  test('default to admin only, even if a variable is empty', () => {
    for (const env of [{}, { JWT_ADMIN_ROLES: '', JWT_VIEWER_ROLES: '' }]) {
      expect(load(env).jwt).toMatchObject({ adminRoles: ['admin'], viewerRoles: [] });
    }
  });

  test('are parsed from comma-separated lists', () => {
    const { jwt } = load({ JWT_ADMIN_ROLES: 'owner, Admin', JWT_VIEWER_ROLES: 'analyst,' });
    expect(jwt).toMatchObject({ adminRoles: ['owner', 'Admin'], viewerRoles: ['analyst'] });
  });

  test('are rejected if a list is empty or both lists contain the same role', () => {
    expect(issuesOf({ JWT_ADMIN_ROLES: ',', JWT_VIEWER_ROLES: ', ,' })).toEqual([
      'JWT_ADMIN_ROLES should name at least one role',
      'JWT_VIEWER_ROLES should name at least one role',
    ]);
    expect(issuesOf({ JWT_VIEWER_ROLES: 'analyst,admin' })).toEqual([
      'JWT_VIEWER_ROLES contains a role that is also in JWT_ADMIN_ROLES',
    ]);
  });
});

describe('values that can never work', () => {
  const issue = 'MAX_QUEUE_BYTES should be at least MAX_BODY_BYTES, or the largest bodies would never be recorded';

  test('include a body that is larger than the queue', () => {
    expect(issuesOf({ MAX_BODY_BYTES: '2000', MAX_QUEUE_BYTES: '1999' })).toEqual([issue]);
    expect(issuesOf({ MAX_BODY_BYTES: '67108865' })).toEqual([issue]);
    expect(issuesOf({ MAX_QUEUE_BYTES: '1048575' })).toEqual([]);
    expect(issuesOf({ MAX_BODY_BYTES: '2000', MAX_QUEUE_BYTES: '2000' })).toEqual([]);
  });

  test('include a QUERY_TIMEOUT that no query meets, or that no timer can count', () => {
    for (const time of ['0s', '0m', '25d', '2073601s', '100000h']) {
      expect(issuesOf({ QUERY_TIMEOUT: time })).toEqual(['QUERY_TIMEOUT should be from 1s to 24d']);
    }
    expect(load({ QUERY_TIMEOUT: '1s' }).queryTimeoutMs).toBe(1_000);
    expect(load({ QUERY_TIMEOUT: '24d' }).queryTimeoutMs + 1).toBeLessThan(2 ** 31);
  });

  test.each(['JWT_MAX_AGE', 'BACKUP_EVERY', 'MAX_TIMESTAMP_AGE', 'IDLE_TIMEOUT', 'QUERY_TIMEOUT'])(
    'include 0 for %s',
    (name) => {
      expect(issuesOf({ [name]: '0s' })).toHaveLength(1);
    },
  );
});

describe('alerts', () => {
  const ALERT_WEBHOOK = 'https://hooks.example/services/a-token';

  test('are configured by a webhook and rules', () => {
    expect(load({})).toMatchObject({ alertWebhook: undefined, alertThresholds: [], alertSilence: [] });
    const config = load({ ALERT_WEBHOOK, ALERT_THRESHOLDS: 'a:count>1/1h', ALERT_SILENCE: 'type:b=6h,metric:c=off' });
    expect(config.alertWebhook?.href).toBe(ALERT_WEBHOOK);
    expect(config.alertThresholds).toMatchObject([{ name: 'a', windowSeconds: 3_600 }]);
    expect(config.alertSilence).toEqual([
      { kind: 'analytics', name: 'b', seconds: 21_600 },
      { kind: 'metric', name: 'c', seconds: undefined },
    ]);
  });

  test('report invalid settings together, without the URL', () => {
    const env = {
      ALERT_WEBHOOK: 'ftp://hooks.example/token',
      ALERT_THRESHOLDS: 'secret>1',
      ALERT_SILENCE: 'type:a=1s',
    };
    const issues = issuesOf(env);
    expect(issues).toEqual([
      'ALERT_WEBHOOK should be an http or https URL',
      expect.stringMatching(/^ALERT_THRESHOLDS should be rules such as .* \(rule 1\)$/),
      'ALERT_SILENCE has a rule whose time should be at least 1m (rule 1)',
    ]);
    expect(issues.join()).not.toContain('secret');
    expect(issuesOf({ ALERT_WEBHOOK: 'https://a:b@hooks.example/' })).toEqual([
      'ALERT_WEBHOOK should not contain a user name or a password; tokens belong in its path or query',
    ]);
    expect(issuesOf({ ALERT_THRESHOLDS: 'a:count>1/1h', ALERT_SILENCE: 'metric:a=1h' })).toEqual([
      'ALERT_THRESHOLDS requires ALERT_WEBHOOK',
      'ALERT_SILENCE requires ALERT_WEBHOOK',
    ]);
  });
});

test('METRICS_TOKEN requires 16 characters that are valid in a header', () => {
  expect(load({}).metricsToken).toBeUndefined();
  expect(load({ METRICS_TOKEN: 'a-token-for-scrapes' }).metricsToken).toBe('a-token-for-scrapes');
  for (const METRICS_TOKEN of ['short', 'a token of many characters', `${'x'.repeat(20)}\u00e9`]) {
    const [issue, ...more] = issuesOf({ METRICS_TOKEN });
    expect(issue).toStartWith('METRICS_TOKEN should have');
    expect(more).toEqual([]);
    expect(issue).not.toContain(METRICS_TOKEN);
  }
});

describe('invalid characters', () => {
  const PUBLIC_KEY = generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' }).toString();

  test.each([...SETTING_NAMES])('are rejected and named in %s', (name) => {
    const value = name === 'JWT_SECRET' ? SECRET : 'sample';
    for (const [text, words] of [
      [`${value}\n`, 'ends with a line feed'],
      [`${value}\r`, 'ends with a carriage return'],
      [`${value}\r\n`, 'ends with a carriage return and a line feed'],
      [`${value} `, 'ends with a space'],
      [`${value}\u00a0`, 'ends with a no-break space'],
      [`\t${value}`, 'begins with a tab'],
      [`\ufeff${value}`, 'begins with a byte order mark'],
      [`${value}\u0007${value}`, 'contains the character U+0007'],
      [`${value}\u0085${value}`, 'contains the character U+0085'],
      [`${value}\0${value}`, 'contains a NUL character'],
      [`"${value}"`, 'is enclosed in quotes (")'],
      [`'${value}'`, "is enclosed in quotes (')"],
      [`\u201c${value}\u201d`, 'is enclosed in quotes'],
      [`${value}\ufffd`, 'is not valid UTF-8'],
      [' ', 'ends with a space'],
    ] as const) {
      const [found = '', ...more] = issuesOf({ [name]: text }).filter((issue) => !issue.includes(' JWT_ALGORITHMS'));
      expect({ text, found, more }).toEqual({ text, found: expect.stringContaining(`${name} ${words}`), more: [] });
      expect(found).not.toContain(value);
      if (!SETTINGS[name].secret) {
        const flag = `--${name.toLowerCase().replaceAll('_', '-')}`;
        const load = () => loadConfig({ flags: { [name]: text }, env: {}, readFile: String });
        expect(load).toThrow(`${flag} ${words}`);
      }
    }
  });

  test('are rejected in files, except for one trailing newline', () => {
    const env = { JWT_SECRET_FILE: '/secret' };
    for (const content of [SECRET, `${SECRET}\n`]) {
      expect(load(env, { '/secret': content }).jwt.secret).toBe(SECRET);
    }
    for (const [content, words] of [
      [`${SECRET}\n\n`, 'should have at least 32 bytes on each line'],
      [`${SECRET}\r\n`, 'ends with a carriage return'],
      [`${SECRET} \n`, 'ends with a space'],
      [`"${SECRET}"\n`, 'is enclosed in quotes'],
      [`\ufeff${SECRET}\n`, 'begins with a byte order mark'],
      ['\n', 'names an empty file'],
      ['', 'names an empty file'],
    ] as const) {
      expect(issuesOf(env, { '/secret': content })).toEqual([expect.stringContaining(`JWT_SECRET_FILE ${words}`)]);
    }
  });

  test('do not include the newlines of a PEM, which may be escaped', () => {
    for (const pem of [
      PUBLIC_KEY,
      PUBLIC_KEY.trim(),
      PUBLIC_KEY.replaceAll('\n', '\r\n'),
      PUBLIC_KEY.replaceAll('\n', '\\n'),
    ]) {
      expect(load({ JWT_PUBLIC_KEY: pem, JWT_ALGORITHMS: 'EdDSA' }).jwt.publicKey).toBeDefined();
    }
    const [issue] = issuesOf({ JWT_PUBLIC_KEY: `"${PUBLIC_KEY}"`, JWT_ALGORITHMS: 'EdDSA' });
    expect(issue).toStartWith('JWT_PUBLIC_KEY is enclosed in quotes');
  });

  test('are rejected in list entries and in percent-encoded paths', () => {
    expect(issuesOf({ JWT_ADMIN_ROLES: `admin,"owner"` })).toEqual([expect.stringContaining('enclosed in quotes')]);
    expect(issuesOf({ JWT_AUDIENCE: `web,'ios'` })).toEqual([expect.stringContaining('enclosed in quotes')]);
    expect(issuesOf({ DATABASE_URL: 'file:data%0d' })).toEqual(['DATABASE_URL ends with a carriage return']);
    expect(issuesOf({ DATABASE_URL: 'file:a%00b' })).toEqual(['DATABASE_URL contains a NUL character']);
  });
});

test('variables that other programs share are checked only if S3 is used', () => {
  const env = { AWS_ENDPOINT: 'localhost:4566', AWS_REGION: '?' };
  expect(issuesOf(env)).toEqual([]);
  const credentials = { S3_ACCESS_KEY_ID: 'its-id', S3_SECRET_ACCESS_KEY: 'its-key' };
  expect(issuesOf({ ...env, ...credentials, BACKUP_DIR: 's3://bucket/prefix' })).toEqual([
    expect.stringContaining('AWS_ENDPOINT should be'),
    expect.stringContaining('AWS_REGION should be'),
  ]);
  expect(issuesOf({ S3_ENDPOINT: 'localhost:4566' })).toEqual([expect.stringContaining('S3_ENDPOINT should be')]);
});

describe('FORWARD_URL and NODE_ID', () => {
  test('name sinks without their credentials', () => {
    const readFile = () => 'nats://me:p%2Cw@Broker.internal:4222/rawlog?replicas=3&tls=on\nnats://[::1]/other\n';
    const { forwardUrls, nodeId } = loadConfig({
      flags: {},
      env: { FORWARD_URL_FILE: '/forward-url', NODE_ID: 'node_1' },
      readFile,
    });
    expect(forwardUrls.map(({ scheme, name }) => [scheme, name])).toEqual([
      ['nats', 'nats://broker.internal:4222/rawlog'],
      ['nats', 'nats://[::1]/other'],
    ]);
    expect(nodeId).toBe('node_1');
  });

  test.each([
    ['nats://h/S', 'nats://H:4222/S'],
    ['postgres://a@h/db', 'postgresql://b@h:5432/db?schema=public&sslmode=require'],
    ['postgres://a@h/db?tables=rawlog', 'postgres://a@h:5432/%64b?tables=rawlog'],
    ['clickhouse://h', 'clickhouse://h:8123/default'],
    ['clickhouses://h/db?cluster=c', 'clickhouses://h:8443/db?cluster=c'],
    ['s3://bucket/prefix', 's3://bucket/prefix/'],
  ])('reject two URLs for the same place: %s and %s', (first, second) => {
    const s3 = { S3_ACCESS_KEY_ID: 'a', S3_SECRET_ACCESS_KEY: 'b' };
    for (const urls of [`${first},${second}`, `${second},${first}`]) {
      const issue = 'FORWARD_URL is invalid: URL 2 names the same sink as one before it';
      expect(issuesOf({ ...s3, FORWARD_URL: urls })).toEqual([issue]);
    }
  });

  test('accept URLs for different places', () => {
    const urls = [
      'nats://h/S',
      'nats://h:4223/S',
      'nats://h/s',
      'postgres://a@h/db',
      'postgres://a@h/DB',
      'postgres://a@h/db?schema=x',
      'postgres://a@h/db?tables=rawlog',
      'postgres://a@h/db?host=/run/h',
      'clickhouse://h/db',
      'clickhouses://h/db',
      'clickhouse://h:8443/db',
      'clickhouse://h/db?cluster=c',
    ];
    expect(load({ FORWARD_URL: urls.join(',') }).forwardUrls).toHaveLength(urls.length);
  });

  test('are reported with all their errors at once, and without the text', () => {
    const urls = [
      'nats://secret@host/one/two',
      'ftp://secret@host/x',
      'nats://host/x?secret=1',
      'nats://host/x?replicas=9',
      'nats://host/x',
      'nats://you:secret@host/x',
      'nats://host/x;secret',
      'nats://%zz:secret@host/x',
    ];
    const issues = issuesOf({ FORWARD_URL: urls.join(','), NODE_ID: '1 node', PORT: 'x' });
    expect(issues).toHaveLength(3);
    const issue = issues.find((text) => text.startsWith('FORWARD_URL')) ?? '';
    expect(issue.split('; ')).toEqual([
      'FORWARD_URL is invalid: URL 1 should be nats://HOST/STREAM',
      'URL 2 should be a URL such as nats://HOST/STREAM or postgres://USER@HOST/DATABASE or clickhouse://HOST/DATABASE or clickhouses://HOST/DATABASE or s3://BUCKET/PREFIX',
      'URL 3 has a parameter other than replicas, tls',
      'URL 4 has an invalid value of the parameter replicas',
      'URL 6 names the same sink as one before it',
      'URL 7 should be nats://HOST/STREAM',
      'URL 8 should be nats://HOST/STREAM',
    ]);
    expect(issues.join()).not.toContain('secret');
    expect(issues).toContain(
      'NODE_ID should begin with a letter or an underscore, and have up to 63 letters, digits, _ and -',
    );
  });
});

test('QUERY_URL is the address of a ClickHouse database, which no issue repeats', () => {
  const { queryUrl } = loadConfig({ flags: {}, env: { QUERY_URL: 'clickhouse://a:b%25@h:1/d' }, readFile: String });
  expect(queryUrl?.href).toBe('clickhouse://a:b%25@h:1/d');
  for (const url of [
    'http://a:hidden@h/d',
    'clickhouse:',
    'clickhouse://a:hidden@h/d?x=1',
    'clickhouse://a:hidden@h/d%3B',
  ]) {
    const load = () => loadConfig({ flags: {}, env: { QUERY_URL: url }, readFile: String });
    expect(load).toThrow('QUERY_URL should ');
    expect(load).not.toThrow('hidden');
  }
});

describe('secret settings', () => {
  test('are rejected as flags', () => {
    for (const name of FILE_SETTING_NAMES.map((file) => file.replace(/_FILE$/, ''))) {
      const flag = `--${name.toLowerCase().replaceAll('_', '-')}`;
      const load = () =>
        loadConfig({ flags: { [name]: 'its-value-of-more-than-32-characters' }, env: {}, readFile: String });
      expect(load).toThrow(`${flag} would expose a secret in the process list; set ${name} or ${name}_FILE instead`);
      expect(load).not.toThrow('its-value');
    }
    expect(FILE_SETTING_NAMES.toSorted()).toEqual([
      'ALERT_WEBHOOK_FILE',
      'FORWARD_URL_FILE',
      'JWT_JWKS_URL_FILE',
      'JWT_SECRET_FILE',
      'METRICS_TOKEN_FILE',
      'OTEL_EXPORTER_OTLP_ENDPOINT_FILE',
      'QUERY_URL_FILE',
      'S3_ACCESS_KEY_ID_FILE',
      'S3_SECRET_ACCESS_KEY_FILE',
      'S3_SESSION_TOKEN_FILE',
    ]);
  });

  test('are rejected if both the variable and the file are set', () => {
    const env = { METRICS_TOKEN: 'a-token-for-scrapes', METRICS_TOKEN_FILE: '/token' };
    expect(issuesOf(env, { '/token': 'a-token-for-scrapes' })).toEqual([
      'METRICS_TOKEN and METRICS_TOKEN_FILE are mutually exclusive: set only one',
    ]);
    // a flag takes precedence over the environment
    const flags = { METRICS_TOKEN_FILE: '/token' };
    const readFile = () => 'the-token-of-the-flag';
    expect(loadConfig({ flags, env, readFile }).metricsToken).toBe('the-token-of-the-flag');
  });

  test('do not expose the path of a file that cannot be read', () => {
    for (const env of [{ JWT_SECRET_FILE: '/none/of/these' }, { METRICS_TOKEN_FILE: '/none/of/these' }]) {
      const [issue = '', ...more] = issuesOf(env);
      expect(issue).toEndWith('names a file that cannot be read (ENOENT)');
      expect(issue).not.toContain('/none');
      expect(more).toEqual([]);
    }
  });
});

describe('JWT_SECRET', () => {
  const other = 'another-secret-of-32-bytes-or-so';

  test('accepts several secrets, of which the first signs', () => {
    expect(load({ JWT_SECRET: `${SECRET},${other}` }).jwt).toMatchObject({ secret: SECRET, formerSecrets: [other] });
    const file = load({ JWT_SECRET_FILE: '/s' }, { '/s': `${SECRET},\n${other}\n` });
    // a comma in a file is part of a secret
    expect(file.jwt).toMatchObject({ secret: `${SECRET},`, formerSecrets: [other] });
  });

  test.each([`${SECRET},short`, `${SECRET},`, `,${SECRET}`, 'a-secret-with-a-comma,and-then-some-more'])(
    'mentions the comma if a part is too short: %p',
    (secret) => {
      const [issue = '', ...more] = issuesOf({ JWT_SECRET: secret });
      expect(issue).toContain('JWT_SECRET should have at least 32 bytes on each side of a comma');
      expect(more).toEqual([]);
    },
  );

  test('rejects whitespace next to a comma', () => {
    expect(issuesOf({ JWT_SECRET: `${SECRET}, ${other}` })).toEqual(['JWT_SECRET begins with a space']);
  });

  test.each([
    'your-super-secret-jwt-token-with-at-least-32-characters-long',
    'super-secret-jwt-token-with-at-least-32-characters-long',
    'SUPER-SECRET-JWT-TOKEN-WITH-AT-LEAST-32-CHARACTERS-LONG',
    'a-string-secret-at-least-256-bits-long',
    'your-a-string-secret-at-least-256-bits-long',
    'reallyreallyreallyreallyverysafe',
    '09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7',
    '404E635266556A586E3272357538782F413F4428472B4B6250645367566B5970',
    'django-insecure-4$x2k1v0q8n7m6c5b3z9l!w@e#r',
    'x'.repeat(32),
    '0'.repeat(64),
    'password'.repeat(4),
    '0123456789abcdef0123456789abcdef',
    '12345678901234567890123456789012',
    `${SECRET},${'x'.repeat(32)}`,
  ])('rejects the published sample or repetition %p', (secret) => {
    const [issue = '', ...more] = issuesOf({ JWT_SECRET: secret });
    expect(issue).toStartWith('JWT_SECRET is a published sample or repeats a short text');
    expect(issue).not.toContain(secret);
    expect(more).toEqual([]);
    expect(load({ JWT_SECRET: secret, INSECURE_DEV: 'on' }).insecureDev).toBe(true);
    expect(issuesOf({ JWT_SECRET_FILE: '/s' }, { '/s': secret.replace(',', '\n') })).toHaveLength(1);
  });
});

describe('HOST', () => {
  test.each(['127.0.0.1', '0.0.0.0', '::', '::1', 'fe80::1%lo', 'localhost', 'log.example.com', 'my_service', 'a.b.'])(
    'accepts %p',
    (HOST) => expect(load({ HOST }).host).toBe(HOST),
  );
  test.each([
    '*',
    '[::1]',
    '127.1',
    '0x7f.1',
    '1',
    '256.1.1.1',
    'a b',
    'a..b',
    '-a',
    'http://a',
    'a:80',
    'x'.repeat(64),
  ])('rejects %p', (HOST) =>
    expect(issuesOf({ HOST })).toEqual([expect.stringContaining('HOST should be an IP address')]),
  );
});

describe('settings that can never match or match too much', () => {
  test.each([
    [{ JWT_AUDIENCE: 'web,rawlog' }, 'JWT_AUDIENCE should not contain rawlog'],
    [{ JWT_AUDIENCE: 'rawlog' }, 'JWT_AUDIENCE should not contain rawlog'],
    [{ JWT_AUDIENCE: 'none,web' }, 'JWT_AUDIENCE should be either none or a list'],
    [{ JWT_AUDIENCE: ',' }, 'JWT_AUDIENCE should name at least one'],
    [{ RECEIVERS: '0' }, 'RECEIVERS should be a whole number from 1 to 64'],
    [{ RECEIVERS: '65' }, 'RECEIVERS should be a whole number from 1 to 64'],
    [{ JWT_ROLE_CLAIM: 'user_metadata.role' }, 'JWT_ROLE_CLAIM should not be in user_metadata'],
    [{ JWT_ROLE_CLAIM: 'user_metadata' }, 'JWT_ROLE_CLAIM should not be in user_metadata'],
    [{ JWT_ROLE_CLAIM: 'unsafe_metadata.a.b' }, 'JWT_ROLE_CLAIM should not be in unsafe_metadata'],
    [{ JWT_ROLE_CLAIM: 'unsafeMetadata.role' }, 'JWT_ROLE_CLAIM should not be in unsafeMetadata'],
    [{ JWT_ROLE_CLAIM: 'app_metadata..role' }, 'JWT_ROLE_CLAIM should be a claim'],
    [{ JWT_ROLE_CLAIM: '.role' }, 'JWT_ROLE_CLAIM should be a claim'],
    [{ JWT_MAX_AGE: '0s' }, 'JWT_MAX_AGE should be above 0'],
    [{ JWT_MAX_AGE: 'long' }, 'JWT_MAX_AGE should be a number followed by s, m, h or d'],
    [{ JWT_LEEWAY: '5' }, 'JWT_LEEWAY should be a number followed by s, m, h or d'],
    [{ INSECURE_DEV: 'yes' }, 'INSECURE_DEV should be one of on, off'],
    [{ DATA_DIR: '~/data' }, 'DATA_DIR should be a path without ~'],
    [{ DATABASE_URL: 'file:~/x.db' }, 'DATABASE_URL should be a path without ~'],
    [{ DATABASE_URL: 'file:data/' }, 'DATABASE_URL should name a file, not a folder'],
    [{ JWT_JWKS_URL: 'http://id.example/keys', JWT_ALGORITHMS: 'ES256' }, 'JWT_JWKS_URL should be an https URL'],
    [{ JWT_JWKS_URL: 'http://127.0.0.1.example/', JWT_ALGORITHMS: 'ES256' }, 'JWT_JWKS_URL should be an https URL'],
    [{ JWT_JWKS_URL: 'http://10.0.0.1/keys', JWT_ALGORITHMS: 'ES256' }, 'JWT_JWKS_URL should be an https URL'],
    [{ TRUSTED_PROXIES: '10.0.0.0/8,proxy' }, 'TRUSTED_PROXIES should be a comma-separated list of IP addresses'],
    [{ TRUSTED_PROXIES: '0.0.0.0/0' }, 'TRUSTED_PROXIES contains a network that covers every address'],
    [{ CORS_ORIGINS: 'https://*.com' }, 'CORS_ORIGINS should not contain https://*.com'],
  ])('are rejected: %p', (env, message) => {
    expect(issuesOf(env)).toEqual([expect.stringContaining(message)]);
  });
});

test.each([
  'http://localhost:1/keys',
  'http://auth.localhost/keys',
  'http://127.0.0.2/keys',
  'http://[::1]/keys',
  'https://id.example/keys',
])('JWT_JWKS_URL accepts %p', (JWT_JWKS_URL) =>
  expect(load({ JWT_JWKS_URL, JWT_ALGORITHMS: 'ES256' }).jwt.jwksUrl?.href).toBe(JWT_JWKS_URL),
);

test('OTEL_TRACES_SAMPLER_ARG is any number from 0 to 1, and ignored without an endpoint', () => {
  const OTEL_EXPORTER_OTLP_ENDPOINT = 'http://127.0.0.1:4318';
  for (const [OTEL_TRACES_SAMPLER_ARG, ratio] of [
    ['.5', 0.5],
    ['1e-3', 0.001],
    ['1.0', 1],
  ] as const) {
    expect(load({ OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_SAMPLER_ARG }).traces?.ratio).toBe(ratio);
  }
  for (const OTEL_TRACES_SAMPLER_ARG of ['1.1', '-1', 'NaN', 'endpoint=http://localhost:14250']) {
    const issue = 'OTEL_TRACES_SAMPLER_ARG should be a number from 0 to 1, such as 0.01';
    expect(issuesOf({ OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_SAMPLER_ARG })).toEqual([issue]);
    expect(load({ OTEL_TRACES_SAMPLER_ARG }).traces).toBeUndefined();
  }
});

test('JWT_AUDIENCE accepts a list, and JWT_ALGORITHMS accepts Ed25519 as a name of EdDSA', () => {
  const env = { JWT_AUDIENCE: 'web, ios', JWT_ALGORITHMS: 'Ed25519,EdDSA', JWT_JWKS_URL: 'https://id.example' };
  expect(load(env).jwt).toMatchObject({ audiences: ['web', 'ios'], algorithms: ['EdDSA'] });
  expect(load({ JWT_AUDIENCE: 'none' }).jwt.audiences).toBeUndefined();
});
