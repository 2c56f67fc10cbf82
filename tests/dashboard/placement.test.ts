import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { type Extent, type Place, placeTooltip } from '../../src/dashboard/page/chart/placement.ts';

const PLACE: Place = {
  pointer: { x: 300, y: 100 },
  avoid: { left: 290, right: 310 },
  tooltip: { width: 150, height: 60 },
  plot: { width: 800, height: 220 },
  extentsOf: () => [],
};

test('a tooltip is beside the pointer: on the right, or on the left near the right edge', () => {
  expect(placeTooltip(PLACE)).toEqual({ left: 322, top: 70 });
  expect(placeTooltip({ ...PLACE, pointer: { x: 700, y: 100 }, avoid: { left: 690, right: 710 } })).toEqual({
    left: 690 - 12 - 150,
    top: 70,
  });
  // within the plot at its top and bottom
  expect(placeTooltip({ ...PLACE, pointer: { x: 300, y: 2 } }).top).toBe(0);
  expect(placeTooltip({ ...PLACE, pointer: { x: 300, y: 219 } }).top).toBe(160);
});

test('a tooltip moves above or below a line that it would cover', () => {
  const line = (top: number, bottom: number) => ({ ...PLACE, extentsOf: () => [{ top, bottom }] });
  expect(placeTooltip(line(90, 120)).top).toBe(90 - 6 - 60);
  expect(placeTooltip(line(60, 90)).top).toBe(96);
  // on the other side if the line fills this one
  const steep = { ...PLACE, extentsOf: (left: number): Extent[] => (left > 300 ? [{ top: 5, bottom: 215 }] : []) };
  expect(placeTooltip(steep)).toEqual({ left: 290 - 12 - 150, top: 70 });
});

test('a tooltip that fits on neither side is above the plot', () => {
  const narrow = {
    ...PLACE,
    pointer: { x: 150, y: 100 },
    avoid: { left: 145, right: 155 },
    plot: { width: 300, height: 220 },
  };
  expect(placeTooltip(narrow)).toEqual({ left: 75, top: -66 });
  expect(placeTooltip({ ...narrow, tooltip: { width: 400, height: 60 } }).left).toBe(0);
});

test('a tooltip never covers the pointer or the bucket', () => {
  const number = (max: number) => fc.integer({ min: 0, max });
  fc.assert(
    fc.property(
      number(800),
      number(220),
      number(60),
      number(400),
      number(200),
      number(220),
      (x, y, half, width, height, top) => {
        const place = {
          ...PLACE,
          pointer: { x, y },
          avoid: { left: x - half, right: x + half },
          tooltip: { width, height },
          extentsOf: () => [{ top, bottom: top + 10 }],
        };
        const { left, top: at } = placeTooltip(place);
        const isAbove = at + height <= 0;
        expect(isAbove || left >= x + half || left + width <= x - half).toBe(true);
      },
    ),
  );
});
