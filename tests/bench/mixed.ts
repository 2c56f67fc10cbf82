import { parseArgs } from 'node:util';
import { SECRET, startTarget } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';
import { spread } from './figures.ts';
import { load, type Round } from './load.ts';

/*
 * bun run bench:mixed [--pairs 9] [--seconds 3]
 *
 * What the service takes in while a client asks it questions without a pause, against what it takes in
 * alone, alternately. The process may use every core, as it does in production; the load has one of them.
 */
const { values } = parseArgs({
  options: { pairs: { type: 'string', default: '9' }, seconds: { type: 'string', default: '3' } },
});
const seconds = Number(values.seconds);
const QUESTIONS = [
  '/api/metrics/series?name=page_load_time&interval=minute&from=FROM',
  '/api/metrics/series?name=page_load_time&group_by=data_string&from=FROM',
  '/api/metrics',
  '/api/records/metrics?limit=100',
];

const target = await startTarget({ JWT_SECRET: SECRET, RATE_LIMIT: '1000000000/s' });
const bearer = await token({ role: 'admin', exp: Math.floor(Date.now() / 1000) + 86_400 });
const service = { url: target.url, pid: target.process.pid };
const options = { connections: 64, seconds, token: bearer };
try {
  await load(service, options);
  const pairs: [alone: Round, asked: Round][] = [];
  let answered = 0;
  for (let i = 0; i < Number(values.pairs); i++) {
    const first = i % 2 === 0 ? await load(service, options) : undefined;
    const queries = askWithoutPause();
    const asked = await load(service, options);
    answered += await queries.stop();
    pairs.push([first ?? (await load(service, options)), asked]);
  }
  const ratio = (figure: 'rate' | 'p99') => spread(pairs.map(([alone, asked]) => asked[figure] / alone[figure]));
  console.log(`recording while queries are asked / alone, ${pairs.length} pairs of ${seconds} s`);
  console.log(`  requests a second  ${ratio('rate')}`);
  console.log(`  p99                ${ratio('p99')}`);
  console.log(`  queries answered a second ${(answered / (pairs.length * seconds)).toFixed(0)}`);
} finally {
  await target.stop();
}

/** Asks one question after the other, about the last ten minutes. */
function askWithoutPause(): { stop(): Promise<number> } {
  let going = true;
  let answered = 0;
  const asking = (async () => {
    for (let i = 0; going; i++) {
      const from = new Date(Date.now() - 600_000).toISOString();
      const address = (QUESTIONS[i % QUESTIONS.length] as string).replace('FROM', from);
      const response = await fetch(target.url + address, { headers: { authorization: `Bearer ${bearer}` } });
      if (!response.ok) throw new Error(await response.text());
      await response.arrayBuffer();
      answered++;
    }
  })();
  return {
    async stop() {
      going = false;
      await asking;
      return answered;
    },
  };
}
