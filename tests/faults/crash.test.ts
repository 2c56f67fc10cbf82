import { expect, test } from 'bun:test';
import { isStraceMissing } from '../harness/slow-disk.ts';
import { TARGET } from '../harness/target.ts';
import { killUnderLoad } from './kill.ts';
import { cutPower } from './power-cut.ts';
import { noVolumes } from './volume.ts';

if (noVolumes) console.warn(`SKIPPED: power cut tests: ${noVolumes}`);

test('stores each row exactly once, under the acknowledged ID, across five kills under load', async () => {
  const { acknowledged, lost, duplicates } = await killUnderLoad(5);
  expect(acknowledged).toBeGreaterThan(5);
  expect({ lost, duplicates }).toEqual({ lost: 0, duplicates: 0 });
}, 120_000);

test.skipIf(noVolumes !== undefined)(
  'loses no acknowledged row in five power cuts under load',
  async () => {
    const { acknowledged, lost, damaged } = await cutPower(5, 'FULL'); // on the main thread, if the disk is fast
    expect(acknowledged).toBeGreaterThan(500);
    expect({ lost, damaged }).toEqual({ lost: 0, damaged: 0 });
  },
  120_000,
);

test.skipIf(noVolumes !== undefined || isStraceMissing)(
  'loses no acknowledged row in three power cuts under load with fsyncs in a thread',
  async () => {
    const { lost, damaged, inline } = await cutPower(3, 'FULL', 1);
    expect({ lost, damaged, inline }).toEqual({ lost: 0, damaged: 0, inline: 0 });
  },
  120_000,
);

test.skipIf(noVolumes !== undefined || TARGET === 'binary')(
  'loses rows in the same power cuts without fsync',
  async () => {
    expect((await cutPower(2, 'NORMAL')).lost).toBeGreaterThan(0);
  },
  120_000,
);
