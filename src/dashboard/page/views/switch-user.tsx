import { useEffect, useRef } from 'preact/hooks';
import { formatText } from '../format.ts';

interface SwitchUserProps {
  /** The signed-in user. */
  readonly current: string;
  /** The user of the link. */
  readonly offered: string;
  readonly onDecided: (isAccepted: boolean) => void;
}

/** Asks whether a sign-in link for another user should replace the session. */
export function SwitchUser({ current, offered, onDecided }: SwitchUserProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} aria-labelledby="switch" onCancel={() => onDecided(false)}>
      <h2 id="switch">Switch to another user?</h2>
      <p>
        You are signed in as <code class="id">{formatText(current)}</code>. The link you opened signs you in as{' '}
        <code class="id">{formatText(offered)}</code>. If you did not request this link, stay signed in.
      </p>
      <p class="choices">
        <button type="button" class="primary" onClick={() => onDecided(false)}>
          Stay signed in as <code class="id">{formatText(current)}</code>
        </button>
        <button type="button" onClick={() => onDecided(true)}>
          Switch to <code class="id">{formatText(offered)}</code>
        </button>
      </p>
    </dialog>
  );
}
