/** An arrow head that points back or forward. */
export function Chevron({ isForward }: { isForward?: boolean }) {
  return (
    <svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
      <path d={isForward ? 'M6 3.5 10.5 8 6 12.5' : 'M10 3.5 5.5 8 10 12.5'} />
    </svg>
  );
}

/** The arrow of a button that opens a panel. */
export function Caret() {
  return (
    <svg class="caret" viewBox="0 0 16 16" width="12" height="12" aria-hidden="true">
      <path d="M3.5 6 8 10.5 12.5 6" />
    </svg>
  );
}
