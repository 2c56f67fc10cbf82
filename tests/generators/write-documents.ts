import { startTarget } from '../harness/target.ts';
import { DOCUMENT, fetchDocument, format, PLAIN_DOCUMENT, toPlainDocument } from './documents.ts';

/*
 * Writes the OpenAPI documents in docs/ after a change of the API.
 */

const target = await startTarget();
try {
  const document = await fetchDocument(target);
  await Bun.write(DOCUMENT, format(document));
  await Bun.write(PLAIN_DOCUMENT, format(toPlainDocument(document)));
} finally {
  await target.stop();
}
