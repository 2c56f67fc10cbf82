import { render } from 'preact';
import { App } from './app.tsx';
import { takeCodeFromAddress } from './session.ts';
import { followTheme } from './theme.ts';

const code = takeCodeFromAddress();
followTheme();
const root = document.getElementById('app');
if (root) {
  root.replaceChildren();
  render(<App code={code} />, root);
}
