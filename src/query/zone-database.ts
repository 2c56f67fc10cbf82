import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import moment from 'moment-timezone';
import { UTC, type Zone } from '../formats/time-zone.ts';
import { parseTzif } from '../formats/tzif.ts';

/*
 * The rules of time zones. Governments change them several times a year, and the runtime has those of its release
 * compiled in. The rules here are those of the machine's time zone database, which its packages keep up to date, or
 * of the database in this program, whichever is newer.
 */

/** The last year whose changes of the clocks are known. */
const LAST_YEAR = 2300;

/** The bundled database ends with this year. */
const LAST_BUNDLED_YEAR = 2037;

/** A name of the database; files such as `posixrules` and folders such as `right` are none. */
const ZONE_NAME = /^[A-Z][\w+-]*(?:\/[\w+-]+){0,2}$/;

/** A time zone database. */
interface ZoneDatabase {
  /** Such as `2026f`. */
  readonly version: string;
  readonly source: 'system' | 'bundled';
  /** Returns a zone by its exact name. */
  find(name: string): Zone | undefined;
}

const bundled: ZoneDatabase = {
  version: (moment.tz as unknown as { dataVersion: string }).dataVersion, // missing in its types
  source: 'bundled',
  find: findBundled,
};

let database: ZoneDatabase | undefined;
/** By canonical name, of which there are some hundred. */
const zones = new Map<string, Zone>([['UTC', UTC]]);

/** Returns the version of the database in use, and where it is from. */
export function zoneDatabase(): Pick<ZoneDatabase, 'version' | 'source'> {
  database ??= newest();
  const { version, source } = database;
  return { version, source };
}

/** Returns a zone by its IANA name, in any letter case, or undefined if there is none. */
export function zoneNamed(name: string): Zone | undefined {
  const canonical = canonicalName(name);
  const known = zones.get(canonical);
  if (known) return known;
  database ??= newest();
  const found = ZONE_NAME.test(canonical) ? database.find(canonical) : undefined;
  if (!found) return undefined;
  const zone = withoutRepeats(found);
  zones.set(canonical, zone);
  return zone;
}

/** Returns a name as the bundled database writes it; a name that is only in the machine's stays as it is. */
function canonicalName(name: string): string {
  // moment also takes Europe_Berlin for Europe/Berlin
  const { name: canonical } = moment.tz.zone(name) ?? { name };
  return canonical.toLowerCase() === name.toLowerCase() ? canonical : name;
}

/** Drops changes of the name or of summer time only. */
function withoutRepeats({ starts, offsets }: Zone): Zone {
  const isChange = (_: unknown, i: number) => i === 0 || offsets[i] !== offsets[i - 1];
  return { starts: starts.filter(isChange), offsets: offsets.filter(isChange) };
}

function newest(): ZoneDatabase {
  const folder = process.env['TZDIR'] || '/usr/share/zoneinfo';
  const version = systemVersion(folder);
  if (version === undefined || !isNewer(version, bundled.version)) return bundled;
  return {
    version,
    source: 'system',
    find(name) {
      try {
        return parseTzif(readFileSync(join(folder, name)), LAST_YEAR);
      } catch {
        return undefined; // there is no such file, or it is none of the database
      }
    },
  };
}

/** Returns the version of the database in a folder; undefined where none is stated. */
function systemVersion(folder: string): string | undefined {
  for (const [file, pattern] of [
    ['tzdata.zi', /^# version (\d{4}[a-z]+)/],
    ['+VERSION', /^(\d{4}[a-z]+)/],
  ] as const) {
    try {
      const version = pattern.exec(readFileSync(join(folder, file), 'latin1'))?.[1];
      if (version !== undefined) return version;
    } catch {
      // the other one, then
    }
  }
  return undefined;
}

/** Versions are a year and a letter; after z comes za. */
function isNewer(version: string, other: string): boolean {
  return version.length === other.length ? version > other : version.length > other.length;
}

function findBundled(name: string): Zone | undefined {
  const found = moment.tz.zone(name);
  if (found?.name !== name) return undefined;
  // each offset, in minutes west of Greenwich, holds until a time in milliseconds, the last for ever
  const offsets = found.offsets.map((west) => Math.round(-west * 60) * 1e6 + 0); // not -0
  const starts = [
    Number.NEGATIVE_INFINITY,
    ...found.untils.slice(0, -1).map((until) => Math.round(until / 1000) * 1e6),
  ];
  const zone = { starts, offsets };
  const end = Date.UTC(LAST_BUNDLED_YEAR + 1, 0);
  if ((starts.at(-1) as number) >= (end - 366 * 86_400_000) * 1000) continueBy(zone, name, end);
  return zone;
}

/** Adds the changes after the bundled years by the runtime's rule, where that is the same up to then. */
function continueBy(zone: { starts: number[]; offsets: number[] }, name: string, end: number): void {
  let time: Temporal.ZonedDateTime | null;
  try {
    time = Temporal.Instant.fromEpochMilliseconds(end).toZonedDateTimeISO(name);
  } catch {
    return; // the runtime does not know the zone
  }
  if (time.offsetNanoseconds / 1000 !== zone.offsets.at(-1)) return;
  for (time = time.getTimeZoneTransition('next'); time && time.year <= LAST_YEAR; ) {
    zone.starts.push(time.epochMilliseconds * 1000);
    zone.offsets.push(time.offsetNanoseconds / 1000);
    time = time.getTimeZoneTransition('next');
  }
}
