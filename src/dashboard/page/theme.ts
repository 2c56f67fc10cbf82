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

/** Shows the page in the chosen theme. */
export function showTheme(): void {
  const theme = chosenTheme();
  if (theme === 'system') delete document.documentElement.dataset['theme'];
  else document.documentElement.dataset['theme'] = theme;
  dispatchEvent(new Event('themechange'));
}

const systemIsDark = matchMedia('(prefers-color-scheme: dark)');

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
    systemIsDark.addEventListener('change', look);
    return () => {
      removeEventListener('themechange', look);
      systemIsDark.removeEventListener('change', look);
    };
  }, []);
  return shown;
}
