import { render } from 'preact';
import { App } from './app.tsx';
import { takeTokenFromAddress } from './session.ts';
import { showTheme } from './theme.ts';

takeTokenFromAddress();
showTheme();
const root = document.getElementById('app');
if (root) {
  root.replaceChildren();
  render(<App />, root);
}
