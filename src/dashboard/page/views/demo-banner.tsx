import { controlDemo } from '../api.ts';
import { leaveDemo } from '../session.ts';

/** Says that the data is invented, and leads back to the real data. */
export function DemoBanner() {
  const leave = async () => {
    // it also ends by itself, so an error is no reason to stay
    await controlDemo('DELETE', leaveDemo()).catch(() => undefined);
    location.assign('/');
  };
  return (
    <p class="banner demo-banner" role="status">
      <span>
        <b>Demo data.</b> This is an invented shop in its own database. Nothing here is yours.
      </span>
      <button type="button" onClick={() => void leave()}>
        Leave the demo
      </button>
    </p>
  );
}
