/**
 * A list that keeps the first few of many added items, in a given order. Sorts only occasionally, so adding an item
 * takes amortized constant time, and memory is proportional to the size of the list.
 */
export class TopList<Item> {
  readonly #size: number;
  readonly #compare: (a: Item, b: Item) => number;
  #items: Item[] = [];
  /** The last item of the list, once the list is full. */
  #last: Item | undefined;

  /**
   * @param size maximum number of items
   * @param compare a total order, as for `Array.prototype.sort`
   */
  constructor(size: number, compare: (a: Item, b: Item) => number) {
    this.#size = size;
    this.#compare = compare;
  }

  add(item: Item): void {
    if (this.#last !== undefined && this.#compare(this.#last, item) < 0) return;
    this.#items.push(item);
    if (this.#items.length >= 2 * this.#size + 64) this.#truncate();
  }

  #truncate(): void {
    this.#items.sort(this.#compare).splice(this.#size);
    if (this.#items.length === this.#size) this.#last = this.#items.at(-1);
  }

  /** Returns the items of the list, sorted. */
  sorted(): Item[] {
    this.#truncate();
    return this.#items;
  }
}
