/** Where the bus is: as it was said, or as the environment of a node process says it (`eval "$(worldbus env)"`). Browsers have none. */

/** An address of the server's `websocket` block, and who comes in there. */
export interface Address {
  servers: string;
  user?: string;
  pass?: string;
}

const NAMES = ["WORLDBUS_WEBSOCKET_URL", "WORLDBUS_NATS_URL"] as const;

/** The address of a URL; user and password may stand in it. Without one, that of the environment. Throws when there is none for WebSocket. */
export function address(url: string | undefined): Address {
  const found = url ?? fromEnvironment();
  const parts = new URL(found);
  const [user, pass] = [decodeURIComponent(parts.username), decodeURIComponent(parts.password)];
  parts.username = parts.password = "";
  return { servers: parts.href, ...(user === "" ? {} : { user }), ...(pass === "" ? {} : { pass }) };
}

/** A setting of the environment; nothing in a browser. */
export function variable(name: string): string | undefined {
  const environment = (globalThis as { process?: { env?: Record<string, string | undefined> } }).process?.env;
  return environment?.[name] || undefined;
}

function fromEnvironment(): string {
  const given = NAMES.map(variable).filter((url) => url !== undefined);
  const found = given.find((url) => /^wss?:/.test(url));
  if (found !== undefined) return found;
  const what = given.length === 0 ? "none" : "one for other clients (nats://)";
  throw new Error(`url: wanted a ws:// or wss:// address, found ${what}: start \`worldbus up --websocket 127.0.0.1:8443\`, then eval "$(worldbus env)"`);
}
