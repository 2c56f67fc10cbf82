import { useContext, useEffect } from 'preact/hooks';
import { DEFAULTS } from '../address.ts';
import { useZone } from '../calendar.ts';
import { useCatalog } from '../catalog.ts';
import { bucketEnd, incompleteBuckets } from '../chart/incomplete.ts';
import { formatCount } from '../format.ts';
import { useNavigation } from '../navigation.ts';
import { EmptyMessage, QueryErrorNotice, QueryResult } from '../states.tsx';
import { DAY } from '../time.ts';
import { QuerySessionContext } from '../use-query.ts';
import { type Activity, biggestChanges, rankEvents, vanishedEvents } from './overview/figures.ts';
import { ActiveUsers, HeadlineChart, Headlines, headlinesOf, selectedOf, useChartTitle } from './overview/headline.tsx';
import { Changes, Ranking, Section } from './overview/lists.tsx';
import { Live } from './overview/live.tsx';
import { LIVE_MINUTES, useActivity, useMetrics, useOverviewRange } from './overview/use-figures.ts';

/** Number of event types listed. */
const EVENTS = 8;
/** Number of changes listed. */
const CHANGES = 4;

/**
 * What happens in the product: users, events and metrics against the period before, and what is going on now.
 *
 * @param canSeeAllUsers whether the rows of all users are shown, unless the address selects one
 */
export function Overview({ canSeeAllUsers }: { canSeeAllUsers: boolean }) {
  const { address } = useNavigation();
  useRangeOfYoungLog();
  const isOneUser = !canSeeAllUsers || address.user !== undefined;
  const basis = isOneUser ? 'events' : 'users';
  const activity = useActivity(isOneUser);
  const { current, hasEarlier } = activity;
  const earlier = hasEarlier ? activity.earlier.value : undefined;
  const metrics = useMetrics(
    current.value?.metrics.names.map(({ name }) => name),
    hasEarlier,
  );
  const headlines = current.value ? headlinesOf(current.value, earlier, metrics, isOneUser) : [];
  const selected = selectedOf(headlines, address);
  const title = useChartTitle(selected);
  const rankedMetrics = metrics.map(({ ranked }) => ranked);
  const failed = metrics.find(({ query }) => query.error);
  const isBusy = metrics.some(({ query }) => query.isLoading) || (hasEarlier && activity.earlier.isLoading);
  const isLastIncomplete = useIsLastIncomplete(current.value);
  const active = [
    ['Now', activity.live.value?.unique_users],
    ['Today', activity.today.value?.unique_users],
    ['7 days', activity.week.value?.unique_users],
    ['30 days', activity.month.value?.unique_users],
  ] as const;

  return (
    <div class="overview">
      <section class="panel" aria-labelledby="headline">
        <QueryResult query={current}>
          {(value) => (
            <>
              <Headlines headlines={headlines} selected={selected} hasEarlier={hasEarlier} />
              <div class="head">
                <h2 id="headline">{title}</h2>
                {!isOneUser && <ActiveUsers periods={active} />}
              </div>
              {selected && (
                <HeadlineChart
                  headline={selected}
                  current={value}
                  earlier={earlier}
                  beganWithin={activity.beganWithin}
                  beganAfter={activity.beganAfter}
                />
              )}
            </>
          )}
        </QueryResult>
        {hasEarlier && <QueryErrorNotice query={activity.earlier} />}
        {!isOneUser && address.range !== '30d' && <QueryErrorNotice query={activity.month} />}
      </section>
      {hasEarlier && current.value && earlier && (
        <Section id="changes" title="Biggest changes">
          <Changes
            entries={biggestChanges(
              [
                ...rankEvents(current.value, earlier, basis),
                ...vanishedEvents(current.value, earlier, basis),
                ...rankedMetrics,
              ],
              CHANGES,
            )}
            basis={basis}
          />
        </Section>
      )}
      <div class="columns" aria-busy={isBusy}>
        <Section id="top-types" title="Top events">
          <QueryResult query={current}>
            {(value) => {
              const { types, other } = value.analytics;
              if (types.length === 0) return <EmptyMessage>No events in this range. Try a longer one.</EmptyMessage>;
              const left = types.length + other.types - EVENTS;
              return (
                <>
                  <Ranking
                    label="Event"
                    figure={isOneUser ? 'Events' : 'Users'}
                    entries={rankEvents(value, earlier, basis).slice(0, EVENTS)}
                    hasEarlier={hasEarlier}
                    isLastIncomplete={isLastIncomplete}
                    hasShares
                  />
                  {left > 0 && <p class="quiet">And {formatCount(left)} more.</p>}
                </>
              );
            }}
          </QueryResult>
        </Section>
        <Section id="top-metrics" title="Top metrics">
          <QueryResult query={current}>
            {({ metrics: { names, other } }) => {
              if (names.length === 0) return <EmptyMessage>No metrics in this range. Try a longer one.</EmptyMessage>;
              const left = names.length + other.names - rankedMetrics.length;
              return (
                <>
                  {failed && <QueryErrorNotice query={failed.query} />}
                  <Ranking
                    label="Metric"
                    figure="Value"
                    entries={rankedMetrics}
                    hasEarlier={hasEarlier}
                    isLastIncomplete={isLastIncomplete}
                  />
                  {left > 0 && <p class="quiet">And {formatCount(left)} more.</p>}
                </>
              );
            }}
          </QueryResult>
        </Section>
      </div>
      <Section id="live" title="Right now">
        <Live activity={activity.live} minutes={LIVE_MINUTES} isOneUser={isOneUser} />
      </Section>
    </div>
  );
}

/** Returns whether the last bucket is cut by the end of the range, or still in progress. */
function useIsLastIncomplete(activity: Activity | undefined): boolean {
  const { interval } = useOverviewRange();
  const { now } = useContext(QuerySessionContext);
  const zone = useZone();
  if (!activity) return false;
  const { starts, from, to } = activity;
  const end = bucketEnd(zone, Date.parse(starts.at(-1) ?? ''), interval);
  return incompleteBuckets({ starts, range: { from, to } }, end, now.getTime()).last !== undefined;
}

let hasChosenRange = false;

/** Shows the last hour of a log that is less than a day old, once, unless the address has a range. */
function useRangeOfYoungLog(): void {
  const { address, go } = useNavigation();
  const { extent } = useCatalog();
  const { now } = useContext(QuerySessionContext);
  const isYoung = extent.from !== undefined && now.getTime() - extent.from.getTime() < DAY;
  useEffect(() => {
    if (hasChosenRange || extent.from === undefined) return;
    hasChosenRange = true;
    if (isYoung && address.range === DEFAULTS.range) go({ range: '1h' }, { replace: true });
  });
}
