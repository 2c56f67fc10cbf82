/** Secrets of 32 bytes or more published in documentation and examples, in lowercase. */
const PUBLISHED: ReadonlySet<string> = new Set([
  // Supabase, self-hosted and CLI
  'your-super-secret-jwt-token-with-at-least-32-characters-long',
  'super-secret-jwt-token-with-at-least-32-characters-long',
  // jwt.io
  'a-string-secret-at-least-256-bits-long',
  'a-valid-string-secret-that-is-at-least-384-bits-long',
  'a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long',
  // PostgREST
  'reallyreallyreallyreallyverysafe',
  // FastAPI's tutorial
  '09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7',
  // Hasura
  '3ek6fd+o0+c7tzbnvfjpmkndi2yaraakzqlk8o2ikoxqu4nf7edah8s3twphwrdwt6r',
  // Spring Boot and .NET tutorials
  '404e635266556a586e3272357538782f413f4428472b4b6250645367566b5970',
  '5367566b59703373367639792f423f4528482b4d6251655468576d5a71347437',
  '357638792f423f4428472b4b6250655368566d597133743677397a2443264629',
  'this is my custom secret key for authentication',
  // Directus
  '6116487b-cda1-52c2-b5b5-c8022c45e263',
  '255d861b-5ea1-5996-9aa3-922530ec40b1',
  // RFC 7515, appendix A.1
  'aym1sysppbydfgzld3umj1qzkobwvmkoqq-estjqlr_t-1qs0gzh75aktmn3yj0ips4hcguutwjazzr1z9caow',
]);

/** Prefixes that frameworks give to secrets they generate for development. */
const PUBLISHED_PREFIXES = ['django-insecure-'];

/** Longest repeating unit that makes a secret trivial, in characters. */
const MAX_UNIT = 16;

/**
 * Returns whether a secret is easy to guess: published in documentation, or a repeated short text.
 */
export function isGuessable(secret: string): boolean {
  return isPublished(secret) || isRepetition(secret);
}

/**
 * Returns whether a secret is published in documentation, or has the prefix of a secret that a framework generated for
 * development. Ignores letter case and a leading `your-`.
 */
export function isPublished(secret: string): boolean {
  const text = secret.toLowerCase();
  return (
    PUBLISHED.has(text) ||
    PUBLISHED.has(`your-${text}`) ||
    (text.startsWith('your-') && PUBLISHED.has(text.slice('your-'.length))) ||
    PUBLISHED_PREFIXES.some((prefix) => text.startsWith(prefix))
  );
}

/** Returns whether a text repeats a unit of at most {@link MAX_UNIT} characters; the last repetition may be partial. */
function isRepetition(text: string): boolean {
  for (let unit = 1; unit <= Math.min(MAX_UNIT, text.length / 2); unit++) {
    if (text.slice(unit) === text.slice(0, -unit)) return true;
  }
  return false;
}
