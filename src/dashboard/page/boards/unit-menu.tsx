import { useContext, useState } from 'preact/hooks';
import { Popover } from '../controls/popover.tsx';
import { Segmented } from '../controls/segmented.tsx';
import { type Better, UnitsContext, useUnitOf } from '../units.ts';
import { ChangeError } from './change-error.tsx';
import { usePermissions } from './permissions.ts';
import { sendChange, useChange } from './requests.ts';

/** Units to choose from. Others can be typed. */
const UNITS = ['ms', 's', 'min', 'h', 'bytes', 'kB', 'MB', '%', 'ratio', '€', '$', '£'];

/** A button with which admins set the unit of a metric, and which values are better. */
export function UnitMenu({ name }: { name: string }) {
  const { isAdmin, canHaveBoards } = usePermissions();
  if (!isAdmin || !canHaveBoards) return null;
  return (
    <Popover name={`Unit of ${name}`} buttonClass="unit-button" button="Unit">
      {(close) => <UnitPanel key={name} name={name} close={close} />}
    </Popover>
  );
}

function UnitPanel({ name, close }: { name: string; close: () => void }) {
  const set = useContext(UnitsContext).find((setting) => setting.name === name);
  const shown = useUnitOf(name);
  const [unit, setUnit] = useState(set?.unit ?? shown.symbol);
  const [better, setBetter] = useState<Better | 'neither'>(set?.better ?? shown.better ?? 'neither');
  const { isBusy, error, run } = useChange();
  const store = async (body: { unit: string | null; better?: Better | null }) => {
    if (await run((token) => sendChange('PUT /api/units', '/api/units', token, { name, ...body }))) close();
  };
  return (
    <form
      class="menu"
      onSubmit={(event) => {
        event.preventDefault();
        if (unit.trim() !== '') void store({ unit: unit.trim(), better: better === 'neither' ? null : better });
      }}
    >
      <label>
        Unit of the values
        <input
          data-first
          list="units"
          value={unit}
          maxLength={16}
          placeholder="ms"
          autocomplete="off"
          onInput={(event) => setUnit(event.currentTarget.value)}
        />
        <datalist id="units">
          {UNITS.map((each) => (
            <option key={each} value={each} />
          ))}
        </datalist>
      </label>
      <Segmented
        label="Better values are"
        options={[
          { value: 'lower', label: 'Lower' },
          { value: 'higher', label: 'Higher' },
          { value: 'neither', label: 'Neither' },
        ]}
        value={better}
        onSelect={setBetter}
      />
      <button type="submit" class="primary" disabled={isBusy || unit.trim() === ''}>
        Save
      </button>
      {set && (
        <button type="button" disabled={isBusy} onClick={() => void store({ unit: null })}>
          Guess from the name
        </button>
      )}
      <ChangeError error={error} />
    </form>
  );
}
