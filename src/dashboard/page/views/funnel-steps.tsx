import { useLayoutEffect, useRef } from 'preact/hooks';
import { MAX_STEPS } from '../address.ts';
import type { Responses } from '../api.ts';
import { formatCount, formatDuration, formatPart } from '../format.ts';
import { useNavigation } from '../navigation.ts';
import { formatPoints, indexOfBiggestLoss, type StepFigures } from '../steps/drop-off.ts';
import { parseStep, titleOfStep, writeStep } from '../steps/step.ts';
import { LabelPicker, TypePicker } from '../steps/step-picker.tsx';
import { useDragReorder } from '../use-drag-reorder.ts';

interface FunnelStepsProps {
  /** Undefined: not loaded yet, or fewer than two steps. */
  readonly figures: readonly StepFigures[] | undefined;
  /** The steps in the previous period; undefined: not compared. */
  readonly before: Responses['/api/analytics/funnel']['steps'] | undefined;
}

/** The steps as columns, or as rows on a phone: each with its name, which is edited in place, its bar and its figures. */
export function FunnelSteps({ figures, before }: FunnelStepsProps) {
  const { address, go } = useNavigation();
  const { steps } = address;
  const biggest = figures ? indexOfBiggestLoss(figures) : -1;
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

  const move = (from: number, to: number) => {
    if (to < 0 || to >= steps.length || from === to) return;
    const moved = [...steps];
    moved.splice(to, 0, ...moved.splice(from, 1));
    nextFocus.current = { index: to, button: to < from ? 'earlier' : 'later' };
    go({ steps: moved });
  };
  const replace = (index: number, step: string) => go({ steps: steps.with(index, step) });
  const remove = (index: number) => {
    nextFocus.current = { index: Math.min(index, steps.length - 2), button: 'remove' };
    go({ steps: steps.filter((_, i) => i !== index) });
  };
  const drag = useDragReorder(move);
  return (
    <ol class="funnel-steps" ref={list}>
      {steps.map((text, i) => {
        const step = parseStep(text);
        const title = titleOfStep(step);
        return (
          <li
            // biome-ignore lint/suspicious/noArrayIndexKey: steps can repeat, and keep their place while they are edited
            key={i}
            class={`funnel-step ${i === biggest ? 'biggest' : ''} ${drag.classesOf(i)}`}
            {...drag.itemOf(i)}
          >
            <div class="funnel-name">
              <span
                class="funnel-grip"
                draggable
                title="Drag to reorder"
                aria-hidden="true"
                {...drag.handleOf(i, title)}
              >
                {i + 1}
              </span>
              <span class="funnel-buttons">
                <button
                  type="button"
                  name="earlier"
                  aria-label={`Move ${title} earlier`}
                  title="Move earlier"
                  disabled={i === 0}
                  onClick={() => move(i, i - 1)}
                >
                  ←
                </button>
                <button
                  type="button"
                  name="later"
                  aria-label={`Move ${title} later`}
                  title="Move later"
                  disabled={i === steps.length - 1}
                  onClick={() => move(i, i + 1)}
                >
                  →
                </button>
                <button
                  type="button"
                  name="remove"
                  aria-label={`Remove ${title}`}
                  title="Remove"
                  onClick={() => remove(i)}
                >
                  ×
                </button>
              </span>
              <TypePicker
                label={`Event type of step ${i + 1}`}
                type={step.type}
                placeholder="Event type"
                onSelect={(picked) => picked && replace(i, writeStep(picked))}
              />
              <LabelPicker
                label={`Label of step ${i + 1}`}
                step={step}
                onSelect={(picked) => replace(i, writeStep(picked))}
              />
            </div>
            <StepResult index={i} figures={figures} before={before} isBiggest={i === biggest} />
          </li>
        );
      })}
      {steps.length < MAX_STEPS && (
        <li class="funnel-step funnel-add">
          <div class="funnel-name">
            <TypePicker
              label={steps.length === 0 ? 'First step' : 'Add a step'}
              type={undefined}
              placeholder={steps.length === 0 ? 'First step…' : '+ Add a step…'}
              onSelect={(picked) => picked && go({ steps: [...steps, writeStep(picked)] })}
            />
          </div>
        </li>
      )}
    </ol>
  );
}

interface StepResultProps extends FunnelStepsProps {
  readonly index: number;
  /** Whether most users are lost before this step. */
  readonly isBiggest: boolean;
}

/** The bar of a step and its figures. The hatched part of the bar is the users lost since the previous step. */
function StepResult({ index, figures, before, isBiggest }: StepResultProps) {
  const step = figures?.[index];
  const reached = step?.conversion ?? 0;
  const reachedBefore = index === 0 ? 1 : (figures?.[index - 1]?.conversion ?? 0);
  const change = formatPoints(step?.conversion_from_previous, before?.[index]?.conversion_from_previous);
  const isBetter = change?.startsWith('+');
  return (
    <>
      <div
        class="funnel-bar"
        aria-hidden="true"
        style={{ '--reached': `${reached * 100}%`, '--before': `${reachedBefore * 100}%` }}
      >
        <span class="funnel-lost" />
        <span class="funnel-reached" />
      </div>
      {step && (
        <div class="funnel-figures">
          <p class="funnel-users">
            <data value={String(step.users)}>{formatCount(step.users)}</data>{' '}
            <small>{step.users === 1 ? 'user' : 'users'}</small>
          </p>
          {index === 0 ? (
            <p class="quiet">begin the funnel</p>
          ) : (
            <>
              <p class={step.lost > 0 ? 'funnel-loss' : 'quiet'}>
                {step.lost > 0 ? `−${formatCount(step.lost)}, ${formatPart(step.lostPart)}` : 'nobody is lost'}
                {isBiggest && <span class="funnel-badge">biggest drop</span>}
              </p>
              <p>
                {formatPart(step.conversion_from_previous)} of the previous step
                {change && (
                  <span class={change.startsWith('±') ? 'quiet' : isBetter ? 'good' : 'bad'}>
                    {' '}
                    {change.startsWith('±') ? '' : isBetter ? '▲ ' : '▼ '}
                    {change}
                  </span>
                )}
              </p>
              <p class="quiet">{formatPart(step.conversion)} of the first</p>
              <p class="quiet">
                {step.median_seconds === null ? 'no time known' : `median ${formatDuration(step.median_seconds)}`}
              </p>
            </>
          )}
        </div>
      )}
    </>
  );
}
