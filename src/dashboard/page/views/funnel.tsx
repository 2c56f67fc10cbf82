import { filterParameters, inView } from '../address.ts';
import type { Responses } from '../api.ts';
import { BarTable } from '../bar-table.tsx';
import { formatCount, formatDuration, formatPart } from '../format.ts';
import { Link } from '../links.tsx';
import { useNavigation } from '../navigation.ts';
import { useShownRange } from '../shown-range.ts';
import { QueryErrorNotice } from '../states.tsx';
import { formatPoints, indexOfBiggestLoss, type StepFigures, withDropOff } from '../steps/drop-off.ts';
import { exampleFunnel, parseStep, titleOfStep, writeStep } from '../steps/step.ts';
import { useQuery } from '../use-query.ts';
import { FunnelSteps } from './funnel-steps.tsx';

/** Time limits for completing a funnel; each name is a value of the query parameter `within`. */
const WITHIN = [
  { name: '1h', label: '1 hour' },
  { name: '1d', label: '1 day' },
  { name: '7d', label: '7 days' },
  { name: '30d', label: '30 days' },
  { name: '365d', label: '1 year' },
];

/** Number of steps of the example. */
const EXAMPLE_STEPS = 3;
/** Number of types that its steps are chosen from. */
const EXAMPLE_TYPES = 20;

/** How many users complete a sequence of steps, and where they are lost. The steps are edited in place. */
export function FunnelView() {
  const { address, go } = useNavigation();
  const { from, to, previous } = useShownRange();
  const { steps, within, user, filters, compare } = address;
  const isComplete = steps.length >= 2;
  const shared = { step: steps, within, user_id: user, ...filterParameters(filters, 'data_index') };
  const subject = JSON.stringify([steps, user]);
  const funnel = useQuery('/api/analytics/funnel', isComplete ? { ...shared, from, to } : undefined, subject);
  const earlier = useQuery(
    '/api/analytics/funnel',
    isComplete && compare !== undefined ? { ...shared, ...previous } : undefined,
    subject,
  );
  const before = compare === undefined ? undefined : earlier.value?.steps;
  const figures = funnel.value && withDropOff(funnel.value.steps);
  return (
    <section class="panel funnel" aria-labelledby="funnel" aria-busy={isComplete && funnel.isLoading}>
      <div class="head">
        <h2 id="funnel">Funnel</h2>
        <label>
          Complete within{' '}
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
      <p class="funnel-summary">
        {isComplete ? figures && <Summary figures={figures} before={before} /> : <Instructions />}
      </p>
      <QueryErrorNotice query={funnel} />
      <QueryErrorNotice query={earlier} />
      <FunnelSteps figures={isComplete ? figures : undefined} before={before} />
      {isComplete && funnel.value && (
        <details>
          <summary>Table of figures</summary>
          <StepTable funnel={funnel.value} />
        </details>
      )}
    </section>
  );
}

/** What a funnel is, and an example made of the recorded types. */
function Instructions() {
  const { address } = useNavigation();
  const { from, to } = useShownRange();
  const parameters =
    address.steps.length === 0
      ? { from, to, top: EXAMPLE_TYPES, unique_users: 'true', user_id: address.user }
      : undefined;
  const popular = useQuery('/api/activity', parameters, address.user, true);
  const types = (popular.value?.analytics.types ?? []).map(({ type }) => type);
  const example = exampleFunnel(types, EXAMPLE_STEPS);
  if (address.steps.length > 0) return <>Add a second step to see how many users get there.</>;
  return (
    <>
      A funnel shows how many users do one thing after another, and where they stop. Pick the first step
      {example.length < 2 ? (
        '.'
      ) : (
        <>
          , or try{' '}
          <Link to={inView(address, 'funnel', { steps: example.map(writeStep), within: address.within })}>
            {example.map(titleOfStep).join(' → ')}
          </Link>
          .
        </>
      )}
    </>
  );
}

interface SummaryProps {
  readonly figures: readonly StepFigures[];
  readonly before: Responses['/api/analytics/funnel']['steps'] | undefined;
}

/** The result in two sentences: the conversion, and where most users are lost. */
function Summary({ figures, before }: SummaryProps) {
  const [first, last] = [figures[0], figures.at(-1)];
  if (!first || !last) return null;
  if (first.users === 0) return <>No users did the first step in this range. Try a longer range.</>;
  const biggest = indexOfBiggestLoss(figures);
  const [previous, loss] = [figures[biggest - 1], figures[biggest]];
  const change = formatPoints(last.conversion, before?.at(-1)?.conversion);
  return (
    <>
      <b>{formatPart(last.conversion)}</b> of {formatCount(first.users)} {first.users === 1 ? 'user' : 'users'} complete
      all {figures.length} steps
      {change && <> ({change} against the previous period)</>}.
      {loss && previous && (
        <>
          {' '}
          Most are lost between <b>{titleOfStep(parseStep(previous.step))}</b> and{' '}
          <b>{titleOfStep(parseStep(loss.step))}</b>: {formatCount(loss.lost)} {loss.lost === 1 ? 'user' : 'users'},{' '}
          {formatPart(loss.lostPart)}.
        </>
      )}
    </>
  );
}

function StepTable({ funnel }: { funnel: Responses['/api/analytics/funnel'] }) {
  return (
    <BarTable
      title="Users by step"
      label="Step"
      relativeTo="the first step"
      columns={['Users', '% of first step', '% of previous step', 'Median time from previous step'].map((title) => ({
        title,
      }))}
      rows={funnel.steps.map(({ step, users, conversion, conversion_from_previous, median_seconds }, i) => ({
        label: titleOfStep(parseStep(step)),
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
