import type { Zone } from './time-zone.ts';

/*
 * Compiled files of the time zone database (TZif, RFC 9636). A file lists offset transitions, and ends with a rule for
 * later ones, in the format of the environment variable TZ (POSIX.1-2024, section 8.3).
 */

const HEADER_BYTES = 44;
const US = 1_000_000;
const HOUR = 3600;
const DAY = 24 * HOUR;

/**
 * Parses a TZif file of version 2 or later.
 *
 * @param until the last year for which transitions by the final rule are listed
 * @throws {Error} if the bytes are not a TZif file of a supported version
 */
export function parseTzif(bytes: Uint8Array, until: number): Zone {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const counts = (at: number) => {
    if (new TextDecoder('latin1').decode(bytes.subarray(at, at + 4)) !== 'TZif') throw new Error('not a TZif file');
    const [utc, standard, leaps] = [view.getUint32(at + 20), view.getUint32(at + 24), view.getUint32(at + 28)];
    const [times, types, characters] = [view.getUint32(at + 32), view.getUint32(at + 36), view.getUint32(at + 40)];
    const sizeWith = (timeBytes: number) =>
      times * (timeBytes + 1) + types * 6 + characters + leaps * (timeBytes + 4) + standard + utc;
    return { times, sizeWith };
  };
  if ((bytes[4] ?? 0) < 0x32) throw new Error('TZif version 1 is not supported');
  // the first block, with 32-bit times, is for old readers
  const start = HEADER_BYTES + counts(0).sizeWith(4);
  const { times, sizeWith } = counts(start);
  const data = start + HEADER_BYTES;
  const offsetOfType = (type: number) => view.getInt32(data + times * 9 + type * 6) * US;

  const starts = [Number.NEGATIVE_INFINITY];
  const offsets = [offsetOfType(0)];
  for (let i = 0; i < times; i++) {
    starts.push(Number(view.getBigInt64(data + i * 8)) * US);
    offsets.push(offsetOfType(view.getUint8(data + times * 8 + i)));
  }
  const footer = new TextDecoder('latin1').decode(bytes.subarray(data + sizeWith(8))).split('\n')[1] ?? '';
  const last = starts.at(-1) as number;
  for (const transition of transitionsOf(footer, last, until)) {
    if (transition.start <= last) continue;
    starts.push(transition.start);
    offsets.push(transition.offset);
  }
  return { starts, offsets };
}

interface Transition {
  readonly start: number;
  readonly offset: number;
}

const NAME = '(?:[A-Za-z]{3,}|<[A-Za-z0-9+-]*>)';
const OFFSET = '[+-]?\\d{1,3}(?::\\d\\d){0,2}';
const DATE = `(?:J?\\d{1,3}|M\\d{1,2}\\.\\d\\.\\d)(?:/${OFFSET})?`;
const RULE = new RegExp(`^${NAME}(${OFFSET})(?:${NAME}(${OFFSET})?,(${DATE}),(${DATE}))?$`);

/** Returns the transitions by a rule such as `CET-1CEST,M3.5.0,M10.5.0/3`, from a time to the end of a year. */
function transitionsOf(rule: string, from: number, until: number): Transition[] {
  const [, standardText, summerText, toSummer, toStandard] = RULE.exec(rule) ?? [];
  // offsets west of Greenwich are positive in these rules
  if (standardText === undefined || !toSummer || !toStandard) return [];
  const standard = 0 - secondsOf(standardText);
  const summer = summerText === undefined ? standard + HOUR : 0 - secondsOf(summerText);
  const transitions: Transition[] = [];
  const firstYear = Number.isFinite(from) ? new Date(from / 1000).getUTCFullYear() : 1970;
  for (let year = firstYear; year <= until; year++) {
    transitions.push({ start: (wallOf(toSummer, year) - standard) * US, offset: summer * US });
    transitions.push({ start: (wallOf(toStandard, year) - summer) * US, offset: standard * US });
  }
  return transitions.sort((a, b) => a.start - b.start);
}

function secondsOf(text: string): number {
  const [hours = 0, minutes = 0, seconds = 0] = text.replace(/^[+-]/, '').split(':').map(Number);
  return (text.startsWith('-') ? -1 : 1) * (hours * HOUR + minutes * 60 + seconds);
}

/** Returns the wall time of a rule's date in a year, in seconds since 1970. */
function wallOf(rule: string, year: number): number {
  const [date = '', time = '2'] = rule.split('/');
  return dayOf(date, year) * DAY + secondsOf(time);
}

/** Returns the day of a rule's date in a year, in days since 1970. */
function dayOf(date: string, year: number): number {
  const daysAt = (month: number, day: number) => Date.UTC(year, month, day) / 1000 / DAY;
  const [, month, week, weekday] = /^M(\d+)\.(\d)\.(\d)$/.exec(date) ?? [];
  if (month !== undefined) {
    const first = daysAt(Number(month) - 1, 1);
    const next = daysAt(Number(month), 1);
    // 1970-01-01 was a Thursday
    const firstWeekday = (((first + 4) % 7) + 7) % 7;
    const day = first + ((Number(weekday) - firstWeekday + 7) % 7) + (Number(week) - 1) * 7;
    return day < next ? day : day - 7; // week 5 means the last one
  }
  if (!date.startsWith('J')) return daysAt(0, 1) + Number(date);
  // J days never count 29 February
  const isAfterFebruary = Number(date.slice(1)) >= 60;
  const isLeapYear = daysAt(1, 29) < daysAt(2, 1);
  return daysAt(0, 1) + Number(date.slice(1)) - 1 + (isLeapYear && isAfterFebruary ? 1 : 0);
}
