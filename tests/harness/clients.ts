/** Clients that send requests until they are stopped. */
export interface Clients {
  /** Stops the clients after their current requests. Rejects if a request rejected. */
  stop(): Promise<void>;
}

/**
 * Starts clients, each of which sends its next request when the previous one has ended.
 *
 * @param request sends a request, given the number of the client
 */
export function startClients(count: number, request: (client: number) => Promise<void>): Clients {
  let isRunning = true;
  const running = Promise.all(
    Array.from({ length: count }, async (_, client) => {
      while (isRunning) await request(client);
    }),
  );
  running.catch(() => {}); // stop() rejects
  return {
    async stop() {
      isRunning = false;
      await running;
    },
  };
}
