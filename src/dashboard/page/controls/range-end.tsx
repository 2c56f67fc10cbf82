import { offsetAt } from '../../../formats/time-zone.ts';
import { formatOffset, useZone, type Zone } from '../calendar.ts';
import { momentsOfWall, wallTime } from '../time.ts';

/** A time as typed. If it occurs twice, `offset` selects one. */
export interface TypedTime {
  readonly text: string;
  readonly offset?: number;
}

/** Returns the moment of a typed time; undefined if it is not a time. */
export function momentOfTyped({ text, offset }: TypedTime, zone: Zone): Date | undefined {
  const moments = momentsOfWall(text, zone);
  return moments.find((moment) => offsetAt(zone, moment.getTime()) === offset) ?? moments[0];
}

interface RangeEndProps {
  readonly label: string;
  readonly shown: Date;
  readonly typed: TypedTime | undefined;
  readonly onTyped: (typed: TypedTime) => void;
}

/** One end of a range: a time field and, for a time that occurs twice, a choice of UTC offsets. */
export function RangeEnd({ label, shown, typed, onTyped }: RangeEndProps) {
  const zone = useZone();
  const text = typed?.text ?? wallTime(shown, zone);
  const moments = momentsOfWall(text, zone);
  const selected = typed ? momentOfTyped(typed, zone) : shown;
  return (
    <>
      <label>
        {label}
        <input type="datetime-local" value={text} onInput={(event) => onTyped({ text: event.currentTarget.value })} />
      </label>
      {moments.length > 1 && (
        <select
          aria-label={`${label}: UTC offset`}
          value={String(offsetAt(zone, selected?.getTime() ?? 0))}
          onChange={(event) => onTyped({ text, offset: Number(event.currentTarget.value) })}
        >
          {moments.map((moment) => {
            const offset = offsetAt(zone, moment.getTime());
            return (
              <option key={offset} value={String(offset)}>
                {formatOffset(offset)}
              </option>
            );
          })}
        </select>
      )}
    </>
  );
}
