import { useState } from 'preact/hooks';
import { useCatalog } from '../catalog.ts';
import type { Choice } from '../controls/choices.ts';
import { Combobox } from '../controls/combobox.tsx';
import { formatText } from '../format.ts';
import { useNavigation } from '../navigation.ts';
import { useShownRange } from '../shown-range.ts';
import { useQuery } from '../use-query.ts';
import { parseStep, type Step, writeStep } from './step.ts';

/** Number of labels to choose from. Others can be typed. */
const MAX_LABELS = 200;

interface TypePickerProps {
  /** The accessible name. */
  readonly label: string;
  /** Undefined: none. */
  readonly type: string | undefined;
  readonly placeholder: string;
  /** The text of an additional choice for no step; undefined: none. */
  readonly anyText?: string;
  readonly onSelect: (step: Step | undefined) => void;
}

/** Picks an event type by typing. `type:label` picks both at once. */
export function TypePicker({ label, type, placeholder, anyText, onSelect }: TypePickerProps) {
  const { types } = useCatalog();
  const any: Choice[] = anyText === undefined ? [] : [{ value: undefined, text: anyText }];
  const select = (value: string | undefined) => {
    if (value === undefined) onSelect(undefined);
    else if (types.names.includes(value)) onSelect({ type: value, label: undefined });
    else onSelect(typedStep(value, types.names));
  };
  return (
    <Combobox
      label={label}
      text={type === undefined ? '' : formatText(type)}
      placeholder={placeholder}
      allowsOther
      choices={[...any, ...types.names.map((name) => ({ value: name, text: formatText(name) }))]}
      onSelect={select}
    />
  );
}

/** Returns the step that was typed: with a label if the text before the colon is a known type. */
function typedStep(text: string, types: readonly string[]): Step {
  const step = parseStep(text);
  return step.label !== undefined && types.includes(step.type) ? step : { type: text, label: undefined };
}

interface LabelPickerProps {
  /** The accessible name. */
  readonly label: string;
  readonly step: Step;
  readonly onSelect: (step: Step) => void;
}

/** Narrows a step to one label of its type, by typing or from the most frequent ones. */
export function LabelPicker({ label, step, onSelect }: LabelPickerProps) {
  const { address } = useNavigation();
  const { from, to } = useShownRange();
  const [isOpen, setOpen] = useState(false);
  const parameters = isOpen
    ? { type: step.type, from, to, group_by: 'data_index', top: MAX_LABELS, user_id: address.user }
    : undefined;
  const counts = useQuery('/api/analytics/counts', parameters, step.type, true);
  const labels = (counts.value?.groups ?? []).flatMap(({ data_index }) =>
    data_index === undefined ? [] : [{ value: data_index, text: formatText(data_index) }],
  );
  return (
    <Combobox
      label={label}
      text={step.label === undefined ? '' : formatText(step.label)}
      placeholder="Any label"
      allowsOther
      choices={[{ value: undefined, text: 'Any label' }, ...labels]}
      isLoading={counts.isLoading}
      onOpen={setOpen}
      onSelect={(value) => onSelect({ type: step.type, label: value })}
    />
  );
}

interface StepPickerProps {
  /** What the step is, such as `First step`. */
  readonly label: string;
  /** As in the query routes; undefined: any event. */
  readonly step: string | undefined;
  /** The text of the choice for any event; undefined: there is none. */
  readonly anyText?: string;
  readonly onSelect: (step: string | undefined) => void;
}

/** Picks a step: its type and, if wanted, its label. */
export function StepPicker({ label, step, anyText, onSelect }: StepPickerProps) {
  const current = step === undefined ? undefined : parseStep(step);
  return (
    <span class="step-picker">
      <TypePicker
        label={label}
        type={current?.type}
        placeholder={anyText ?? 'Event type'}
        {...(anyText !== undefined && { anyText })}
        onSelect={(picked) => onSelect(picked && writeStep(picked))}
      />
      {current && (
        <LabelPicker label={`${label}: label`} step={current} onSelect={(picked) => onSelect(writeStep(picked))} />
      )}
    </span>
  );
}
