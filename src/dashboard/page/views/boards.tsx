import { EmptyMessage } from '../states.tsx';

/** The boards of the account and those for everyone. */
export function Boards() {
  return <EmptyMessage>No boards yet.</EmptyMessage>;
}
