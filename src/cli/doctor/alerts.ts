import { hostname } from 'node:os';
import { messageOf } from '../../alerts/alert.ts';
import { postMessage } from '../../alerts/webhook.ts';
import type { Config } from '../../config.ts';
import { type Finding, problemsOf } from './finding.ts';

/** Sends a test alert to ALERT_WEBHOOK. Returns no findings if the receiver has accepted it. */
export async function sendTestAlert({ alertWebhook: webhook }: Config): Promise<Finding[]> {
  const problem = problemsOf('alerts');
  if (!webhook) {
    return [problem('ALERT_WEBHOOK is not set, so there are no alerts.', 'Set it to the URL of a webhook.')];
  }
  const now = Date.now();
  const summary = 'This is a test, sent by "rawlog doctor --test-alert". Nothing is wrong.';
  const change = { alert: 'test', status: 'firing', since: now, at: now, summary, details: {} } as const;
  const failure = await postMessage(webhook, messageOf(change, hostname()), new AbortController().signal);
  if (!failure) return [];
  return [
    problem(
      `The receiver of alerts did not accept a test alert (${failure.reason}).`,
      'Check ALERT_WEBHOOK, and that this machine can reach it. Redirects are not followed.',
      webhook.host,
    ),
  ];
}
