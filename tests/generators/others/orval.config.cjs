const input = { target: './openapi.json' };
// with types per status, orval 7 names those of a response with several content types alike
const override = { fetch: { includeHttpResponseReturnType: false } };

module.exports = {
  fetch: { input, output: { target: './orval/fetch.ts', client: 'fetch', override } },
  zod: { input, output: { target: './orval/zod.ts', client: 'zod' } },
};
