import { useLayoutEffect, useRef } from 'preact/hooks';
import { MAX_STEPS } from '../address.ts';
import type { Responses } from '../api.ts';
import { BarTable } from '../bar-table.tsx';
import { useCatalog } from '../catalog.ts';
import { TextFilter } from '../controls.tsx';
import { formatCount, formatDuration, formatPart, formatText } from '../format.ts';
import { useNavigation } from '../navigation.ts';
import { useShownRange } from '../shown-range.ts';
import { EmptyMessage, QueryResult } from '../states.tsx';
import { useQuery } from '../use-query.ts';

/** Time limits for completing a funnel; each name is a value of the query parameter `within`. */
const WITHIN = [
  { name: '1h', label: '1 hour' },
  { name: '1d', label: '1 day' },
  { name: '7d', label: '7 days' },
  { name: '30d', label: '30 days' },
  { name: '365d', label: '1 year' },
];

/** How many users complete a sequence of steps, and the controls that build it. */
export function FunnelView() {
  const { address, go } = useNavigation();
  const { from, to } = useShownRange();
  const { types } = useCatalog();
  const offered = types.names;
  const { steps, within, user } = address;
  const parameters = steps.length >= 2 ? { step: steps, from, to, within, user_id: user } : undefined;
  const funnel = useQuery('/api/analytics/funnel', parameters, JSON.stringify([steps, user]));
  const remaining = offered.filter((step) => !steps.includes(step));

  const list = useRef<HTMLOListElement>(null);
  // the button to focus after the list is rendered again: the index of its step, and its name
  const nextFocus = useRef<{ index: number; button: string } | undefined>(undefined);
  // not useEffect: a pending effect could run before the list is rendered, and focus an element about to be removed
  useLayoutEffect(() => {
    if (!nextFocus.current) return;
    const { index, button } = nextFocus.current;
    nextFocus.current = undefined;
    const buttons = list.current?.children[index]?.querySelectorAll('button:not(:disabled)') ?? [];
    const focused = [...buttons].find((element) => element.getAttribute('name') === button) ?? buttons[0];
    if (focused instanceof HTMLElement) focused.focus();
  });

  const move = (index: number, by: 1 | -1) => {
    const moved = [...steps];
    moved.splice(index + by, 0, ...moved.splice(index, 1));
    nextFocus.current = { index: index + by, button: by < 0 ? 'up' : 'down' };
    go({ steps: moved });
  };
  const remove = (index: number) => {
    nextFocus.current = { index: Math.min(index, steps.length - 2), button: 'remove' };
    go({ steps: steps.filter((_, i) => i !== index) });
  };
  return (
    <section class="panel" aria-labelledby="funnel">
      <h2 id="funnel">Funnel</h2>
      <p class="quiet">How many users complete a sequence of steps, in this order.</p>
      <ol class="steps" ref={list}>
        {steps.map((step, i) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: steps can repeat, so the index is part of the key
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
                  const index = Number(event.currentTarget.value);
                  event.currentTarget.value = '';
                  const step = remaining[index];
                  if (step !== undefined) go({ steps: [...steps, step] });
                }}
              >
                <option value="">Choose…</option>
                {remaining.map((step, index) => (
                  <option key={step} value={String(index)}>
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
              onSelect={(step) => step !== undefined && go({ steps: [...steps, step] })}
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
      {parameters ? (
        <QueryResult query={funnel}>{(value) => <Steps funnel={value} />}</QueryResult>
      ) : (
        <EmptyMessage>Add at least two steps.</EmptyMessage>
      )}
    </section>
  );
}

function Steps({ funnel }: { funnel: Responses['/api/analytics/funnel'] }) {
  return (
    <BarTable
      title="Users by step"
      label="Step"
      relativeTo="the first step"
      columns={['Users', '% of first step', '% of previous step', 'Median time from previous step']}
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
