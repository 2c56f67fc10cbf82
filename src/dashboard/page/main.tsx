import { render } from 'preact';
import { App } from './app.tsx';
import { takeTokenFromAddress } from './session.ts';
import { followTheme } from './theme.ts';

takeTokenFromAddress();
followTheme();
const root = document.getElementById('app');
if (root) {
  root.replaceChildren();
  render(<App />, root);
}
