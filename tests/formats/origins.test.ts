import { describe, expect, test } from 'bun:test';
import { parseOrigins } from '../../src/formats/origins.ts';

test.each([
  ['https://app.example', 'https://app.example'],
  ['https://a.example, http://localhost:5173', 'http://localhost:5173'],
  ['http://[::1]:8080', 'http://[::1]:8080'],
  ['capacitor://localhost', 'capacitor://localhost'],
  ['ionic://localhost', 'ionic://localhost'],
  ['app://.', 'app://.'],
  ['chrome-extension://abcdefghijklmnopabcdefghijklmnop', 'chrome-extension://abcdefghijklmnopabcdefghijklmnop'],
  ['safari-web-extension://E3449EA7-EC25-4696-8E6C-1A2B', 'safari-web-extension://E3449EA7-EC25-4696-8E6C-1A2B'],
  ['https://*.example.com', 'https://a.example.com'],
  ['https://*.example.com', 'https://a-b.c.example.com'],
  ['https://*.vercel.app', 'https://my-app-git-main.vercel.app'],
  ['https://*.example.com:8443', 'https://a.example.com:8443'],
  ['http://*.localhost:5173', 'http://tenant.localhost:5173'],
])('%p matches %p', (list, origin) => {
  expect(parseOrigins(list).contains(origin)).toBe(true);
});

describe('the wildcard https://*.example.com', () => {
  const origins = parseOrigins('https://*.example.com');
  test.each([
    'https://example.com',
    'https://.example.com',
    'https://evilexample.com',
    'https://a.example.com.evil.example',
    'https://a.example.com:8443',
    'http://a.example.com',
    'https://evil.example/.example.com',
    'https://evil.example#.example.com',
    'https://evil.example?.example.com',
    'https://evil.example\\.example.com',
    'https://user@a.example.com',
    'https://a.example.com/',
    'https://A.example.com',
    'https://aXexample.com',
    'https://*.example.com.',
    'null',
    '',
  ])('does not match %p', (origin) => {
    expect(origins.contains(origin)).toBe(false);
  });
});

describe('a list with an origin that no browser sends, or that matches unrelated sites', () => {
  test.each([
    '*',
    'null',
    'https://*',
    'https://*.com',
    'https://*.com.',
    'https://*.co.uk',
    'https://a*.example.com',
    'https://*example.com',
    'https://*.*.example.com',
    'https://a.*.example.com',
    'https://*.example.com/path',
    'https://*.Example.com',
    'https://*.example.com:443',
    'capacitor://*',
    '*://app.example',
    'https://App.example',
    'HTTPS://app.example',
    'https://app.example:443',
    'http://app.example:80',
    'https://app.example/',
    'https://app.example/path',
    'https://app.example?x',
    'https://user@app.example',
    'https://b\u00fccher.example',
    'http://127.1',
    'app.example',
    '//app.example',
    'Capacitor://localhost',
    'capacitor://localhost/',
    'capacitor://',
    'wss://app.example',
    'file://',
    'data:text/html,x',
    '"https://app.example"',
    'https://a.example https://b.example',
  ])('rejects %p', (origin) => {
    expect(() => parseOrigins(`https://good.example,${origin}`)).toThrow();
  });
});
