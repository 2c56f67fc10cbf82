import { useLayoutEffect, useRef } from 'preact/hooks';
import { ChangeText } from '../figures.tsx';
import type { Formatter } from '../unit-format.ts';
import type { Better } from '../units.ts';
import type { Line } from './line.ts';
import type { Size } from './placement.ts';

/** A line's figure in a tooltip. */
export interface TooltipRow {
  readonly line: Line;
  readonly value: number | null;
  readonly format: Formatter;
  /** The figure of the previous period, and the range it is about. */
  readonly previous?: { readonly value: number | null; readonly text: string | undefined };
  readonly better: Better | undefined;
}

interface TooltipProps {
  /** The range of the bucket. */
  readonly title: string;
  readonly rows: readonly TooltipRow[];
  /** Why the bucket is incomplete, if it is. */
  readonly warning: string | undefined;
  readonly annotations: readonly string[];
  /** Returns where a tooltip belongs, in pixels from the top left of the plot's frame. */
  readonly placeOf: (tooltip: Size) => { left: number; top: number } | undefined;
}

/** The figures of the bucket under the pointer. Hidden from screen readers, which get the same as text. */
export function Tooltip({ title, rows, warning, annotations, placeOf }: TooltipProps) {
  const box = useRef<HTMLDivElement>(null);
  // on every render, because the pointer has moved or the content has changed size
  useLayoutEffect(() => {
    const element = box.current;
    const place = element && placeOf({ width: element.offsetWidth, height: element.offsetHeight });
    if (place) element.style.transform = `translate(${Math.round(place.left)}px, ${Math.round(place.top)}px)`;
  });
  return (
    <div class="tooltip" ref={box} aria-hidden="true">
      <b>{title}</b>
      <table>
        <tbody>
          {rows.map(({ line, value, format, previous, better }) => (
            <tr key={line.label}>
              <th scope="row">
                <Swatch line={line} /> <span class="name">{line.label}</span>
              </th>
              <td class="number">
                <data value={String(value)}>{format(value)}</data>
              </td>
              {rows.some((row) => row.previous) && (
                <td class="number">{previous && <ChangeText now={value} before={previous.value} better={better} />}</td>
              )}
              {rows.some((row) => row.previous) && (
                <td class="quiet">
                  {previous && (
                    <>
                      from <data value={String(previous.value)}>{format(previous.value)}</data>
                      {previous.text && ` on ${previous.text}`}
                    </>
                  )}
                </td>
              )}
            </tr>
          ))}
        </tbody>
      </table>
      {warning && <p class="warning">{warning}</p>}
      {annotations.map((text) => (
        <p class="annotation" key={text}>
          {text}
        </p>
      ))}
    </div>
  );
}

/** A sample of a line's color and shape. */
export function Swatch({ line: { shape = 'line', color } }: { line: Line }) {
  return <span class={`swatch ${shape}`} style={{ '--swatch': `var(${color})` }} />;
}
