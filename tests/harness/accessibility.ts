import axe from 'axe-core';
import type { Page } from 'playwright-core';

/**
 * Returns the violations that axe finds in the current page, or in the part of it that matches a selector: WCAG 2.2 A and AA,
 * and best practices.
 */
export async function findViolations(page: Page, scope = 'html'): Promise<string[]> {
  await page.evaluate(axe.source);
  const { violations } = (await page.evaluate(
    `axe.run('${scope}', {
      runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
      resultTypes: ['violations'],
    })`,
  )) as axe.AxeResults;
  return violations.map(({ id, impact, nodes }) => `${impact} ${id}: ${nodes.map(({ html }) => html).join(' | ')}`);
}
