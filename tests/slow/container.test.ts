import { expect, test } from 'bun:test';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { METRIC, post, send } from '../harness/client.ts';
import { canMount, SECRET, startTarget, TARGET } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

/*
 * The binary in a root folder like that of deploy/Containerfile: only glibc, read-only, as an unprivileged user without
 * capabilities. There are no images here, so the folder is made of the libraries of this machine.
 */

const isPossible = TARGET === 'binary' && canMount() && existsSync('/usr/bin/setpriv');
if (!isPossible) console.warn('SKIPPED: the container; it needs RAWLOG_TARGET=binary and root on Linux');

const containerfile = readFileSync(join(import.meta.dir, '../../deploy/Containerfile'), 'utf8');
/** Returns the argument of an instruction. */
const instruction = (name: string) => new RegExp(`^${name} (.+)$`, 'm').exec(containerfile)?.[1] ?? '';

/** Replaces this shell with the container's command; the mounts exist only for it. */
const ENTER = `set -euo pipefail
root=/mnt
mount -t tmpfs tmpfs "$root"
for file in $(ldd "$1" | grep -o '/[^ ]*'); do install -D "$file" "$root$file"; done
install -D "$1" "$root$ENTRYPOINT"
mkdir -p "$root/proc" "$root/tmp" "$root$VOLUME"
mount -t proc proc "$root/proc"
mount -t tmpfs -o "mode=700,uid=\${USER%:*},gid=\${USER#*:}" tmpfs "$root$VOLUME"
mount -o remount,ro,bind "$root"
exec setpriv --bounding-set=-all,+sys_chroot,+setuid,+setgid --inh-caps=-all --no-new-privs -- \\
  chroot --userspec="$USER" "$root" "$ENTRYPOINT" "$2"`;

test.skipIf(!isPossible)('stores rows, runs queries and stops in the container', async () => {
  const [entrypoint]: string[] = JSON.parse(instruction('ENTRYPOINT'));
  const [command]: string[] = JSON.parse(instruction('CMD'));
  expect(command).toBe('serve');
  const volume = instruction('VOLUME');
  const settings = Object.fromEntries(
    [...containerfile.matchAll(/^ENV (\w+)=(.+)$/gm)].map(([, name = '', value = '']) => [name, value]),
  );
  expect(settings['DATA_DIR']).toStartWith(`${volume}/`);
  const target = await startTarget(
    {
      ...settings,
      ...{ JWT_SECRET: SECRET, PATH: Bun.env['PATH'] ?? '' },
      ...{ ENTRYPOINT: entrypoint ?? '', USER: instruction('USER'), VOLUME: volume },
    },
    { prefix: ['unshare', '--mount', 'bash', '-c', ENTER, 'bash'] },
  );
  try {
    expect(target.databasePath).toBe(`${settings['DATA_DIR']}/rawlog.db`);
    const local = { url: `http://127.0.0.1:${new URL(target.url).port}` };
    expect(new URL(target.url).hostname).toBe('0.0.0.0');
    expect((await post(local, '/log_raw_metric', METRIC)).status).toBe(200);
    const headers = { authorization: `Bearer ${await token()}` };
    const query = `${local.url}/api/metrics/series?name=page_load_time&tz=Europe/Berlin&interval=day`;
    expect((await send(query, { headers })).body).toMatchObject({ count: 1 });
    expect((await send(`${local.url}/swagger`)).status).toBe(200);
    expect((await send(local.url)).status).toBe(200);
    const status = readFileSync(`/proc/${target.process.pid}/status`, 'utf8');
    expect(status).toContain('Uid:\t65532\t65532\t65532\t65532');
    expect(status).toMatch(/^CapEff:\t0+$/m);
  } finally {
    expect(await target.stop()).toBe(0);
  }
});
