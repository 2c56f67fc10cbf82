import type { ComponentChildren } from 'preact';
import { inView } from '../../address.ts';
import { ChangeText, Sparkline, Value } from '../../figures.tsx';
import { barWidth, formatCount, formatText } from '../../format.ts';
import { Link } from '../../links.tsx';
import { useNavigation } from '../../navigation.ts';
import { formatFigure } from '../../unit-format.ts';
import type { Basis, Ranked } from './figures.ts';

interface RankingProps {
  /** Heading of the name column. */
  readonly label: string;
  /** Heading of the figure column. */
  readonly figure: string;
  readonly entries: readonly Ranked[];
  /** Whether figures are compared with those of the period before. */
  readonly hasEarlier: boolean;
  /** Whether the last bucket is still in progress; its figures say nothing about the trend yet. */
  readonly isLastIncomplete: boolean;
  /** Draws each figure's share of the largest one behind the name; for figures of one unit. */
  readonly hasShares?: boolean;
}

/** Event types or metrics with their figures, each over time and with its change. Each links to its view. */
export function Ranking({ label, figure, entries, hasEarlier, isLastIncomplete, hasShares = false }: RankingProps) {
  const largest = Math.max(0, ...entries.map(({ now }) => now ?? 0));
  return (
    <table class="ranking">
      <thead>
        <tr>
          <th scope="col">{label}</th>
          <th scope="col" class="trend">
            <span class="visually-hidden">Over time</span>
          </th>
          <th scope="col" class="number">
            {figure}
          </th>
          {hasEarlier && (
            <th scope="col" class="number">
              Change
            </th>
          )}
        </tr>
      </thead>
      <tbody>
        {entries.map((entry) => (
          <tr key={entry.name}>
            <th scope="row">
              {hasShares && (
                <span
                  class="share"
                  aria-hidden="true"
                  style={{ width: barWidth(largest > 0 ? (entry.now ?? 0) / largest : 0) }}
                />
              )}
              <NameLink entry={entry} />
              {entry.kind === 'metric' && <small class="quiet">{entry.statistic}</small>}
            </th>
            <td class="trend">
              <Sparkline
                counts={isLastIncomplete && entry.values.length > 2 ? entry.values.slice(0, -1) : entry.values}
              />
            </td>
            <td class="number">
              {entry.now === undefined ? (
                '…'
              ) : (
                <Value value={entry.now} unit={entry.unit} {...(entry.kind === 'event' && { format: formatCount })} />
              )}
            </td>
            {hasEarlier && (
              <td class="number">
                <ChangeText now={entry.now} before={entry.before} better={entry.unit.better} />
              </td>
            )}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** The name of an event type or metric, as a link to its view. */
function NameLink({ entry: { kind, name } }: { entry: Ranked }) {
  const { address } = useNavigation();
  return (
    <Link to={inView(address, kind, { name })}>
      <span class="name">{formatText(name)}</span>
    </Link>
  );
}

/** The figures that changed most. */
export function Changes({ entries, basis }: { entries: readonly Ranked[]; basis: Basis }) {
  if (entries.length === 0) return <p class="quiet">No figure changed by more than chance.</p>;
  return (
    <ul class="changes">
      {entries.map((entry) => {
        const { kind, name, now = null, before = null, unit, statistic } = entry;
        return (
          <li key={`${kind} ${name}`}>
            <NameLink entry={entry} />
            <b>
              <ChangeText now={now} before={before} better={unit.better} />
            </b>
            <span class="quiet">
              {kind === 'metric' && `${statistic} `}
              <Value value={now} unit={unit} />
              {kind === 'event' && ` ${basis}`}, before {formatFigure(before, unit)}
            </span>
          </li>
        );
      })}
    </ul>
  );
}

/** A titled part of the overview. */
export function Section({ id, title, children }: { id: string; title: string; children: ComponentChildren }) {
  return (
    <section class="panel" aria-labelledby={id}>
      <h2 id={id}>{title}</h2>
      {children}
    </section>
  );
}
