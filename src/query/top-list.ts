/**
 * Keeps the first items of an order, of very many that are added one by one. Sorts only now and then, so that
 * adding takes constant time on average, and memory is proportional to what is kept.
 */
export class TopList<Item> {
  readonly #size: number;
  readonly #compare: (a: Item, b: Item) => number;
  #items: Item[] = [];
  /** The last item that is kept, once there are as many as are wanted. */
  #last: Item | undefined;

  /**
   * @param size how many to keep
   * @param compare a total order, as `sort` takes it
   */
  constructor(size: number, compare: (a: Item, b: Item) => number) {
    this.#size = size;
    this.#compare = compare;
  }

  add(item: Item): void {
    if (this.#last !== undefined && this.#compare(this.#last, item) < 0) return;
    this.#items.push(item);
    if (this.#items.length >= 2 * this.#size + 64) this.#cut();
  }

  #cut(): void {
    this.#items.sort(this.#compare).splice(this.#size);
    if (this.#items.length === this.#size) this.#last = this.#items.at(-1);
  }

  /** The items that are kept, in order. */
  sorted(): Item[] {
    this.#cut();
    return this.#items;
  }
}
