import { useContext, useState } from 'preact/hooks';
import { inView } from '../address.ts';
import { useCatalog } from '../catalog.ts';
import { Popover } from '../controls/popover.tsx';
import { Link } from '../links.tsx';
import { useNavigation } from '../navigation.ts';
import { useShownRange } from '../shown-range.ts';
import { likelyFirstType, writeStep } from '../steps/step.ts';
import { UnitsContext } from '../units.ts';
import { ChangeError } from './change-error.tsx';
import { usePermissions } from './permissions.ts';
import { chartOf, PINNABLE } from './pin.ts';
import {
  type BoardChart,
  type BoardSummary,
  bodyOf,
  readBoard,
  sendChange,
  useBoardQuery,
  useChange,
} from './requests.ts';

/** A button that pins the chart of the current view to a board. Renders nothing in views without one. */
export function PinButton() {
  const { address } = useNavigation();
  const { canHaveBoards } = usePermissions();
  const { types } = useCatalog();
  const units = useContext(UnitsContext);
  const shown = useShownRange();
  if (!canHaveBoards || !PINNABLE.some((view) => view === address.view)) return null;
  const likely = likelyFirstType(types.names);
  const retention =
    address.retention ?? (likely === undefined ? undefined : writeStep({ type: likely, label: undefined }));
  const chart = chartOf({ ...address, retention }, shown, units);
  if (!chart) return null;
  return (
    <Popover
      name="Pin to board"
      align="end"
      buttonClass="button pin-button"
      title="Pin this chart to a board"
      button={
        <>
          <PinIcon />
          <span class="wide-only">Pin</span>
          <span class="visually-hidden"> to board</span>
        </>
      }
    >
      {() => <PinPanel chart={chart} />}
    </Popover>
  );
}

export function PinIcon() {
  return (
    <svg class="stroke-icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
      <path d="M6 2.5h4l-.5 4.5 2 2v1.5h-7V9l2-2zM8 10.5v3.5" />
    </svg>
  );
}

/** The boards to pin to, with the title of the chart. */
function PinPanel({ chart }: { chart: BoardChart }) {
  const { address } = useNavigation();
  const list = useBoardQuery('boards', '/api/boards');
  const [title, setTitle] = useState(chart.title);
  const [name, setName] = useState('');
  const [pinned, setPinned] = useState<Pick<BoardSummary, 'id' | 'name'>>();
  const { isBusy, error, run } = useChange();
  const titled = { ...chart, title: title.trim() || chart.title };

  const pinTo = ({ id }: Pick<BoardSummary, 'id'>) =>
    run(async (token) => {
      const board = await readBoard(id, token);
      await sendChange('PUT board', `/api/boards/${id}`, token, {
        ...bodyOf(board),
        charts: [...board.charts, titled],
      });
      setPinned(board);
    });
  const pinToNew = () =>
    run(async (token) => {
      const body = { name: name.trim(), scope: 'account', charts: [titled] };
      setPinned(await sendChange('POST /api/boards', '/api/boards', token, body));
    });

  if (pinned) {
    return (
      <div class="pin-panel" role="status">
        <p>
          Pinned to <Link to={inView(address, 'boards', { board: pinned.id })}>{pinned.name}</Link>.
        </p>
      </div>
    );
  }
  const boards = (list.value?.boards ?? []).filter(({ can_edit }) => can_edit);
  return (
    <div class="pin-panel">
      <label>
        Title
        <input data-first value={title} maxLength={200} onInput={(event) => setTitle(event.currentTarget.value)} />
      </label>
      {boards.length > 0 && (
        <fieldset disabled={isBusy}>
          <legend>Pin to</legend>
          <ul class="pin-boards">
            {boards.map((board) => (
              <li key={board.id}>
                <button type="button" onClick={() => void pinTo(board)}>
                  <span>{board.name}</span>
                  {board.scope === 'everyone' && <small class="badge">everyone</small>}
                </button>
              </li>
            ))}
          </ul>
        </fieldset>
      )}
      <form
        class="row"
        onSubmit={(event) => {
          event.preventDefault();
          if (name.trim() !== '') void pinToNew();
        }}
      >
        <label>
          {boards.length > 0 ? 'Or a new board' : 'New board'}
          <input
            value={name}
            maxLength={100}
            placeholder="Name"
            onInput={(event) => setName(event.currentTarget.value)}
          />
        </label>
        <button type="submit" class="primary" disabled={isBusy || name.trim() === ''}>
          Create
        </button>
      </form>
      <ChangeError error={error} />
    </div>
  );
}
