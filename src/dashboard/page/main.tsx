import { render } from 'preact';
import { App } from './app.tsx';
import { takeCodeFromAddress } from './session.ts';
import { initTheme } from './theme.ts';

const code = takeCodeFromAddress();
initTheme();
const root = document.getElementById('app');
if (root) {
  root.replaceChildren();
  render(<App code={code} />, root);
}
