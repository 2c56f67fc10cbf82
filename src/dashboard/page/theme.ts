import { useEffect, useState } from 'preact/hooks';

const KEY = 'rawlog.theme';

export const THEMES = ['system', 'light', 'dark'] as const;
export type Theme = (typeof THEMES)[number];

/** Returns the theme stored in this browser. */
export function chosenTheme(): Theme {
  return THEMES.find((theme) => theme === localStorage.getItem(KEY)) ?? 'system';
}

/** Applies a theme and stores it in this browser. */
export function chooseTheme(theme: Theme): void {
  localStorage.setItem(KEY, theme);
  applyTheme();
}

const systemIsDark = matchMedia('(prefers-color-scheme: dark)');

/** Applies the chosen theme. */
function applyTheme(): void {
  document.documentElement.dataset['theme'] = shownTheme();
  dispatchEvent(new Event('themechange'));
}

/** Applies the chosen theme, and applies it again whenever the system theme changes. */
export function initTheme(): void {
  applyTheme();
  systemIsDark.addEventListener('change', applyTheme);
}

function shownTheme(): 'light' | 'dark' {
  const theme = chosenTheme();
  return theme === 'dark' || (theme === 'system' && systemIsDark.matches) ? 'dark' : 'light';
}

/** Returns the current theme, and renders again when it changes. */
export function useTheme(): 'light' | 'dark' {
  const [shown, setShown] = useState(shownTheme);
  useEffect(() => {
    const update = () => setShown(shownTheme());
    addEventListener('themechange', update);
    return () => removeEventListener('themechange', update);
  }, []);
  return shown;
}
