import { render } from 'preact';
import { App } from './app.tsx';
import { takeLinkFromAddress } from './boards/link.ts';
import { SharedPage } from './boards/shared-page.tsx';
import { takeCodeFromAddress } from './session.ts';
import { initTheme } from './theme.ts';

initTheme();
const root = document.getElementById('app');
if (root) {
  root.replaceChildren();
  const { pathname } = location;
  if (pathname === '/share' || pathname === '/embed') {
    render(<SharedPage link={takeLinkFromAddress(pathname)} isEmbedded={pathname === '/embed'} />, root);
  } else render(<App code={takeCodeFromAddress()} />, root);
}
