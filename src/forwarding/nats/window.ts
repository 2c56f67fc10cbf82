/** Limits the messages that wait for their acknowledgment at the same time. Only one caller may wait for it. */
export class Window {
  readonly #limits: { readonly messages: number; readonly bytes: number };
  #messages = 0;
  #bytes = 0;
  #changed = Promise.withResolvers<void>();

  constructor(limits: { readonly messages: number; readonly bytes: number }) {
    this.#limits = limits;
  }

  /** Returns whether a message of this size may be sent. One is always possible. */
  hasRoom(bytes: number): boolean {
    if (this.#messages === 0) return true;
    return this.#messages < this.#limits.messages && this.#bytes + bytes <= this.#limits.bytes;
  }

  /** Waits until {@link hasRoom}. */
  async room(bytes: number): Promise<void> {
    while (!this.hasRoom(bytes)) await this.#change();
  }

  /** Waits until no message waits. */
  async empty(): Promise<void> {
    while (this.#messages > 0) await this.#change();
  }

  add(bytes: number): void {
    this.#messages++;
    this.#bytes += bytes;
  }

  remove(bytes: number): void {
    this.#messages--;
    this.#bytes -= bytes;
    this.#changed.resolve();
  }

  #change(): Promise<void> {
    this.#changed = Promise.withResolvers();
    return this.#changed.promise;
  }
}
