import { useRef, useState } from 'preact/hooks';

interface CopyFieldProps {
  readonly label: string;
  readonly text: string;
  /** Whether copying is the main action of its panel. */
  readonly isPrimary?: boolean;
}

/** A text to copy, and a button that does. */
export function CopyField({ label, text, isPrimary = false }: CopyFieldProps) {
  const field = useRef<HTMLInputElement>(null);
  const [copied, setCopied] = useState<string>();
  const isCopied = copied === text;
  const copy = async () => {
    field.current?.select();
    try {
      await navigator.clipboard.writeText(text);
      setCopied(text);
    } catch {
      setCopied(undefined); // not allowed without HTTPS: the text is selected, so that the keyboard copies it
    }
  };
  return (
    <div class="row">
      <label>
        {label}
        <input ref={field} readOnly value={text} onFocus={(event) => event.currentTarget.select()} />
      </label>
      <button
        type="button"
        class={isPrimary ? 'primary' : undefined}
        data-first={isPrimary ? '' : undefined}
        onClick={() => void copy()}
      >
        {isCopied ? 'Copied' : 'Copy'}
      </button>
      <span class="visually-hidden" role="status">
        {isCopied && `${label} copied`}
      </span>
    </div>
  );
}
