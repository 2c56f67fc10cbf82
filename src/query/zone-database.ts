import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import moment from 'moment-timezone';
import { UTC, type Zone } from '../formats/time-zone.ts';
import { parseTzif } from '../formats/tzif.ts';

/*
 * Time zone rules. Governments change them several times a year, but the runtime's are fixed at its release. The rules here
 * come from the system's time zone database, which package updates keep current, or from the bundled database, whichever
 * is newer.
 */

/** The last year for which transitions are computed. */
const LAST_YEAR = 2300;

/** The last year of the bundled database. */
const LAST_BUNDLED_YEAR = 2037;

/** Matches zone names, but not files such as `posixrules` and folders such as `right`. */
const ZONE_NAME = /^[A-Z][\w+-]*(?:\/[\w+-]+){0,2}$/;

/** A time zone database. */
interface ZoneDatabase {
  /** The release, such as `2026f`. */
  readonly version: string;
  readonly source: 'system' | 'bundled';
  /** Returns a zone by its exact name. */
  find(name: string): Zone | undefined;
}

const bundled: ZoneDatabase = {
  version: (moment.tz as unknown as { dataVersion: string }).dataVersion, // missing in the type declarations
  source: 'bundled',
  find: findBundled,
};

let database: ZoneDatabase | undefined;
/** Loaded zones by canonical name, a few hundred at most. */
const zones = new Map<string, Zone>([['UTC', UTC]]);

/** Returns the version and source of the database in use. */
export function zoneDatabase(): Pick<ZoneDatabase, 'version' | 'source'> {
  database ??= newestDatabase();
  const { version, source } = database;
  return { version, source };
}

/** Returns a zone by its IANA name, ignoring case; undefined if there is none. */
export function zoneNamed(name: string): Zone | undefined {
  const canonical = canonicalName(name);
  const cached = zones.get(canonical);
  if (cached) return cached;
  database ??= newestDatabase();
  const found = ZONE_NAME.test(canonical) ? database.find(canonical) : undefined;
  if (!found) return undefined;
  const zone = withoutRepeats(found);
  zones.set(canonical, zone);
  return zone;
}

/** Returns the canonical spelling of a name. Names that the bundled database does not contain are returned unchanged. */
function canonicalName(name: string): string {
  // moment also accepts Europe_Berlin for Europe/Berlin
  const { name: canonical } = moment.tz.zone(name) ?? { name };
  return canonical.toLowerCase() === name.toLowerCase() ? canonical : name;
}

/** Drops transitions that change only the abbreviation or the daylight saving flag, but not the offset. */
function withoutRepeats({ starts, offsets }: Zone): Zone {
  const isChange = (_: unknown, i: number) => i === 0 || offsets[i] !== offsets[i - 1];
  return { starts: starts.filter(isChange), offsets: offsets.filter(isChange) };
}

/** Returns the newer of the system and bundled databases. */
function newestDatabase(): ZoneDatabase {
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
        return undefined; // no such file, or not a TZif file
      }
    },
  };
}

/** Returns the version of the database in a folder; undefined if it cannot be determined. */
function systemVersion(folder: string): string | undefined {
  for (const [file, pattern] of [
    ['tzdata.zi', /^# version (\d{4}[a-z]+)/],
    ['+VERSION', /^(\d{4}[a-z]+)/],
  ] as const) {
    try {
      const version = pattern.exec(readFileSync(join(folder, file), 'latin1'))?.[1];
      if (version !== undefined) return version;
    } catch {
      // try the next file
    }
  }
  return undefined;
}

/** Returns whether a version is newer. Versions are a year and a letter; z is followed by za. */
function isNewer(version: string, other: string): boolean {
  return version.length === other.length ? version > other : version.length > other.length;
}

function findBundled(name: string): Zone | undefined {
  const found = moment.tz.zone(name);
  if (found?.name !== name) return undefined;
  // moment lists offsets in minutes west of Greenwich, each with the time in milliseconds at which it ends
  const offsets = found.offsets.map((west) => Math.round(-west * 60) * 1e6 + 0); // not -0
  const starts = [
    Number.NEGATIVE_INFINITY,
    ...found.untils.slice(0, -1).map((until) => Math.round(until / 1000) * 1e6),
  ];
  const zone = { starts, offsets };
  const end = Date.UTC(LAST_BUNDLED_YEAR + 1, 0);
  if ((starts.at(-1) as number) >= (end - 366 * 86_400_000) * 1000) addRuntimeTransitions(zone, name, end);
  return zone;
}

/** Adds the runtime's transitions after the bundled years, if both agree on the offset at that point. */
function addRuntimeTransitions(zone: { starts: number[]; offsets: number[] }, name: string, end: number): void {
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
