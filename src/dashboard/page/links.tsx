import type { ComponentChildren } from 'preact';
import { type Address, linkTo, usePlace } from './address.ts';

interface LinkProps {
  readonly to: Address;
  readonly current?: boolean;
  readonly children: ComponentChildren;
}

/** A link within the page: a real one, so that it can be opened in a tab of its own or copied. */
export function Link({ to, current, children }: LinkProps) {
  const { go } = usePlace();
  const onClick = (event: MouseEvent) => {
    if (event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    go(to);
  };
  return (
    <a href={linkTo(to)} aria-current={current ? 'page' : undefined} onClick={onClick}>
      {children}
    </a>
  );
}
