import type { ComponentChildren } from 'preact';
import { type Address, linkTo } from './address.ts';
import { useNavigation } from './navigation.ts';

interface LinkProps {
  readonly to: Address;
  readonly current?: boolean;
  readonly children: ComponentChildren;
}

/** A link within the dashboard. It is a real link, so it can be copied or opened in a new tab. */
export function Link({ to, current, children }: LinkProps) {
  const { go } = useNavigation();
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
