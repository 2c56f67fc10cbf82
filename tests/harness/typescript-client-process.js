// Records numbers with the TypeScript client until the process is killed. Runs in Node and Bun.
// Arguments: the server's URL, a token, the storage path, the first number, and how many numbers per turn.
import { writeSync } from 'node:fs';
import { createClient } from '../../client/dist/index.js';

const [url, token, path, first, perTurn] = process.argv.slice(2);
const client = createClient({
  url,
  token,
  storage: { path },
  onRejected: (items, rejection) => console.log(JSON.stringify({ items, rejection })),
});
let next = Number(first);
const record = () => {
  for (let i = 0; i < Number(perTurn); i++) client.metric('n', next++);
  // what is printed has been recorded before
  writeSync(1, `${next}\n`);
};
if (Number(perTurn) > 0) {
  record();
  setInterval(record, 5);
} else
  client
    .flush()
    .then(() => client.close())
    .then(() => console.log('flushed'));
