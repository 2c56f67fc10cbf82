import { useEffect, useState } from 'preact/hooks';
import { inView } from '../address.ts';
import { BoardGrid } from '../boards/board-grid.tsx';
import { BoardRangePicker } from '../boards/board-range.tsx';
import { ChangeError } from '../boards/change-error.tsx';
import { usePermissions } from '../boards/permissions.ts';
import {
  type Board,
  type BoardChart,
  type BoardSummary,
  bodyOf,
  sendChange,
  useBoardQuery,
  useChange,
} from '../boards/requests.ts';
import { ShareButton } from '../boards/share-dialog.tsx';
import { Popover } from '../controls/popover.tsx';
import { Segmented } from '../controls/segmented.tsx';
import { Link } from '../links.tsx';
import { useNavigation } from '../navigation.ts';
import { EmptyMessage, QueryResult } from '../states.tsx';

/** A board, or the list of those of the account and those for everyone. */
export function Boards() {
  const { address } = useNavigation();
  const { canHaveBoards } = usePermissions();
  if (!canHaveBoards) {
    return (
      <section class="panel">
        <EmptyMessage>The demo has no boards: it only reads. Leave it to make your own.</EmptyMessage>
      </section>
    );
  }
  return address.board === undefined ? <BoardList /> : <BoardView key={address.board} id={address.board} />;
}

function BoardList() {
  const list = useBoardQuery('boards', '/api/boards');
  return (
    <section class="panel boards" aria-labelledby="boards">
      <div class="head">
        <h2 id="boards">Boards</h2>
        <NewBoard />
      </div>
      <QueryResult query={list}>
        {({ boards }) =>
          boards.length === 0 ? (
            <EmptyMessage>
              No boards yet. Create one, or open a metric, an event, a funnel or retention and pin its chart.
            </EmptyMessage>
          ) : (
            <>
              <Group title="Yours" boards={boards.filter(({ scope }) => scope === 'account')} />
              <Group title="For everyone" boards={boards.filter(({ scope }) => scope === 'everyone')} />
            </>
          )
        }
      </QueryResult>
    </section>
  );
}

function Group({ title, boards }: { title: string; boards: readonly BoardSummary[] }) {
  const { address } = useNavigation();
  if (boards.length === 0) return null;
  return (
    <>
      <h3>{title}</h3>
      <ul class="board-list">
        {boards.map(({ id, name, charts }) => (
          <li key={id}>
            <Link to={inView(address, 'boards', { board: id })}>{name}</Link>
            <small class="quiet">{charts === 1 ? '1 chart' : `${charts} charts`}</small>
          </li>
        ))}
      </ul>
    </>
  );
}

function NewBoard() {
  const { go } = useNavigation();
  const [name, setName] = useState('');
  const { isBusy, error, run } = useChange();
  const create = () =>
    run(async (token) => {
      const body = { name: name.trim(), scope: 'account', charts: [] };
      const { id } = await sendChange('POST /api/boards', '/api/boards', token, body);
      go({ board: id, boardRange: undefined });
    });
  return (
    <Popover name="New board" align="end" buttonClass="primary" button="New board">
      {() => (
        <form
          class="menu"
          onSubmit={(event) => {
            event.preventDefault();
            if (name.trim() !== '') void create();
          }}
        >
          <label>
            Name
            <input
              data-first
              value={name}
              maxLength={100}
              placeholder="Growth"
              onInput={(event) => setName(event.currentTarget.value)}
            />
          </label>
          <button type="submit" class="primary" disabled={isBusy || name.trim() === ''}>
            Create
          </button>
          <ChangeError error={error} />
        </form>
      )}
    </Popover>
  );
}

function BoardView({ id }: { id: string }) {
  const query = useBoardQuery('board', `/api/boards/${id}`);
  if (query.error?.status === 404) return <NoBoard />;
  return <QueryResult query={query}>{(board) => <Loaded stored={board} />}</QueryResult>;
}

function NoBoard() {
  const { address } = useNavigation();
  return (
    <section class="panel">
      <EmptyMessage>
        This board does not exist, or belongs to another account. See{' '}
        <Link to={inView(address, 'boards')}>all boards</Link>.
      </EmptyMessage>
    </section>
  );
}

