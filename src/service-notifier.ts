import type { Logger } from 'pino';

/*
 * Reports the state of the server to the service manager that started it: the protocol of sd_notify(3), datagrams of
 * NAME=value lines to the Unix socket in NOTIFY_SOCKET. Neither Bun nor Node has Unix datagram sockets, so the C library
 * sends them; it is loaded only if NOTIFY_SOCKET is set.
 */

/** `sa_family_t` of Unix sockets. */
const AF_UNIX = 1;
/** SOCK_DGRAM | SOCK_CLOEXEC */
const DATAGRAM = 0x80002;
/** MSG_DONTWAIT | MSG_NOSIGNAL: the event loop never waits for the service manager. */
const DO_NOT_WAIT = 0x4040;
const CLOCK_MONOTONIC = 1;
/** Size of `sun_path` in `struct sockaddr_un`: unix(7). */
const MAX_PATH_BYTES = 108;

/** Delay before a message is sent again that the socket did not accept because its queue was full. */
const RETRY_MS = 100;
/** How often a message is sent before it is dropped. */
const MAX_ATTEMPTS = 100;

type Environment = Readonly<Record<string, string | undefined>>;

/** Reports the state of the server to the service manager. None of its functions throws or blocks. */
export interface ServiceNotifier {
  /**
   * Reports that the server is up, or has reloaded. The first call starts the watchdog, if the service manager asks for
   * it: it pings from the event loop, so that a server whose event loop hangs is restarted.
   *
   * @param status one line that `systemctl status` shows
   */
  ready(status: string): void;
  /** Reports that the server has begun to reload; {@link ready} ends it. */
  reloading(): void;
  /** Reports that the server is stopping. */
  stopping(): void;
}

/** The notifier of a server that no service manager waits for. */
const NONE: ServiceNotifier = { ready() {}, reloading() {}, stopping() {} };

/**
 * Opens the socket of the service manager. Without NOTIFY_SOCKET, the notifier does nothing; if the socket cannot be
 * used, a warning is logged, and the notifier does nothing either.
 */
export async function openServiceNotifier(env: Environment, log: Logger): Promise<ServiceNotifier> {
  const socket = env['NOTIFY_SOCKET'];
  if (!socket) return NONE;
  try {
    return createNotifier(await loadSystem(), socketAddress(socket), watchdogIntervalMs(env), log);
  } catch (error) {
    log.warn({ err: error }, 'the service manager cannot be notified: NOTIFY_SOCKET cannot be used');
    return NONE;
  }
}

function createNotifier(system: System, address: Buffer, watchdogMs: number | undefined, log: Logger): ServiceNotifier {
  /** Messages that were not accepted yet, oldest first: a service manager relies on their order. */
  const unsent: string[] = [];
  let attempts = 0;
  let retryTimer: ReturnType<typeof setTimeout> | undefined;
  let watchdog: ReturnType<typeof setInterval> | undefined;

  function send(message: string): void {
    unsent.push(message);
    if (retryTimer === undefined) sendAll();
  }

  function sendAll(): void {
    retryTimer = undefined;
    for (let [message] = unsent; message !== undefined; [message] = unsent) {
      if (!system.send(address, message)) {
        attempts++;
        if (attempts < MAX_ATTEMPTS) {
          retryTimer = setTimeout(sendAll, RETRY_MS).unref();
          return;
        }
        log.warn('the service manager did not accept a notification: it was dropped');
      }
      unsent.shift();
      attempts = 0;
    }
  }

  return {
    ready(status) {
      send(`READY=1\nSTATUS=${status}`);
      if (watchdogMs === undefined || watchdog !== undefined) return;
      const ping = () => {
        if (retryTimer === undefined) send('WATCHDOG=1');
      };
      ping();
      watchdog = setInterval(ping, watchdogMs).unref();
    },
    reloading() {
      // systemd compares the time with its own, to tell this reload from an earlier one
      send(`RELOADING=1\nMONOTONIC_USEC=${system.monotonicUs()}\nSTATUS=Reloading the secrets`);
    },
    stopping() {
      send('STOPPING=1\nSTATUS=Finishing the requests in progress');
    },
  };
}

/**
 * Returns the delay between pings: half of the time after which the service manager restarts the service, as
 * sd_watchdog_enabled(3) recommends. Undefined if this process has no watchdog.
 */
function watchdogIntervalMs(env: Environment): number | undefined {
  const microseconds = Number(env['WATCHDOG_USEC']);
  const isOurs = !env['WATCHDOG_PID'] || env['WATCHDOG_PID'] === String(process.pid);
  return isOurs && microseconds >= 2_000 ? Math.floor(microseconds / 2_000) : undefined;
}

/**
 * Returns a socket's `struct sockaddr_un`.
 *
 * @param name an absolute path, or @ and the name of an abstract socket
 * @throws {Error} if it is neither, or too long
 */
function socketAddress(name: string): Buffer {
  const isAbstract = name.startsWith('@');
  if (!isAbstract && !name.startsWith('/')) throw new Error('it is neither a path nor the name of an abstract socket');
  // a path ends with a zero byte, and an abstract name begins with one
  const path = Buffer.from(isAbstract ? `\0${name.slice(1)}` : `${name}\0`);
  if (path.length > MAX_PATH_BYTES) throw new Error(`it is longer than ${MAX_PATH_BYTES} bytes`);
  const family = new Uint16Array([AF_UNIX]); // in the byte order of the machine
  return Buffer.concat([new Uint8Array(family.buffer), path]);
}

/** The system calls of the notifier. */
interface System {
  /** Sends a datagram without waiting; returns whether it was accepted. */
  send(address: Buffer, message: string): boolean;
  /** Returns CLOCK_MONOTONIC in microseconds. Bun's clocks count from the start of the process instead. */
  monotonicUs(): bigint;
}

/** Loads the C library and opens a socket. */
async function loadSystem(): Promise<System> {
  const { dlopen } = await import('bun:ffi');
  const { symbols } = dlopen('libc.so.6', {
    socket: { args: ['i32', 'i32', 'i32'], returns: 'i32' },
    sendto: { args: ['i32', 'ptr', 'u64', 'i32', 'ptr', 'u32'], returns: 'i64' },
    clock_gettime: { args: ['i32', 'ptr'], returns: 'i32' },
  });
  const handle = symbols.socket(AF_UNIX, DATAGRAM, 0);
  if (handle < 0) throw new Error('a Unix socket cannot be opened');
  return {
    send(address, message) {
      const bytes = Buffer.from(message);
      return Number(symbols.sendto(handle, bytes, bytes.length, DO_NOT_WAIT, address, address.length)) >= 0;
    },
    monotonicUs() {
      const time = new BigInt64Array(2); // struct timespec
      symbols.clock_gettime(CLOCK_MONOTONIC, time);
      const [seconds = 0n, nanoseconds = 0n] = time;
      return seconds * 1_000_000n + nanoseconds / 1_000n;
    },
  };
}
