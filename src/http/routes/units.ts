import { Elysia } from 'elysia';
import type { CachedVerifier } from '../../auth/token-cache.ts';
import { canReadAll } from '../../auth/verifier.ts';
import { unitCheck } from '../../board-bodies.ts';
import type { Unit, Units } from '../../board-responses.ts';
import { ApiError } from '../../errors.ts';
import type { UserNames } from '../../ingest/user-names.ts';
import { MAX_UNITS, type UnitStore } from '../../storage/unit-store.ts';
import { authenticate, authenticateAdmin } from '../auth.ts';
import { readJson } from '../body.ts';
import { admitChange, type ChangeParts, commitChange, readStored } from '../changes.ts';
import { documentBoardRoute } from '../openapi-boards.ts';
import { readQuery, valueError } from '../parameters.ts';
import { validate } from '../validation.ts';

/** Largest body, in bytes. */
const MAX_BODY_BYTES = 16_384;

/** Dependencies of the routes of units. */
export interface UnitParts extends ChangeParts {
  readonly verify: CachedVerifier;
  readonly units: UnitStore;
  readonly userNames: Pick<UserNames, 'recordedOf'>;
}

/** Creates the routes of the units of metrics. */
export function unitRoutes(parts: UnitParts) {
  const { verify, units, userNames, queue } = parts;

  return new Elysia({ name: 'units' })
    .get(
      '/api/units',
      async ({ request }): Promise<Units> => {
        const principal = await authenticate(request.headers, verify);
        readQuery(request, {});
        const all = readStored(() => units.list());
        if (canReadAll(principal)) return { units: all };
        // names can say what a product plans, so users learn none that they have not recorded
        const names = all.map(({ name }) => name);
        const recorded = userNames.recordedOf(principal.userId, 'metric', names);
        return { units: all.filter(({ name }) => recorded.has(name)) };
      },
      { detail: documentBoardRoute('listUnits') },
    )
    .put(
      '/api/units',
      async ({ request }): Promise<Unit> => {
        const principal = await authenticateAdmin(request.headers, verify);
        readQuery(request, {});
        const { value, bytes } = await readJson(request, MAX_BODY_BYTES, { grow: () => true });
        const { name, unit, better = null } = validate('body', unitCheck, value);
        admitChange(parts, principal, bytes);
        const isStored = await commitChange(queue, bytes, () => {
          if (unit === null) return { changes: units.remove(name), outcome: true };
          const outcome = units.find(name) !== undefined || !units.isFull();
          return { changes: outcome ? units.set({ name, unit, better }) : 0, outcome };
        });
        if (!isStored) {
          const issue = valueError(`at most ${MAX_UNITS} metrics can have a unit`);
          throw new ApiError('validation_failed', { issues: [{ loc: ['body'], ...issue }] });
        }
        return unit === null ? { name, unit: null, better: null } : { name, unit, better };
      },
      { parse: 'none', detail: documentBoardRoute('setUnit') },
    );
}