function Loaded({ stored }: { stored: Board }) {
  const { address } = useNavigation();
  // as the last change returned it, until the query does
  const [changed, setChanged] = useState<Board>();
  const board = changed && Date.parse(changed.updated_at) > Date.parse(stored.updated_at) ? changed : stored;
  const { isBusy, error, run } = useChange();
  const { name } = board;
  useEffect(() => {
    document.title = `${name} · rawlog`;
  });
  const store = (changes: Partial<Pick<Board, 'name' | 'scope' | 'charts'>>) =>
    run(async (token) => {
      const body = { ...bodyOf(board), ...changes };
      setChanged(await sendChange('PUT board', `/api/boards/${board.id}`, token, body));
    });
  return (
    <>
      <div class="board-head">
        <span class="board-path">
          <Link to={inView(address, 'boards')}>Boards</Link>
        </span>
        <h2>{name}</h2>
        {board.scope === 'everyone' && <small class="badge">everyone</small>}
        <div class="board-actions">
          {board.charts.length > 0 && <BoardRangePicker />}
          <ShareButton board={board} />
          {board.can_edit && <BoardMenu board={board} isBusy={isBusy} onStore={store} />}
        </div>
      </div>
      <ChangeError error={error} />
      {board.charts.length === 0 ? (
        <section class="panel">
          <EmptyMessage>
            No charts yet. Open <Link to={inView(address, 'metric')}>a metric</Link>,{' '}
            <Link to={inView(address, 'event')}>an event</Link>, <Link to={inView(address, 'funnel')}>a funnel</Link> or{' '}
            <Link to={inView(address, 'retention')}>retention</Link>, and choose <b>Pin</b>.
          </EmptyMessage>
        </section>
      ) : (
        <BoardGrid
          board={board}
          isBusy={isBusy}
          onChange={(charts: readonly BoardChart[]) => store({ charts: [...charts] })}
        />
      )}
    </>
  );
}

interface BoardMenuProps {
  readonly board: Board;
  readonly isBusy: boolean;
  readonly onStore: (changes: Partial<Pick<Board, 'name' | 'scope'>>) => Promise<boolean>;
}

/** Renames and deletes a board, and says who sees it. */
function BoardMenu({ board, isBusy, onStore }: BoardMenuProps) {
  return (
    <Popover name="Edit board" align="end" button="Edit">
      {(close) => <BoardPanel board={board} isBusy={isBusy} onStore={onStore} close={close} />}
    </Popover>
  );
}

function BoardPanel({ board, isBusy, onStore, close }: BoardMenuProps & { close: () => void }) {
  const { go } = useNavigation();
  const { isAdmin } = usePermissions();
  const [draft, setDraft] = useState(board.name);
  const [isAsking, setAsking] = useState(false);
  const { error, run } = useChange();
  const remove = async () => {
    if (await run((token) => sendChange('DELETE', `/api/boards/${board.id}`, token)))
      go({ board: undefined, boardRange: undefined });
  };
  return (
    <form
      class="menu"
      onSubmit={(event) => {
        event.preventDefault();
        if (draft.trim() !== '') void onStore({ name: draft.trim() }).then((isStored) => isStored && close());
      }}
    >
      <label>
        Name
        <span class="row">
          <input data-first value={draft} maxLength={100} onInput={(event) => setDraft(event.currentTarget.value)} />
          <button type="submit" disabled={isBusy || draft.trim() === '' || draft.trim() === board.name}>
            Rename
          </button>
        </span>
      </label>
      {isAdmin && (
        <Segmented
          label="Who sees it"
          options={[
            { value: 'account', label: 'Only me' },
            { value: 'everyone', label: 'Everyone' },
          ]}
          value={board.scope}
          onSelect={(scope) => void onStore({ scope })}
        />
      )}
      {isAsking ? (
        <div class="row">
          <span>Delete the board and its shared links?</span>
          <button type="button" class="danger" onClick={() => void remove()}>
            Delete
          </button>
          <button type="button" onClick={() => setAsking(false)}>
            Keep
          </button>
        </div>
      ) : (
        <button type="button" class="danger" onClick={() => setAsking(true)}>
          Delete board…
        </button>
      )}
      <ChangeError error={error} />
    </form>
  );
}
