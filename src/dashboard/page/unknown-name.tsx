import { inView } from './address.ts';
import { type Names, useCatalog } from './catalog.ts';
import { NamePicker } from './controls/pickers.tsx';
import { similarNames } from './edit-distance.ts';
import { formatText } from './format.ts';
import { Link } from './links.tsx';
import { useNavigation } from './navigation.ts';

/** Returns whether a name has never been recorded. False if the list of names is incomplete. */
export function isUnknownName(name: string | undefined, { names, isComplete }: Names): boolean {
  return name !== undefined && isComplete && !names.includes(name);
}

/** Shown in place of a metric or an event type that has never been recorded, with the names that may be meant. */
export function UnknownName({ kind, name }: { kind: 'metric' | 'event'; name: string }) {
  const { address } = useNavigation();
  const catalog = useCatalog();
  const choices = kind === 'metric' ? catalog.metrics : catalog.types;
  const similar = similarNames(name, choices.names);
  return (
    <section class="panel message" aria-labelledby="unknown">
      <h2 id="unknown">
        Nothing named <code>{formatText(name)}</code> has been recorded{address.user !== undefined && ' by this user'}.
      </h2>
      {similar.length > 0 && (
        <p>
          Did you mean{' '}
          {similar.map((other, i) => (
            <span key={other}>
              {i > 0 && (i === similar.length - 1 ? ' or ' : ', ')}
              <Link to={inView(address, kind, { name: other })}>{formatText(other)}</Link>
            </span>
          ))}
          ?
        </p>
      )}
      {choices.names.length > 0 ? (
        <NamePicker label={kind === 'metric' ? 'Metric' : 'Type'} name={name} choices={choices} />
      ) : (
        <p class="quiet">No {kind === 'metric' ? 'metrics' : 'events'} have been recorded yet.</p>
      )}
    </section>
  );
}
