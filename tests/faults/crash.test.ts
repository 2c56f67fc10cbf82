import { expect, test } from 'bun:test';
import { TARGET } from '../harness/target.ts';
import { killUnderLoad } from './kill.ts';
import { cutPower } from './power-cut.ts';
import { noVolumes } from './volume.ts';

if (noVolumes) console.warn(`SKIPPED: the power cuts: ${noVolumes}`);

test('five kills under load: every row exactly once, under the id that was answered', async () => {
  const { acknowledged, lost, doubled } = await killUnderLoad(5);
  expect(acknowledged).toBeGreaterThan(5);
  expect({ lost, doubled }).toEqual({ lost: 0, doubled: 0 });
}, 120_000);

test.skipIf(noVolumes !== undefined)(
  'five power cuts under load: nothing that was acknowledged is lost',
  async () => {
    const { acknowledged, lost, damaged } = await cutPower(5, 'FULL');
    expect(acknowledged).toBeGreaterThan(500);
    expect({ lost, damaged }).toEqual({ lost: 0, damaged: 0 });
  },
  120_000,
);

test.skipIf(noVolumes !== undefined || TARGET === 'binary')(
  'without fsync the same cuts do lose rows',
  async () => {
    expect((await cutPower(2, 'NORMAL')).lost).toBeGreaterThan(0);
  },
  120_000,
);
