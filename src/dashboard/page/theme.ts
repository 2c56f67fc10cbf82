import { useEffect, useState } from 'preact/hooks';

const KEY = 'rawlog.theme';

export const THEMES = ['system', 'light', 'dark'] as const;
export type Theme = (typeof THEMES)[number];

/** What was chosen in this browser. */
export function chosenTheme(): Theme {
  return THEMES.find((theme) => theme === localStorage.getItem(KEY)) ?? 'system';
}

/** Shows the page in a theme, and remembers it in this browser. */
export function chooseTheme(theme: Theme): void {
  localStorage.setItem(KEY, theme);
  showTheme();
}

const systemIsDark = matchMedia('(prefers-color-scheme: dark)');

/** Shows the page in the chosen theme. */
function showTheme(): void {
  document.documentElement.dataset['theme'] = shownTheme();
  dispatchEvent(new Event('themechange'));
}

/** Shows the page in the chosen theme, and in that of the system as it changes. */
export function followTheme(): void {
  showTheme();
  systemIsDark.addEventListener('change', showTheme);
}

function shownTheme(): 'light' | 'dark' {
  const theme = chosenTheme();
  return theme === 'dark' || (theme === 'system' && systemIsDark.matches) ? 'dark' : 'light';
}

/** The theme that is shown now, also when it changes. */
export function useTheme(): 'light' | 'dark' {
  const [shown, setShown] = useState(shownTheme);
  useEffect(() => {
    const look = () => setShown(shownTheme());
    addEventListener('themechange', look);
    return () => removeEventListener('themechange', look);
  }, []);
  return shown;
}
