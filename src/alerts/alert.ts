import { formatTimestamp } from '../formats/timestamp.ts';
import { durationText, harmless } from './text.ts';

/** The alerts, by what they are about; `test` is sent on demand. */
export type AlertName = 'recording' | 'disk' | 'backup' | 'threshold' | 'silence' | 'test';

/** Values for programs that receive alerts. Texts in them are harmless. */
export type AlertDetails = Readonly<Record<string, string | number | boolean | null>>;

/** What a check has found about one condition. */
export interface Observation {
  /** What distinguishes the condition from all others of its alert. Stays the same across restarts. */
  readonly key: string;
  /** Whether the condition is met; undefined if that cannot be determined now. */
  readonly isActive: boolean | undefined;
  /** How long the condition must not have been met before the alert is resolved. */
  readonly clearAfterSeconds: number;
  /** Why the alert ends, if it ends with this observation; a sentence that is added to its last summary. */
  readonly endReason?: string | undefined;
  /** A sentence without links, mentions or markup. */
  readonly summary: string;
  readonly details: AlertDetails;
}

/** An alert that began or ended. Times are in milliseconds since 1970. */
export interface AlertChange extends Pick<Observation, 'summary' | 'details'> {
  readonly alert: AlertName;
  readonly status: 'firing' | 'resolved';
  /** When it began. */
  readonly since: number;
  /** When it began or ended: the time of this status. */
  readonly at: number;
}

/** The body of a request to ALERT_WEBHOOK. */
export interface AlertMessage extends Pick<AlertChange, 'alert' | 'status' | 'summary' | 'details'> {
  /** For chat services. */
  readonly text: string;
  readonly host: string;
  /** RFC 3339. */
  readonly since: string;
  readonly at: string;
}

/** Returns the message of an alert. */
export function messageOf({ alert, status, since, at, summary, details }: AlertChange, host: string): AlertMessage {
  const safeHost = harmless(host);
  const title = status === 'firing' ? 'Alert' : `Ended after ${durationText((at - since) / 1000)}`;
  const text = `${title}: rawlog on ${safeHost}: ${summary}`;
  const [sinceText, atText] = [since, at].map((time) => formatTimestamp(Math.round(time) * 1000)) as [string, string];
  return { text, alert, status, summary, host: safeHost, since: sinceText, at: atText, details };
}
