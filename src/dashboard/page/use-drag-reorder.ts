import { useState } from 'preact/hooks';

/** Reordering of a list by dragging. */
export interface DragReorder {
  /** Returns the classes of an item: the one that is dragged, and the one it would be dropped on. */
  readonly classesOf: (index: number) => string;
  /** Returns the handlers of an item. */
  readonly itemOf: (index: number) => {
    readonly onDragOver: (event: DragEvent) => void;
    readonly onDrop: (event: DragEvent) => void;
  };
  /**
   * Returns the handlers of an item's handle, which is inside a list item.
   *
   * @param text what other programs get when the item is dropped there
   */
  readonly handleOf: (
    index: number,
    text: string,
  ) => { readonly onDragStart: (event: DragEvent) => void; readonly onDragEnd: () => void };
}

/**
 * Lets the items of a list be reordered by dragging. Keyboards and touch screens need buttons besides.
 *
 * @param move called with the index of the dragged item, and of the one it was dropped on
 */
export function useDragReorder(move: (from: number, to: number) => void): DragReorder {
  const [dragged, setDragged] = useState<number>();
  const [target, setTarget] = useState<number>();
  const end = () => {
    setDragged(undefined);
    setTarget(undefined);
  };
  return {
    classesOf: (index) => (index === dragged ? 'dragged' : index === target ? 'target' : ''),
    itemOf: (index) => ({
      onDragOver(event) {
        if (dragged === undefined) return;
        event.preventDefault();
        setTarget(index);
      },
      onDrop(event) {
        event.preventDefault();
        if (dragged !== undefined) move(dragged, index);
        end();
      },
    }),
    handleOf: (index, text) => ({
      onDragStart(event) {
        const item = (event.currentTarget as Element).closest('li');
        if (item) event.dataTransfer?.setDragImage(item, 16, 16);
        event.dataTransfer?.setData('text/plain', text);
        setDragged(index);
      },
      onDragEnd: end,
    }),
  };
}
