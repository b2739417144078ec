/** What time it is in the world, counted on from one answer: the clock is silent while nothing is due. */

/** A clock's last step, as the gateway's `/v1/clock` has it under `anchor`. */
export interface Anchor {
  /** When the log took it, RFC 3339, by the log's clock. */
  at: string;
  /** World milliseconds since the clock started. */
  world_ms: number;
  /** Thousandths of a world millisecond that `world_ms` lacks. */
  owed_thousandths: number;
  /** World milliseconds per real second. */
  scale: number;
  running: boolean;
  /** For how many real milliseconds world time goes on without another step. */
  rests_ms: number;
}

/** World milliseconds at `nowMs` (since 1970; this machine's clock if not given), never before the anchor's own. */
export function worldTime(anchor: Anchor, nowMs: number = Date.now()): number {
  if (!anchor.running) return anchor.world_ms;
  const passedMs = Math.max(0, Math.min(Math.floor(nowMs - Date.parse(anchor.at)), anchor.rests_ms));
  return passedMs === 0 ? anchor.world_ms : anchor.world_ms + Math.floor((anchor.owed_thousandths + passedMs * anchor.scale) / 1000);
}
