import type { BodyRequest } from './body.ts';
import type { RequestHead } from './header-fields.ts';
import type { PlainResponse } from './plain-response.ts';

/** A request to a recording route: the part of `Request` that its handler uses. */
export type RecordingRequest = RequestHead & BodyRequest;

/** Handles requests to a recording route. Never rejects; `create` turns the response into what is returned. */
export type RecordingHandler = <Response>(
  request: RecordingRequest,
  create: (response: PlainResponse) => Response,
) => Promise<Response>;
