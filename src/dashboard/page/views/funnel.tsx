import { useLayoutEffect, useRef } from 'preact/hooks';
import { MAX_STEPS } from '../address.ts';
import { useAnswer } from '../answer.ts';
import type { Answers } from '../api.ts';
import { BarTable } from '../bar-table.tsx';
import { TextFilter } from '../controls.tsx';
import { formatCount, formatDuration, formatPart, formatText } from '../format.ts';
import { usePlace } from '../place.ts';
import type { ShownRange } from '../shown-range.ts';
import { Answered, Nothing } from '../states.tsx';

/** How long a way through the funnel may take, as the reading route reads it. */
const WITHIN = [
  { name: '1h', label: '1 hour' },
  { name: '1d', label: '1 day' },
  { name: '7d', label: '7 days' },
  { name: '30d', label: '30 days' },
  { name: '365d', label: '1 year' },
];

interface FunnelProps {
  readonly type: string;
  /** Values of `data_index` that are offered as steps. */
  readonly offered: readonly string[];
  readonly range: ShownRange;
}

/** Who gets through steps in an order that is picked here. */
export function Funnel({ type, offered, range: { from, to } }: FunnelProps) {
  const { address, go } = usePlace();
  const { steps, within, user } = address;
  const asked = steps.length >= 2 ? { type, step: steps, from, to, within, user_id: user } : undefined;
  const answer = useAnswer('/api/analytics/funnel', asked, JSON.stringify([type, steps, user]));
  const rest = offered.filter((step) => !steps.includes(step));

  const list = useRef<HTMLOListElement>(null);
  // what is to be focused once the list is drawn anew: a step's place, and its button
  const next = useRef<{ place: number; button: string } | undefined>(undefined);
  // not useEffect: one that is still pending would run before the list is drawn, and focus what is about to go
  useLayoutEffect(() => {
    if (!next.current) return;
    const { place, button } = next.current;
    next.current = undefined;
    const buttons = list.current?.children[place]?.querySelectorAll('button:not(:disabled)') ?? [];
    const focused = [...buttons].find((one) => one.getAttribute('name') === button) ?? buttons[0];
    if (focused instanceof HTMLElement) focused.focus();
  });

  const move = (place: number, by: 1 | -1) => {
    const moved = [...steps];
    moved.splice(place + by, 0, ...moved.splice(place, 1));
    next.current = { place: place + by, button: by < 0 ? 'up' : 'down' };
    go({ steps: moved });
  };
  const remove = (place: number) => {
    next.current = { place: Math.min(place, steps.length - 2), button: 'remove' };
    go({ steps: steps.filter((_, other) => other !== place) });
  };
  return (
    <section class="panel" aria-labelledby="funnel">
      <h2 id="funnel">Funnel</h2>
      <p class="quiet">Pick steps in their order: who did the first, then the second, and so on.</p>
      <ol class="steps" ref={list}>
        {steps.map((step, i) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: a step may be there twice, and its place is what it is
          <li key={`${i} ${step}`}>
            <span class="name">{formatText(step)}</span>
            <button
              type="button"
              name="up"
              aria-label={`Move ${formatText(step)} up`}
              disabled={i === 0}
              onClick={() => move(i, -1)}
            >
              ↑
            </button>
            <button
              type="button"
              name="down"
              aria-label={`Move ${formatText(step)} down`}
              disabled={i === steps.length - 1}
              onClick={() => move(i, 1)}
            >
              ↓
            </button>
            <button type="button" name="remove" aria-label={`Remove ${formatText(step)}`} onClick={() => remove(i)}>
              ×
            </button>
          </li>
        ))}
      </ol>
      <div class="head">
        {steps.length < MAX_STEPS && (
          <>
            <label>
              Add a step{' '}
              <select
                value=""
                onChange={(event) => {
                  const place = Number(event.currentTarget.value);
                  event.currentTarget.value = '';
                  const step = rest[place];
                  if (step !== undefined) go({ steps: [...steps, step] });
                }}
              >
                <option value="">choose…</option>
                {rest.map((step, place) => (
                  <option key={step} value={String(place)}>
                    {formatText(step)}
                  </option>
                ))}
              </select>
            </label>
            <TextFilter
              label="or type one"
              value={undefined}
              placeholder="data_index"
              canBeEmpty
              onChosen={(step) => step !== undefined && go({ steps: [...steps, step] })}
            />
          </>
        )}
        <label>
          Within{' '}
          <select value={within} onChange={(event) => go({ within: event.currentTarget.value })}>
            {[...WITHIN, ...(WITHIN.some(({ name }) => name === within) ? [] : [{ name: within, label: within }])].map(
              ({ name, label }) => (
                <option key={name} value={name}>
                  {label}
                </option>
              ),
            )}
          </select>
        </label>
        {steps.length > 0 && (
          <button type="button" onClick={() => go({ steps: [] })}>
            Remove all
          </button>
        )}
      </div>
      {asked ? (
        <Answered answer={answer}>{(value) => <Steps funnel={value} />}</Answered>
      ) : (
        <Nothing>A funnel has two steps at least.</Nothing>
      )}
    </section>
  );
}

function Steps({ funnel }: { funnel: Answers['/api/analytics/funnel'] }) {
  return (
    <BarTable
      title="Users by step"
      label="Step"
      partOf="the first step"
      columns={['Users', 'Of the first', 'Of the one before', 'Median time since it']}
      rows={funnel.steps.map(({ step, users, conversion, conversion_from_previous, median_seconds }, i) => ({
        label: step,
        part: conversion ?? 0,
        cells: [
          { value: users, text: formatCount(users) },
          { text: formatPart(conversion) },
          { text: i === 0 ? '' : formatPart(conversion_from_previous) },
          { text: i === 0 ? '' : formatDuration(median_seconds) },
        ],
      }))}
    />
  );
}
